import json
from pathlib import Path
from typing import Any

import pytest

from gateway.policies import read_policy
from gateway.watching import policy_in_force
from tests.fakes.serving import load_gateway
from tests.gateway.test_cascades import POLICY, document, load

NOVEMBER_20 = 1_795_132_800.0  # date -u -d 2026-11-20 +%s


def written(folder: Path, **changes: Any) -> str:
    (folder / "p.json").write_text(json.dumps(POLICY | changes))
    return "p.json"


def in_force(folder: Path, changes: dict[str, Any], objective: object = None) -> Any:
    cascade = document(policy=written(folder, **changes), objective=objective)
    (loaded,) = load(folder, {"cascades": {"assistant": cascade}})
    return policy_in_force(loaded)


def test_a_fitted_policy_tells_its_day_its_promise_and_what_it_expects(tmp_path: Path) -> None:
    fact = in_force(tmp_path, {"evidence": {"kept_share": 0.61}})
    assert fact.version == read_policy(tmp_path / "p.json", "assistant", "student-1").policy.version
    assert fact.student_version == "student-1"
    assert fact.is_calibrated
    assert fact.threshold == 0.7
    assert fact.fitted_at == NOVEMBER_20
    assert fact.disagreement_bound == 0.05
    assert fact.kept_share == 0.61


def test_a_promise_of_something_else_is_no_bound_of_disagreement(tmp_path: Path) -> None:
    target = {"kind": "quality", "value": 0.99, "with_probability": 0.95}
    assert in_force(tmp_path, {"target": target}).disagreement_bound is None


def test_another_threshold_has_no_promise_and_no_expectation(tmp_path: Path) -> None:
    objective = {"kind": "confidence", "at_least": 0.9}
    fact = in_force(tmp_path, {"evidence": {"kept_share": 0.61}}, objective)
    assert fact.threshold == 0.9
    assert fact.fitted_at == NOVEMBER_20
    assert fact.disagreement_bound is None
    assert fact.kept_share is None


@pytest.mark.parametrize("share", ["0.5", True, 1.1, -0.1, None, float("nan")])
def test_evidence_is_for_people_and_may_say_anything(tmp_path: Path, share: object) -> None:
    assert in_force(tmp_path, {"evidence": {"kept_share": share}}).kept_share is None


def test_without_a_policy_nothing_is_told_but_the_threshold(tmp_path: Path) -> None:
    (loaded,) = load(tmp_path, {"cascades": {"assistant": document(objective=None)}})
    fact = policy_in_force(loaded)
    assert fact.version == "uncalibrated"
    assert fact.threshold == 0.8
    assert not fact.is_calibrated
    assert fact.fitted_at is fact.disagreement_bound is fact.kept_share is None


def test_a_gateway_shows_its_policies_and_how_full_its_models_are(tmp_path: Path) -> None:
    cascade = document(teacher={"max_concurrent": 3})
    gateway = load_gateway(tmp_path, cascade, others={"second": document()})
    registry = gateway.context.observer.metrics.registry
    for model in gateway.models[:2]:
        model.open_calls += 1
    gateway.models[1].open_calls += 1
    shown = {
        (name, cascade, role): registry.get_sample_value(
            f"understudy_upstream_{name}_calls", {"cascade": cascade, "role": role}
        )
        for name in ("open", "max")
        for cascade in ("assistant", "second")
        for role in ("student", "teacher")
    }
    assert shown == {
        ("open", "assistant", "student"): 1,
        ("open", "assistant", "teacher"): 2,
        ("open", "second", "student"): 0,
        ("open", "second", "teacher"): 0,
        ("max", "assistant", "student"): 256,
        ("max", "assistant", "teacher"): 3,
        ("max", "second", "student"): 256,
        ("max", "second", "teacher"): 256,
    }
    threshold = registry.get_sample_value("understudy_threshold", {"cascade": "assistant"})
    assert threshold == 0.8
