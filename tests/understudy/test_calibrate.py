"""A policy as `understudy calibrate` writes it, and the gateway that is to serve by it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cascades import load_cascades
from gateway.config_file import ConfigError
from tests.evaluation.test_policies import made, sampled, written
from tests.fakes.serving import cascade_document
from understudy.calibrate import CANNOT_CALIBRATE, REFUSED, calibrate
from understudy.explain import CANNOT_EXPLAIN, explain


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    records, out = written(folder / "records.jsonl", made(600)), folder / "policy.json"
    assert calibrate(records, target="quality=0.8", out=out, cascade="assistant") == 0
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    return out


def configured(folder: Path, policy: Path, **changes: Any) -> Path:
    student = {"version": changes.pop("version", "s-1")}
    name = changes.pop("name", "assistant")
    document = cascade_document(
        "http://s", "http://t", student=student, policy=str(policy), objective=None, **changes
    )
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump({"cascades": {name: document}}))
    return path


def test_the_gateway_takes_the_policy_of_its_student(tmp_path: Path, policy: Path) -> None:
    (loaded,) = load_cascades(configured(tmp_path, policy), lambda _: None)
    assert loaded.policy.is_calibrated
    assert loaded.policy.streamed.hold_tokens == 16


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "s-2"}, "--cascade assistant --student-version s-2"),
        ({"name": "other"}, "--cascade other --student-version s-1"),
        ({"streaming": {"hold_tokens": 32}}, "--hold-tokens 32"),
    ],
)
def test_another_student_cascade_or_window_is_refused_with_what_to_run(
    tmp_path: Path, policy: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_cascades(configured(tmp_path, policy, **changes), lambda _: None)
    assert "understudy calibrate RECORDS" in str(caught.value)
    assert said in str(caught.value)


def test_a_policy_of_another_schema_is_refused_with_what_to_run(
    tmp_path: Path, policy: Path
) -> None:
    older = tmp_path / "older.json"
    older.write_text(json.dumps(json.loads(policy.read_text()) | {"schema_version": 1}))
    with pytest.raises(ConfigError, match="understudy calibrate RECORDS --cascade assistant"):
        load_cascades(configured(tmp_path, older), lambda _: None)


def test_a_refusal_writes_nothing_and_says_what_it_would_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records, out = written(tmp_path / "records.jsonl", made(200)), tmp_path / "policy.json"
    out.write_text("as it was")
    target = "disagreement=0.001"
    assert calibrate(records, target=target, out=out, cascade="c", json=True) == REFUSED
    assert out.read_text() == "as it was"
    told = capsys.readouterr()
    needs = json.loads(told.out)["needs"]
    assert needs["at_best"] >= needs["without_loss"] > 1000
    assert "Nothing is written" in told.err


@pytest.mark.parametrize("target", ["quality=2", "speed=1", "disagreement=x"])
def test_a_target_that_is_none_is_an_error(tmp_path: Path, target: str) -> None:
    records = written(tmp_path / "records.jsonl", made(20))
    out = tmp_path / "policy.json"
    assert calibrate(records, target=target, out=out, cascade="c") == CANNOT_CALIBRATE
    assert not out.exists()


def test_explain_tells_the_promise_and_draws_it(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(policy, out=tmp_path / "page") == 0
    said = capsys.readouterr().out
    for words in ("quality 0.8, probability 0.95", "Learn then Test", "Fit again", "hard"):
        assert words in said
    page = (tmp_path / "page" / "policy.md").read_text()
    assert "Assumption 1." in page
    for name in ("curve", "reliability"):
        assert f"({name}.png)" in page
        for form in ("png", "svg", "json"):
            assert (tmp_path / "page" / f"{name}.{form}").stat().st_size > 0


def test_explain_manages_without_evidence(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(policy.read_text())
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps({key: document[key] for key in document if key != "evidence"}))
    assert explain(bare, out=tmp_path / "page") == 0
    assert "keeps from" in capsys.readouterr().out
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    assert explain(broken) == CANNOT_EXPLAIN


def test_a_policy_of_several_drafts_is_for_a_cascade_that_asks_for_as_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records, out = written(tmp_path / "records.jsonl", sampled(600)), tmp_path / "policy.json"
    assert calibrate(records, target="disagreement=0.1", out=out, cascade="assistant") == 0
    assert "Streams: drafts are compared once all are whole" in capsys.readouterr().out
    (loaded,) = load_cascades(configured(tmp_path, out, samples=3), lambda _: None)
    assert loaded.policy.samples == 3
    with pytest.raises(ConfigError, match="samples: the policy is for drafts chosen from 3, got 1"):
        load_cascades(configured(tmp_path, out), lambda _: None)
    assert explain(out) == 0
    assert "the draft that most of 3 agree with" in capsys.readouterr().out
