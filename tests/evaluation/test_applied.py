import json

import numpy as np
import pytest

from evaluation.applied import apply_policy, policy_in
from evaluation.curves import measure
from evaluation.errors import EvaluationError
from evaluation.fit import Options, fit
from routing import (
    Basis,
    Logistic,
    Origin,
    Policy,
    Rule,
    Score,
    Target,
    Threshold,
    policy_document,
    uncalibrated_default,
)
from tests.evaluation.made import JsonRecord, answers, record_of, table_of


def document_of(documents: list[JsonRecord], threshold: float) -> JsonRecord:
    parts = fit(table_of(documents), Options()).export()
    rule = Rule(
        parts.score,
        parts.calibration,
        Threshold(threshold),
        by_group=parts.by_group,
        gain=parts.gain,
    )
    policy = Policy(version="v", whole=rule, prompt=parts.prompt)
    basis = Basis(Target("quality", 0.9, 0.95), 0.85, len(documents))
    origin = Origin("assistant", "s1", basis, "2026-11-24", "0" * 64)
    found: JsonRecord = json.loads(json.dumps(policy_document(policy, origin)))
    return found


@pytest.mark.parametrize("teacher", [pytest.param(1.0, marks=pytest.mark.full), 0.8])
def test_a_policy_file_says_of_each_record_what_was_fitted(teacher: float) -> None:
    documents = list(answers(400, teacher=teacher))
    documents[7]["student"] = {"ok": False}
    table = table_of(documents)
    judged = fit(table, Options()).judge(table)
    threshold = float(np.nanquantile(judged.merit, 0.5))
    policy = policy_in(document_of(documents, threshold))
    applied = apply_policy(policy, map(record_of, documents))
    np.testing.assert_allclose(applied.confidence, judged.confidence, atol=1e-9)
    np.testing.assert_allclose(applied.merit, judged.merit, atol=1e-9)
    np.testing.assert_allclose(applied.bar, judged.bar, atol=1e-9)
    assert measure(table.outcomes, applied.ranking(0.05))["auroc"] is not None
    told = applied.at_threshold(table.outcomes, 0.05)
    found = {name: value for name, value in told.items() if value is not None}
    assert found.keys() == told.keys()
    kept = (np.minimum(judged.merit, judged.bar) >= threshold).mean()
    assert found["kept_share"] == pytest.approx(kept, abs=0.01)
    assert found["saved"] == pytest.approx(
        found["kept_share"] - 0.05 * (1.0 - found["straight_share"])
    )
    assert 0.0 < found["quality"] <= 1.0


@pytest.mark.parametrize("document", [[], {}, {"schema_version": 1}])
def test_what_is_no_policy_is_refused(document: object) -> None:
    with pytest.raises(EvaluationError, match="policy"):
        policy_in(document)


def test_quality_beside_a_teacher_that_is_never_right_is_unknown() -> None:
    document: JsonRecord = {"id": "q", "student": {"ok": 1}, "teacher": {"ok": 0}}
    records = [record_of(document)]
    found = apply_policy(uncalibrated_default(), records)
    outcomes = table_of([document]).outcomes
    assert found.at_threshold(outcomes, 0.05)["of_teachers_quality"] is None


def test_a_policy_reads_what_earlier_turns_came_to() -> None:
    score = Score(("mean_probability", "earlier_kept"), (0.5, 0.5))
    policy = Policy("v", Rule(score, Logistic(1.0, 0.0), Threshold(0.5)))
    student = {"ok": 1, "token_logprobs": [0.0], "signals": {"earlier_kept": 0.25}}
    document: JsonRecord = {"id": "q", "student": student, "teacher": {"ok": 1}}
    (merit,) = apply_policy(policy, [record_of(document)]).merit
    assert merit == pytest.approx(1.0 / (1.0 + np.exp(-0.625)))
    del student["signals"]
    assert np.isnan(apply_policy(policy, [record_of(document)]).merit).all()


def agreeing(threshold: float) -> Policy:
    rule = Rule(Score(("agreement",), (1.0,)), Logistic(8.0, -4.0), Threshold(threshold))
    return Policy(version="v", whole=rule, samples=3)


def test_a_policy_for_several_drafts_judges_those_alone() -> None:
    student = {"ok": 1, "samples": 3, "token_logprobs": [-0.1]}
    document: JsonRecord = {"id": "q", "student": student, "teacher": {"ok": 1}}
    surest = Rule(Score(("mean_probability",), (1.0,)), Logistic(1.0, 0.0), Threshold(0.5))
    silent = apply_policy(Policy(version="v", whole=surest, samples=3), [record_of(document)])
    assert np.isnan(silent.merit).all()
    document["student"]["signals"] = {"agreement": 1.0}
    found = apply_policy(agreeing(0.5), [record_of(document)])
    assert found.merit == pytest.approx([0.982014], abs=1e-6)
    document["student"]["samples"] = 2
    with pytest.raises(EvaluationError, match=r"chosen from 3, the record 'q' has one of 2"):
        apply_policy(agreeing(0.5), [record_of(document)])
