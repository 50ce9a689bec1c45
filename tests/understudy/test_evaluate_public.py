"""The figures that the results page tells, on public data, by the command as a user runs it."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import public_sets
from tests.evaluation.public_data import FOLDER, data
from understudy.evaluate import evaluate

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

AGREEMENT = "lub_option_logits_Qwen.npz"


def methods(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    path = tmp_path / f"{name}.jsonl"
    public_sets.write(path, public_sets.sets(FOLDER)[name])
    assert evaluate(path, json=True, rounds=200) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_emotion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data("emotion10k_option_logits.npz")
    found = methods("emotion_10k", tmp_path, capsys)
    assert found["student_quality"] == pytest.approx(0.569, abs=5e-4)
    assert found["methods"]["mean_logprob"]["apgr"] == pytest.approx(0.833, abs=1e-3)
    assert found["methods"]["learnt"]["apgr"] >= 1.2
    assert found["methods"]["learnt"]["ece"] <= 0.04


def test_emotion_without_its_prompts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data("emotion10k_option_logits.npz")
    path = tmp_path / "r.jsonl"
    bare = ({**each, "prompt": None} for each in public_sets.sets(FOLDER)["emotion_10k"])
    public_sets.write(path, bare)
    assert evaluate(path, json=True, rounds=50) == 0
    found = json.loads(capsys.readouterr().out)["methods"]
    assert found["learnt"]["apgr"] >= 0.89


@pytest.mark.parametrize(
    ("name", "apgr", "cpt50"), [("routellm_mmlu", 0.70, 0.25), ("routellm_gsm8k", 0.61, 0.37)]
)
def test_routellm_by_the_prompt_alone(
    name: str, apgr: float, cpt50: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data(f"{name}.csv.gz")
    found = methods(name, tmp_path, capsys)["methods"]
    assert found["pre_generation"]["apgr"] >= apgr
    assert found["pre_generation"]["cpt50"] <= cpt50
    assert "learnt" not in found


@pytest.mark.parametrize("task", public_sets.AGREEMENT_SETS)
def test_agreement_is_better_than_the_best_signal(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data(AGREEMENT)
    found = methods(f"agreement_{task}", tmp_path, capsys)
    low, _ = found["differences"]["learnt - best_signal"]["apgr"]["interval"]
    assert low > -0.01
    assert found["methods"]["learnt"]["ece"] <= 0.03
