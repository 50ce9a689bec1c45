"""The gate, cell by cell, and how often it lets a harmful candidate in."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from distill.evaluation_file import Evaluation, Forgetting
from distill.gate import Check, Limits, Proposal, Serving, check, is_open, least_worth
from routing.rollout_file import policy_version
from tests.distill.contestants import policy
from tests.distill.evaluations import (
    INCUMBENTS_POLICY,
    MADE_AT,
    POLICY,
    estimate,
    evaluation,
    group,
)

NOW = datetime.fromisoformat(MADE_AT) + timedelta(days=1)
PROPOSAL = Proposal("s-g1", POLICY, "s-g0")
# What gateways call the incumbent's policy: as a file, and as a generation's.
NAMES = (
    hashlib.sha256(INCUMBENTS_POLICY).hexdigest()[:12],
    policy_version(json.loads(INCUMBENTS_POLICY)),
)


def checked(made: Evaluation, proposal: Proposal = PROPOSAL, **limits: Any) -> dict[str, Check]:
    return {each.name: each for each in check(made, proposal, NOW, Limits(**limits))}


def refused(made: Evaluation, proposal: Proposal = PROPOSAL, **limits: Any) -> list[str]:
    return [name for name, each in checked(made, proposal, **limits).items() if not each.passed]


def test_a_good_candidate_is_let_in() -> None:
    made = evaluation(groups={"dates": group(400, estimate()), "sums": group(600, estimate())})
    assert refused(made) == []
    assert is_open(check(made, PROPOSAL, NOW))


@pytest.mark.parametrize("name", NAMES)
def test_an_incumbent_that_serves_by_the_policy_it_was_measured_by_is_told(name: str) -> None:
    proposal = Proposal("s-g1", POLICY, "s-g0", Serving(name, 0.9))
    assert checked(evaluation(), proposal)["incumbent"].why.endswith("by the same policy")


@pytest.mark.parametrize(
    ("proposal", "name", "said"),
    [
        (Proposal("s-g2", POLICY, "s-g0"), "student", "the records are of s-g1"),
        (Proposal("s-g1", POLICY + b"\n", "s-g0"), "policy", "the one that was measured is"),
        (Proposal("s-g1", POLICY, "s-g9"), "incumbent", "s-g9 serves now"),
        (
            Proposal("s-g1", POLICY, "s-g0", Serving("uncalibrated", 0.9)),
            "incumbent",
            "and it serves by uncalibrated now",
        ),
        (
            Proposal("s-g1", POLICY, "s-g0", Serving(NAMES[0], 0.8)),
            "incumbent",
            "keeping drafts from 0.9 on, and it keeps them from 0.8 on",
        ),
        (Proposal("s-g1", b"{}", "s-g0"), "policy", "cannot serve s-g1: policy: lacks"),
        (Proposal("s-g1", b"no", "s-g0"), "policy", "cannot serve s-g1"),
        (Proposal("s-g1", b"[]", "s-g0"), "policy", "must be an object"),
        (
            Proposal("s-g1", json.dumps(policy("s-g0", 0.9)).encode(), "s-g0"),
            "policy",
            "the policy was fitted for 's-g0'",
        ),
    ],
)
def test_another_student_policy_or_incumbent_is_refused(
    proposal: Proposal, name: str, said: str
) -> None:
    found = checked(evaluation(), proposal)
    assert not found[name].passed
    assert said in found[name].why


def test_a_candidate_that_was_measured_without_a_policy_is_refused() -> None:
    made = evaluation()
    teacher_alone = made.candidate.__class__(
        version="s-g1",
        records_sha256="0" * 64,
        policy_sha256=None,
        policy_version=None,
        generation_policy=None,
        threshold=None,
        is_fitted_here=False,
    )
    found = checked(evaluation(candidate=teacher_alone))
    assert "was measured is none" in found["policy"].why
    assert not found["policy"].passed


@pytest.mark.parametrize(
    ("made_at", "passed"),
    [
        ("2026-11-01T12:00:00+00:00", True),  # 30 days
        ("2026-11-01T11:59:59+00:00", False),
        ("2026-12-02T00:00:00+00:00", False),
        ("yesterday", False),
        ("2026-11-30T12:00:00", False),  # of no time zone
    ],
)
def test_an_old_evaluation_is_refused(made_at: str, passed: bool) -> None:
    assert checked(evaluation(made_at=made_at))["age"].passed is passed


@pytest.mark.parametrize(("low", "passed"), [(-0.02, True), (-0.0201, False)])
def test_quality_is_held_up_to_the_margin(low: float, passed: bool) -> None:
    made = evaluation(difference=estimate(low + 0.01), groups={"a": group(200, estimate())})
    assert checked(made)["quality"].passed is passed
    by_group = evaluation(groups={"a": group(200, estimate(low + 0.01))})
    assert checked(by_group)["quality of a"].passed is passed
    assert checked(made, margin=0.03)["quality"].passed


def test_one_harmed_group_refuses_whatever_the_others_gain() -> None:
    groups = {f"g{place}": group(300, estimate(0.3)) for place in range(20)}
    made = evaluation(groups=groups | {"harmed": group(300, estimate(-0.05))})
    assert refused(made) == ["quality of harmed"]


@pytest.mark.parametrize(("high", "passed"), [(0.0, False), (-0.001, True)])
def test_the_bill_must_be_lower(high: float, passed: bool) -> None:
    assert checked(evaluation(bill=estimate(high - 0.01)))["bill"].passed is passed


def test_a_bill_that_is_unknown_is_not_lower() -> None:
    assert refused(evaluation(bill=None)) == ["bill"]


def test_too_few_records_are_refused_and_told() -> None:
    assert refused(evaluation(worth=148.9)) == ["records"]
    assert refused(evaluation(worth=149.0)) == []
    assert "148" in checked(evaluation(records=148, worth=148.0))["records"].why


def test_the_least_worth_is_that_of_an_exact_test() -> None:
    for margin in (0.01, 0.02, 0.05, 0.2):
        least = least_worth(margin)
        assert (1.0 - margin) ** least <= 0.05 < (1.0 - margin) ** (least - 1)


# --- small groups -------------------------------------------------------------------------------


def test_a_group_of_three_neither_blocks_nor_passes_in_silence() -> None:
    made = evaluation(
        groups={"rare": group(3, estimate(-0.33, 0.67)), "big": group(900, estimate())}
    )
    found = checked(made)
    assert found["small groups"].passed
    assert "rare (3)" in found["small groups"].why
    assert "too few together too" in found["small groups"].why


def test_a_small_group_that_is_shown_to_be_worse_blocks() -> None:
    found = checked(evaluation(groups={"rare": group(100, estimate(-0.1, 0.07))}))["small groups"]
    assert not found.passed
    assert "shown to be worse: rare" in found.why


def test_small_groups_are_judged_together_where_together_they_are_enough() -> None:
    harmed = estimate(-0.05, 0.04)
    groups = {
        "a": group(80, harmed),
        "b": group(90, harmed, smaller=(170.0, estimate(-0.05, 0.03))),
        "big": group(800, estimate(), smaller=(970.0, estimate())),
    }
    found = checked(evaluation(groups=groups))["small groups"]
    assert not found.passed
    assert "a (80), b (90)" in found.why
    groups["b"] = group(90, harmed, smaller=(170.0, estimate(0.0, 0.02)))
    assert checked(evaluation(groups=groups))["small groups"].passed


def test_a_group_of_few_heavy_records_is_a_small_one() -> None:
    made = evaluation(groups={"heavy": group(500, estimate(), worth=100.0)})
    assert "heavy (500)" in checked(made)["small groups"].why


def test_without_groups_that_is_said() -> None:
    assert "no record names a group" in checked(evaluation())["groups"].why


def test_a_long_list_of_groups_is_cut() -> None:
    groups = {f"g{place:02}": group(3, estimate(0.0, 0.9)) for place in range(30)}
    assert "g07 (3) and 22 more" in checked(evaluation(groups=groups))["small groups"].why


# --- forgetting ---------------------------------------------------------------------------------


def forgetting(**changes: Any) -> Forgetting:
    known = {"records": 500, "held": 300, "worth": 300.0, "draft_lost": estimate(0.1), "groups": {}}
    return Forgetting(**{"broken": estimate(0.02), **known, **changes})


@pytest.mark.parametrize(
    ("found", "passed", "said"),
    [
        (None, True, "not measured"),
        (forgetting(), True, "at most 5%"),
        (forgetting(broken=estimate(0.041)), False, "may be more than 5%"),
        (forgetting(held=0, worth=0.0, broken=None), True, "held none"),
        (forgetting(held=20, worth=20.0, broken=estimate(0.0, 0.14)), True, "fewer than 59"),
        (forgetting(held=20, worth=20.0, broken=estimate(0.5, 0.3)), False, "shown to be more"),
    ],
)
def test_what_the_incumbent_kept_must_not_break(
    found: Forgetting | None, passed: bool, said: str
) -> None:
    judged = checked(evaluation(forgetting=found))["forgetting"]
    assert judged.passed is passed
    assert said in judged.why


@pytest.mark.parametrize(
    "wrong", [{"margin": 0.0}, {"margin": 1.0}, {"forgetting": -0.1}, {"most_age_days": 0.0}]
)
def test_limits_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)


def test_every_check_tells_its_numbers() -> None:
    made = evaluation(groups={"a": group(200, estimate())}, forgetting=forgetting())
    for each in check(made, PROPOSAL, datetime.now(UTC)):
        assert any(letter.isdigit() for letter in each.why), each
