"""From files to an evaluation and the gate's word: who is let in, who is refused, and why."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from distill.evaluation_file import from_bytes, to_bytes
from distill.gate import Check, Limits, Proposal, check
from distill.halves import sha256_of_half
from distill.measuring import Files, Found, Wanted, measure
from evaluation.bounds import Refused
from evaluation.errors import EvaluationError
from evaluation.source import sha256_of
from evaluation.targets import target_of
from routing.rollout_file import policy_version
from tests.distill.contestants import (
    JsonRecord,
    good,
    policy,
    policy_written,
    poor,
    records,
    shuffled,
    written,
)

N = 600
FEW = 240  # a fit on a quarter of them takes a moment


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of an incumbent, of a better student, and of one trained on shuffled answers."""
    made = tmp_path_factory.mktemp("records")
    better = records(N, "s-g1", good, 2)
    written(made / "old.jsonl", records(N, "s-g0", poor, 1))
    written(made / "new.jsonl", better)
    written(made / "shuffled.jsonl", shuffled(better))
    written(made / "few-old.jsonl", records(FEW, "s-g0", poor, 1))
    written(made / "few-new.jsonl", records(FEW, "s-g1", good, 2))
    policy_written(made / "old.json", policy("s-g0", 0.9))
    policy_written(made / "new.json", policy("s-g1", 0.9))
    return made


def wanted(folder: Path, candidate: str = "new.jsonl", **changes: Any) -> Wanted:
    files: dict[str, Any] = {
        "candidate": folder / candidate,
        "incumbent": folder / "old.jsonl",
        "candidate_policy": folder / "new.json",
        "incumbent_policy": folder / "old.json",
    }
    files |= {key: changes.pop(key) for key in list(changes) if key in Files.__slots__}
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    known: dict[str, Any] = {"target": target_of("quality=0.95"), "made_at": made_at, "rounds": 300}
    return Wanted(files=Files(**files), **known | changes)


def measured(asked: Wanted) -> Found:
    found = measure(asked, lambda _: None)
    assert isinstance(found, Found)
    return found


def judged(found: Found, **limits: Any) -> dict[str, Check]:
    made = from_bytes(to_bytes(found.evaluation))
    proposal = Proposal(made.candidate.version, found.policy, made.incumbent.version)
    return {each.name: each for each in check(made, proposal, datetime.now(UTC), Limits(**limits))}


def test_a_better_student_is_let_in(folder: Path) -> None:
    found = measured(wanted(folder))
    checks = judged(found, margin=0.15)
    assert [each.name for each in checks.values() if not each.passed] == []
    evaluation = found.evaluation
    assert (evaluation.records, evaluation.worth, evaluation.unit) == (N, N, "usd")
    assert evaluation.candidate.records_sha256 == sha256_of(folder / "new.jsonl")
    assert evaluation.candidate.policy_version == sha256_of(folder / "new.json")[:12]
    document = json.loads(found.policy)
    assert evaluation.candidate.generation_policy == policy_version(document)
    assert evaluation.candidate.threshold == document["threshold"]
    assert found.policy == (folder / "new.json").read_bytes()


def test_one_that_was_trained_on_shuffled_answers_is_refused_and_told_why(folder: Path) -> None:
    """As sure as the better one, and so as cheap; what it serves is wrong."""
    found = measured(wanted(folder, "shuffled.jsonl"))
    checks = judged(found, margin=0.1)
    assert checks["bill"].passed
    for name in ("quality", "quality of dates", "quality of sums"):
        assert not checks[name].passed
        assert "may be worse by more than the margin of 0.1" in checks[name].why
    error = found.evaluation.alone.candidate.ece
    assert error is not None
    assert error > 0.5


def test_what_it_forgot_of_a_general_set_is_found(folder: Path) -> None:
    general: dict[str, Any] = {
        "general_candidate": folder / "shuffled.jsonl",
        "general_incumbent": folder / "old.jsonl",
    }
    assert not judged(measured(wanted(folder, **general)))["forgetting"].passed
    kept = judged(measured(wanted(folder, **general | {"general_candidate": folder / "new.jsonl"})))
    assert "candidate breaks" in kept["forgetting"].why


