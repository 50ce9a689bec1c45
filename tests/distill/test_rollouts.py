import random
from dataclasses import replace
from itertools import pairwise

import pytest

from distill.rollouts import (
    Back,
    Decision,
    Go,
    Least,
    Limits,
    Margins,
    Plan,
    Trial,
    Wait,
    Watched,
    decide,
    describe,
    findings_of,
    retried,
)
from evaluation.sequential import Count, needed
from routing.rollout import Stage
from routing.tally import ArmTally, ShadowTally, Tallies

PLAN = Plan(least=Least(shadow=20, requests=20, held_out=10))
SHADOW, FIRST, LAST = PLAN.trials


def arms(candidate: ArmTally, incumbent: ArmTally | None = None) -> Tallies:
    return Tallies(incumbent or ArmTally(drafts=4000, deferred=800), candidate, ShadowTally())


def shadow(**counts: int) -> Tallies:
    return Tallies(ArmTally(), ArmTally(), ShadowTally(**counts))


def decided(trial: Trial, tallies: Tallies, seconds: float = 60.0) -> Decision:
    return decide(PLAN, trial, tallies, seconds)


def back(trial: Trial, tallies: Tallies, seconds: float = 60.0) -> str:
    decision = decided(trial, tallies, seconds)
    assert isinstance(decision, Back)
    return decision.why


def missing(trial: Trial, tallies: Tallies) -> str:
    decision = decided(trial, tallies)
    assert isinstance(decision, Wait)
    return "; ".join(decision.missing)


def test_a_plan_is_tried_in_the_shadow_and_then_by_each_share() -> None:
    assert [str(trial) for trial in PLAN.trials] == ["shadow 0.1", "canary 0.05", "canary 0.25"]
    assert [trial.is_last for trial in PLAN.trials] == [False, False, True]


def test_each_test_that_may_send_back_has_its_share_of_alpha() -> None:
    tests = sum(len(findings_of(PLAN, trial, Tallies.empty())) for trial in PLAN.trials)
    assert PLAN.alpha_of_each * tests == pytest.approx(PLAN.alpha)


@pytest.mark.parametrize("shares", [(), (0.0, 0.5), (0.5, 1.0), (0.2, 0.2), (0.3, 0.1)])
def test_shares_that_cannot_be_tried_one_after_the_other_are_refused(
    shares: tuple[float, ...],
) -> None:
    with pytest.raises(ValueError, match="shares"):
        Plan(shares=shares)


@pytest.mark.parametrize("bound", [0.0, 1.0])
def test_margins_and_limits_that_bound_nothing_are_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="escalations"):
        Plan(margins=Margins(escalations=bound))
    with pytest.raises(ValueError, match="changed"):
        Plan(limits=Limits(changed=bound))


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan")])
def test_an_alpha_that_is_no_probability_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha: lies between 0 and 1"):
        Plan(alpha=alpha)


def test_all_tries_of_one_candidate_have_less_than_twice_alpha_together() -> None:
    assert retried(PLAN, 0) == PLAN
    tries = [retried(PLAN, tries) for tries in range(20)]
    assert all(first.alpha > second.alpha for first, second in pairwise(tries))
    assert PLAN.alpha < sum(each.alpha for each in tries) < 2 * PLAN.alpha
    assert {replace(each, alpha=PLAN.alpha) for each in tries} == {PLAN}


def test_nothing_seen_is_waited_for_and_named() -> None:
    assert missing(SHADOW, Tallies.empty()) == "shadow drafts: 0 of 20"
    assert missing(FIRST, Tallies.empty()) == (
        "requests of the candidate's: 0 of 20; requests of the incumbent's: 0 of 20"
    )
    told = missing(LAST, Tallies.empty())
    assert "compared answers of the candidate's: 0 of 10" in told
    assert "evidence that escalation rate is at most 5.0% higher: 0.0 of 3.0" in told


# --- the shadow ---------------------------------------------------------------------------------


def test_a_shadow_in_which_nothing_is_found_ends_well_with_enough_drafts() -> None:
    counts = {"drafts": 20, "kept": 12, "incumbent_kept": 12, "both_kept": 10}
    assert isinstance(decided(SHADOW, shadow(**counts)), Go)
    assert isinstance(decided(SHADOW, shadow(**counts | {"drafts": 19})), Wait)


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ({"drafts": 5, "failed": 8}, Watched.ERRORS),
        ({"drafts": 60, "kept": 10, "incumbent_kept": 50, "both_kept": 10}, Watched.ESCALATIONS),
        ({"drafts": 60, "kept": 60, "compared": 20, "different": 15}, Watched.DISAGREEMENT),
        (
            {
                "drafts": 60, "kept": 50, "incumbent_kept": 50, "both_kept": 50,
                "both_compared": 20, "changed": 15,
            },
            Watched.CHANGED,
        ),
    ],
)  # fmt: skip
def test_a_disaster_in_the_shadow_sends_back(counts: dict[str, int], why: Watched) -> None:
    assert why.value in back(SHADOW, shadow(**counts))


