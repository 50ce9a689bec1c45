import functools
import json
import sys
from pathlib import Path

import pytest

from tests.understudy.commands import Command
from understudy import __main__ as entry


class Distill(Command):
    name = "distill"


@pytest.fixture
def distill(capsys: pytest.CaptureFixture[str]) -> Distill:
    return Distill(capsys, None)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    row = {
        "prompt": [{"role": "user", "content": "2 + 2?"}],
        "completion": [{"role": "assistant", "content": "4"}],
    }
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return path


def test_what_cannot_be_trained_is_told_without_a_training_library(
    distill: Distill, base: Path, data: Path, tmp_path: Path
) -> None:
    before = set(sys.modules)
    out = tmp_path / "out"
    usual = {"--data": str(data), "--base": str(base), "--out": str(out)}
    for options, says in (
        ({"--base": "Qwen/Qwen3-4B"}, "nothing is ever downloaded"),
        ({"--data": str(tmp_path / "none")}, "no such file or folder"),
        ({"--dpo": None}, "dpo-train.jsonl"),
        ({"--full": None, "--rank": "4"}, "LoRA"),
        ({"--gguf": None}, "--gguf-template"),
        ({"--gguf-template": "x.gguf"}, "say --gguf too"),
        ({"--name": "?"}, "letters or digits"),
    ):
        given = [item for pair in (usual | options).items() for item in pair if item is not None]
        assert distill.status("train", *given) == 2
        assert says in distill.error
    assert not out.exists()
    assert not {"torch", "transformers"} & (set(sys.modules) - before)


def test_a_finished_training_is_told_again_without_a_training_library(
    distill: Distill, base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    given = ("train", "--data", str(data), "--base", str(base), "--out", str(out))
    without_training_libraries(monkeypatch)
    with pytest.raises(ImportError):
        distill.status(*given)
    metrics = {
        "steps": 1200,
        "seconds": 61.2,
        "loss": 0.5,
        "holdout_loss": 0.25,
        "stopped_early": True,
    }
    card = {"version": "tiny-g1-00", "metrics": metrics, "serve": {"vllm": "vllm serve x"}}
    (out / "adapter").mkdir()
    (out / "card.json").write_text(json.dumps(card))
    assert distill.status(*given) == 0
    assert distill.output.splitlines() == [
        f"tiny-g1-00 is in {out}",
        "1,200 steps in 61 s, loss 0.5000, holdout loss 0.2500, stopped early",
        "vllm: vllm serve x",
    ]
    assert json.loads(distill.said(*given, "--json")) == card


def test_missing_libraries_are_named_with_the_extra(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--data", str(data), "--base", str(base), "--out", str(tmp_path / "out"))
    without_training_libraries(monkeypatch)
    asked = functools.partial(entry.app, ["distill", "train", *given])
    monkeypatch.setattr(entry, "app", asked)
    with pytest.raises(SystemExit, match=r"needs torch: pip install 'understudy\[distill\]'"):
        entry.main()


def test_only_the_first_process_speaks_and_writes(
    distill: Distill, base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    (out / "adapter").mkdir(parents=True)
    (out / "card.json").write_text("{}")
    monkeypatch.setenv("RANK", "1")
    given = ("train", "--data", str(data), "--base", str(base), "--out", str(out))
    assert distill.said(*given) == ""
    assert distill.error == ""
    assert not (out / "checkpoints").exists()


def without_training_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed, whether it is here or not."""
    for name in [each for each in sys.modules if each.startswith("distill.training")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)  # refuses to be imported
