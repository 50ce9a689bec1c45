import numpy as np
import pytest

from evaluation.bounds import Certified, Refused, choose_threshold
from evaluation.needs import MOST_RECORDS, Needs, least_without_loss, needs_of
from evaluation.outcomes import outcomes_of
from evaluation.targets import Kind, Plan, Start, Target, Test

LEVEL = np.array([0.5])


@pytest.mark.parametrize(
    ("target", "test", "least"),
    [
        (Target(Kind.DISAGREEMENT, 0.05), Test.BINOMIAL, 59),
        (Target(Kind.DISAGREEMENT, 0.01), Test.BINOMIAL, 299),
        (Target(Kind.DISAGREEMENT, 0.01, 0.99), Test.BINOMIAL, 459),
        (Target(Kind.QUALITY, 0.99), Test.BINOMIAL, 299),
        (Target(Kind.ESCALATION_RATE, 0.2), Test.BINOMIAL, 14),
    ],
)
def test_least_records_without_loss(target: Target, test: Test, least: int) -> None:
    assert least_without_loss(target, Plan(LEVEL, test=test)) == least


def test_that_nothing_at_all_is_lost_is_never_shown() -> None:
    target = Target(Kind.QUALITY, 1.0)
    plan = Plan(LEVEL, test=Test.BINOMIAL)
    assert least_without_loss(target, plan) == MOST_RECORDS
    found = choose_threshold(outcomes_of(np.ones(50), np.ones(50)), np.ones(50), target, plan)
    assert isinstance(found, Refused)


@pytest.mark.parametrize("kind", [Kind.DISAGREEMENT, Kind.QUALITY])
def test_no_bet_is_won_on_fewer_records_than_least(kind: Kind) -> None:
    target = Target(kind, 0.05 if kind is Kind.DISAGREEMENT else 0.95)
    least = least_without_loss(target, Plan(LEVEL))
    for count, kind_of_answer in ((least - 1, Refused), (2 * least, Certified)):
        flawless = outcomes_of(np.ones(count), np.ones(count))
        found = choose_threshold(flawless, np.ones(count), target, Plan(LEVEL))
        assert isinstance(found, kind_of_answer)


def test_chain_with_less_of_delta_needs_more() -> None:
    target = Target(Kind.DISAGREEMENT, 0.05)
    half = Plan(LEVEL, (Start(0, 0.5), Start(0, 0.5)), Test.BINOMIAL)
    assert least_without_loss(target, half) == 72


def test_full_quality_cannot_be_had_without_gains() -> None:
    assert least_without_loss(Target(Kind.QUALITY, 1.0), Plan(LEVEL)) == 10**9


@pytest.mark.parametrize("test", list(Test))
def test_as_many_as_were_needed_do_at_the_same_rates(test: Test) -> None:
    target = Target(Kind.DISAGREEMENT, 0.05)
    student = np.r_[np.zeros(1), np.ones(49), np.zeros(50)]
    confidence = np.r_[np.full(50, 0.9), np.full(50, 0.1)]
    few = outcomes_of(student, np.ones(100))
    plan = Plan(LEVEL, test=test)
    refused = choose_threshold(few, confidence, target, plan)
    assert isinstance(refused, Refused)
    needed = refused.needs.at_observed
    assert needed is not None
    times = -(-needed // 100) * (1 if test is Test.BINOMIAL else 2)
    many = outcomes_of(np.tile(student, times), np.ones(100 * times))
    assert isinstance(choose_threshold(many, np.tile(confidence, times), target, plan), Certified)


@pytest.mark.parametrize("test", list(Test))
def test_no_number_helps_where_the_rate_itself_is_too_high(test: Test) -> None:
    outcomes = outcomes_of(np.r_[np.zeros(10), np.ones(90)], np.ones(100))
    found = needs_of(
        outcomes, np.ones(100), Target(Kind.DISAGREEMENT, 0.05), Plan(LEVEL, test=test)
    )
    assert found.at_observed is None
    assert "no number would do" in str(found)


def test_weighted_escalations_and_quality_name_what_counts() -> None:
    outcomes = outcomes_of(np.ones(10), np.r_[np.ones(5), np.zeros(5)], np.r_[np.ones(9), 2.0])
    plan = Plan(LEVEL, weight_bound=2.0)
    quality = needs_of(outcomes, np.ones(10), Target(Kind.QUALITY, 0.9), plan)
    assert quality.counted == "records that the teacher gets right"
    assert quality.at_best == 2 * quality.without_loss
    rate = needs_of(outcomes, np.ones(10), Target(Kind.ESCALATION_RATE, 0.2), plan)
    assert rate.counted == "records that are kept"
    assert rate.at_observed is not None


def test_where_none_counts_so_far_the_next_one_is_taken_to() -> None:
    found = needs_of(
        outcomes_of([1.0], [1.0]), np.array([0.0]), Target(Kind.DISAGREEMENT, 0.05),
        Plan(LEVEL, test=Test.BINOMIAL),
    )  # fmt: skip
    assert found == Needs("kept drafts", 59, 59 * 2, None)