def test_drafts_kept_in_place_of_others_are_no_higher_escalation_rate() -> None:
    counts = {"drafts": 400, "kept": 200, "incumbent_kept": 200, "both_kept": 0}
    assert isinstance(decided(SHADOW, shadow(**counts)), Go)


def test_pairs_show_what_two_groups_of_the_same_size_would_not() -> None:
    """The same rates, once by the same requests: most agree, so that the rest tells."""
    counts = {"drafts": 300, "kept": 120, "incumbent_kept": 160, "both_kept": 120}
    assert Watched.ESCALATIONS.value in back(SHADOW, shadow(**counts))
    mixed = counts | {"both_kept": 40}
    assert isinstance(decided(SHADOW, shadow(**mixed)), Go)


# --- canaries -----------------------------------------------------------------------------------


def test_an_early_share_ends_well_with_enough_requests_and_without_proof() -> None:
    assert isinstance(decided(FIRST, arms(ArmTally(drafts=20, deferred=4))), Go)
    assert isinstance(decided(FIRST, arms(ArmTally(drafts=19, deferred=4))), Wait)
    few = ArmTally(drafts=19, deferred=4)
    assert isinstance(decided(FIRST, arms(ArmTally(drafts=20, deferred=4), few)), Wait)


@pytest.mark.parametrize("trial", [FIRST, LAST])
@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (ArmTally(failed=5), Watched.ERRORS),
        (ArmTally(drafts=40, deferred=30), Watched.ESCALATIONS),
        (ArmTally(drafts=40, deferred=8, held_out=12, different=9), Watched.DISAGREEMENT),
    ],
)
def test_harm_sends_back_at_once_however_little_was_seen(
    trial: Trial, candidate: ArmTally, why: Watched
) -> None:
    incumbent = ArmTally(drafts=4000, deferred=800, held_out=300, different=3)
    assert why.value in back(trial, arms(candidate, incumbent))


GOOD = ArmTally(drafts=2500, deferred=490, failed=2, held_out=400, different=4)
BESIDE = ArmTally(drafts=7500, deferred=1500, failed=6, held_out=1200, different=12)


def test_the_last_share_ends_well_once_all_three_are_shown_to_be_harmless() -> None:
    decision = decided(LAST, arms(GOOD, BESIDE))
    assert isinstance(decision, Go)
    assert decision.why == (
        "failed requests 0.1% of 2,502, incumbent 0.1% of 7,506; "
        "escalation rate 19.6% of 2,500, incumbent 20.0% of 7,500; "
        "disagreement with the teacher 1.0% of 400, incumbent 1.0% of 1,200"
    )


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({"failed": 15}, Watched.ERRORS),
        ({"deferred": 600}, Watched.ESCALATIONS),
        ({"different": 20}, Watched.DISAGREEMENT),
        ({"held_out": 30, "different": 0}, Watched.DISAGREEMENT),
    ],
)
def test_one_that_is_not_shown_is_enough_to_wait_for(
    changes: dict[str, int], lacks: Watched
) -> None:
    told = missing(LAST, arms(replace(GOOD, **changes), BESIDE))
    assert f"evidence that {lacks.value} is at most" in told


def test_an_incumbent_that_keeps_little_can_be_followed() -> None:
    incumbent = ArmTally(drafts=7500, deferred=7400, held_out=10, different=1)
    assert isinstance(decided(LAST, arms(GOOD, incumbent)), Go)


def test_undecided_at_the_end_of_its_time_goes_back_and_says_what_was_missing() -> None:
    tallies = arms(replace(GOOD, held_out=30, different=0), BESIDE)
    assert isinstance(decided(LAST, tallies, PLAN.seconds - 1), Wait)
    why = back(LAST, tallies, PLAN.seconds)
    assert "undecided after 86,400 s" in why
    assert "disagreement" in why


def test_what_is_decided_in_the_last_moment_is_decided() -> None:
    assert isinstance(decided(LAST, arms(GOOD, BESIDE), PLAN.seconds), Go)