def test_a_stale_policy_is_refused(folder: Path) -> None:
    with pytest.raises(
        EvaluationError, match=r"is for the student s-g0, and the records are of s-g1"
    ):
        measure(wanted(folder, candidate_policy=folder / "old.json"), lambda _: None)


def test_a_policy_of_another_cascade_is_refused(folder: Path, tmp_path: Path) -> None:
    other = policy_written(tmp_path / "p.json", policy("s-g1", 0.9, cascade="d"))
    with pytest.raises(EvaluationError, match="for the cascade 'd', and the incumbent's for 'c'"):
        measure(wanted(folder, candidate_policy=other), lambda _: None)


@pytest.mark.parametrize("digest", [sha256_of, sha256_of_half])
def test_a_policy_is_not_measured_on_what_it_was_fitted_on(
    folder: Path, tmp_path: Path, digest: Any
) -> None:
    fitted = policy("s-g1", 0.9, data=digest(folder / "new.jsonl"))
    path = policy_written(tmp_path / "p.json", fitted)
    with pytest.raises(EvaluationError, match="these records, which flatter it"):
        measure(wanted(folder, candidate_policy=path), lambda _: None)


@pytest.mark.parametrize(("content", "said"), [("{}", "policy: "), ("{", "is not JSON")])
def test_a_policy_file_that_is_none_is_named(
    folder: Path, tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(EvaluationError, match=rf"p.json: {said}"):
        measure(wanted(folder, candidate_policy=path), lambda _: None)
    with pytest.raises(EvaluationError, match=r"gone.json: "):
        measure(wanted(folder, candidate_policy=tmp_path / "gone.json"), lambda _: None)


def test_an_incumbent_without_a_policy_decides_by_the_uncalibrated_default(folder: Path) -> None:
    found = measure(wanted(folder, incumbent_policy=None, incumbent_threshold=0.6), lambda _: None)
    assert isinstance(found, Found)
    incumbent = found.evaluation.incumbent
    assert (incumbent.policy_version, incumbent.policy_sha256) == ("uncalibrated", None)
    assert (incumbent.generation_policy, incumbent.threshold) == (None, 0.6)
    assert 0 < found.evaluation.cascade.incumbent.kept_share < 1
    stricter = measure(
        wanted(folder, incumbent_policy=None, incumbent_threshold=1.0), lambda _: None
    )
    assert isinstance(stricter, Found)
    assert stricter.evaluation.cascade.incumbent.kept_share == 0.0
    assert from_bytes(to_bytes(found.evaluation)) == found.evaluation


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"incumbent_threshold": 0.8}, "leave out --incumbent-policy"),
        ({"candidate_policy": None}, "or let --fit fit what is missing"),
        ({"is_fit": True}, "name no --candidate-policy"),
        ({"general_candidate": Path("g.jsonl")}, "takes the records of both"),
        ({"target": target_of("disagreement=0.1")}, "bills are compared at equal quality"),
        (
            {"is_fit": True, "candidate_policy": None, "incumbent_policy": None},
            "name it with --cascade",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(
    folder: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(EvaluationError, match=said):
        measure(wanted(folder, **changes), lambda _: None)


# --- fitting --------------------------------------------------------------------------------------


def fitting(folder: Path, candidate: Path, incumbent: Path, **changes: Any) -> Wanted:
    files = {"candidate_policy": None, "incumbent": incumbent}
    known = {"is_fit": True, "target": target_of("quality=0.8"), "cascade": "c"}
    return wanted(folder, str(candidate), **files | known | changes)


def test_policies_are_fitted_on_one_half_and_measured_on_the_other(folder: Path) -> None:
    new, old = folder / "few-new.jsonl", folder / "few-old.jsonl"
    found = measured(fitting(folder, new, old, cascade=None))
    measured_of = found.evaluation
    assert measured_of.candidate.is_fitted_here
    assert not measured_of.incumbent.is_fitted_here
    assert json.loads(found.policy)["data_sha256"] == sha256_of_half(new)
    assert json.loads(found.policy)["cascade"] == "c"  # that of the incumbent's policy
    assert 0.4 * FEW < measured_of.records < 0.6 * FEW
    assert judged(found)["policy"].passed


def test_the_incumbents_policy_may_be_of_the_half_that_is_not_measured(
    folder: Path, tmp_path: Path
) -> None:
    new, old = folder / "few-new.jsonl", folder / "few-old.jsonl"
    of_half = policy_written(tmp_path / "p.json", policy("s-g0", 0.9, data=sha256_of_half(old)))
    assert measured(fitting(folder, new, old, incumbent_policy=of_half)).evaluation.records
    of_all = policy_written(tmp_path / "p.json", policy("s-g0", 0.9, data=sha256_of(old)))
    with pytest.raises(EvaluationError, match="these records, which flatter it"):
        measure(fitting(folder, new, old, incumbent_policy=of_all), lambda _: None)


def test_an_incumbent_without_a_policy_may_be_measured_on_the_other_half(folder: Path) -> None:
    new, old = folder / "few-new.jsonl", folder / "few-old.jsonl"
    options: dict[str, Any] = {"incumbent_policy": None, "incumbent_threshold": 0.8}
    made = measured(fitting(folder, new, old, **options, cascade="c")).evaluation
    assert made.candidate.is_fitted_here
    assert (made.incumbent.policy_version, made.incumbent.threshold) == ("uncalibrated", 0.8)
    with pytest.raises(EvaluationError, match="name it with --cascade"):
        measure(fitting(folder, new, old, **options, cascade=None), lambda _: None)


def test_who_can_promise_nothing_is_the_teacher_alone_or_refused(
    folder: Path, tmp_path: Path
) -> None:
    hopeless = [
        each | {"student": each["student"] | {"ok": False}}
        for each in records(FEW, "s-g0", poor, 1)
    ]
    old, new = written(tmp_path / "old.jsonl", hopeless), folder / "few-new.jsonl"
    found = measured(fitting(folder, new, old, incumbent_policy=None))
    assert found.evaluation.incumbent.policy_sha256 is None
    assert found.evaluation.cascade.incumbent.kept_share == 0.0
    assert found.evaluation.cascade.incumbent.cost_per_request == pytest.approx(0.002)
    assert "compared with the teacher alone" in found.evaluation.notes[0]
    turned = fitting(folder, old, new, incumbent_policy=folder / "new.json", price_ratio=20.0)
    assert isinstance(measure(turned, lambda _: None), Refused)


# --- costs ----------------------------------------------------------------------------------------


def without_costs(documents: list[JsonRecord]) -> list[JsonRecord]:
    for each in documents:
        del each["student"]["cost_usd"], each["teacher"]["cost_usd"]
    return documents


def test_missing_costs_want_a_price_ratio(folder: Path, tmp_path: Path) -> None:
    paths: dict[str, Any] = {
        "candidate": str(written(tmp_path / "n.jsonl", without_costs(records(N, "s-g1", good, 2)))),
        "incumbent": written(tmp_path / "o.jsonl", without_costs(records(N, "s-g0", poor, 1))),
    }
    with pytest.raises(EvaluationError, match=r"student.cost_usd is missing .* --price-ratio"):
        measure(wanted(folder, **paths), lambda _: None)
    found = measured(wanted(folder, **paths, price_ratio=20.0)).evaluation
    assert found.unit == "teacher_answers"
    new = found.cascade.candidate
    assert new.cost_per_request == pytest.approx(0.05 + new.escalation_rate)
    # The same prices as the other files tell in USD.
    bills = found.cascade.bill, measured(wanted(folder)).evaluation.cascade.bill
    assert bills[0] is not None
    assert bills[1] is not None
    assert bills[0].estimate == pytest.approx(bills[1].estimate)
    assert bills[0].high == pytest.approx(bills[1].high)


def test_what_a_reader_should_know_is_noted(folder: Path, tmp_path: Path) -> None:
    new, old = records(N, "s-g1", good, 2), records(N, "s-g0", poor, 1)
    for documents in (new, old):
        documents[0]["teacher"]["ok_by"] = "assumed"
        documents[1]["prompt"] = documents[2]["prompt"] = "the same"
    paths: dict[str, Any] = {
        "candidate": str(written(tmp_path / "n.jsonl", new)),
        "incumbent": written(tmp_path / "o.jsonl", old),
    }
    found = measured(wanted(folder, **paths)).evaluation
    assert found.teacher.assumed == 1
    assert "In 1 records nobody asked the teacher" in found.notes[0]
    assert f"{N} records ask {N - 1} different questions" in found.notes[1]