def test_a_rate_without_an_occasion_is_unknown() -> None:
    (errors, *_) = findings_of(PLAN, FIRST, Tallies.empty())
    assert describe(errors) == "failed requests unknown, incumbent unknown"
    assert errors.candidate == Count(0, 0)
    assert errors.no_harm is None


def test_a_shadow_s_limit_is_told_where_there_is_no_incumbent() -> None:
    finding = findings_of(PLAN, SHADOW, shadow(drafts=9, failed=1))[1]
    assert describe(finding) == "failed requests 10.0% of 10, limit 5.0%"


# --- what is promised ---------------------------------------------------------------------------

QUICK = Plan(shares=(0.05, 0.5), least=Least(100, 100, 20), seconds=1500.0)
PATIENT = replace(QUICK, seconds=60_000.0)
INCUMBENT = (0.002, 0.2, 0.01)


def ran(rates: tuple[float, float, float], seed: int, plan: Plan = QUICK) -> tuple[bool, int]:
    """Whether a candidate got through the shares, looked at after every 20 requests of both.

    Rates are of failures, deferrals and disagreement; a second a request.  Also how many requests.
    """
    dice = random.Random(seed)
    total = 0
    for trial in plan.trials[1:]:
        tallies = Tallies.empty()
        for second in range(20, 10**6, 20):
            for _ in range(20):
                is_candidate = dice.random() < trial.share
                arm = tallies.candidate if is_candidate else tallies.incumbent
                one_request(arm, rates if is_candidate else INCUMBENT, dice)
            total += 20
            match decide(plan, trial, tallies, second):
                case Go():
                    break
                case Back():
                    return False, total
                case Wait():
                    pass
    return True, total


def one_request(arm: ArmTally, rates: tuple[float, float, float], dice: random.Random) -> None:
    failed, deferred, different = rates
    if dice.random() < failed:
        arm.failed += 1
        return
    arm.drafts += 1
    if dice.random() < deferred:
        arm.deferred += 1
    elif dice.random() < QUICK.holdout:
        arm.held_out += 1
        arm.different += dice.random() < different


def test_a_candidate_at_a_margin_is_promoted_no_more_often_than_said() -> None:
    harmful = (0.002, 0.25, 0.01)
    promoted = sum(ran(harmful, seed)[0] for seed in range(40))
    assert promoted <= 5


@pytest.mark.parametrize(
    ("rates", "most"),
    [((0.3, 0.2, 0.01), 1000), ((0.002, 0.7, 0.01), 1000), ((0.002, 0.2, 0.6), 4000)],
)
def test_a_regression_is_found_while_few_requests_have_met_it(
    rates: tuple[float, float, float], most: int
) -> None:
    """At a share of 5%, so that one in twenty of these requests is the candidate's."""
    for seed in range(5):
        is_promoted, requests = ran(rates, seed)
        assert not is_promoted
        assert requests <= most


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("harmful", [(0.012, 0.2, 0.01), (0.002, 0.25, 0.01), (0.002, 0.2, 0.06)])
def test_many_candidates_at_a_margin_are_promoted_no_more_often_than_said(
    harmful: tuple[float, float, float],
) -> None:
    plan = replace(QUICK, seconds=6000.0)
    promoted = sum(ran(harmful, seed, plan)[0] for seed in range(100))
    assert promoted / 100 <= QUICK.alpha


@pytest.mark.full
@pytest.mark.timeout(900)
def test_many_harmless_candidates_are_sent_back_by_a_test_no_more_often_than_said() -> None:
    """As bad as is still harmless: every rate at its margin, for as long as nothing is decided."""
    harmless = (0.012, 0.25, 0.06)
    back_by_test = 0
    for seed in range(200):
        dice = random.Random(seed)
        tallies = Tallies.empty()
        for _ in range(149):
            for _ in range(20):
                is_candidate = dice.random() < LAST.share
                arm = tallies.candidate if is_candidate else tallies.incumbent
                one_request(arm, harmless if is_candidate else INCUMBENT, dice)
            findings = findings_of(QUICK, LAST, tallies)
            if any(one.harm >= needed(QUICK.alpha_of_each) for one in findings):
                back_by_test += 1
                break
    # One trial of three, and its tests share alpha with those of the others.
    assert back_by_test / 200 <= QUICK.alpha


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_candidate_that_is_as_good_gets_in() -> None:
    patient = [ran(INCUMBENT, seed, PATIENT) for seed in range(20)]
    assert sum(is_promoted for is_promoted, _ in patient) >= 18


def test_stages_are_those_of_the_gateway() -> None:
    assert {trial.stage for trial in PLAN.trials} == set(Stage)
