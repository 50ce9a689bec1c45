import numpy as np
import pytest

from evaluation.betting import best_wealth, stakes
from evaluation.bounds import Certified, Refused, choose_threshold
from evaluation.errors import TargetError
from evaluation.excess import excess_of, range_of
from evaluation.outcomes import Outcomes, outcomes_of
from evaluation.targets import Kind, Plan, Start, Target, Test

ONE = Plan(np.array([0.5]), test=Test.BINOMIAL)
BET = Plan(np.array([0.5]))
FIVE = Target(Kind.DISAGREEMENT, 0.05)


def kept(count: int, losses: int, teacher: float = 1.0) -> Outcomes:
    student = np.ones(count)
    student[:losses] = 0.0
    return outcomes_of(student, np.full(count, teacher))


def sure(outcomes: Outcomes) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.full(outcomes.n, 0.9)


@pytest.mark.parametrize(("count", "losses"), [(59, 0), (93, 1), (124, 2)])
def test_fewest_records_that_prove_five_per_cent(count: int, losses: int) -> None:
    enough, too_few = kept(count, losses), kept(count - 1, losses)
    assert isinstance(choose_threshold(enough, sure(enough), FIVE, ONE), Certified)
    assert isinstance(choose_threshold(too_few, sure(too_few), FIVE, ONE), Refused)


def test_what_is_certified_says_what_was_seen() -> None:
    outcomes = outcomes_of([1.0] * 99 + [0.0] + [0.0] * 100, [1.0] * 200)
    confidence = np.r_[np.full(100, 0.5), np.full(100, 0.4)]  # equality keeps
    found = choose_threshold(outcomes, confidence, FIVE, ONE)
    assert found == Certified(FIVE, 0.5, n=200, kept=100, kept_share=0.5, observed=0.01)


def test_no_signal_is_never_kept_and_proves_nothing() -> None:
    outcomes = kept(200, 0)
    confidence = np.where(np.arange(200) < 58, 0.9, np.nan)
    refused = choose_threshold(outcomes, confidence, FIVE, Plan(np.array([0.0]), test=ONE.test))
    assert isinstance(refused, Refused)
    assert refused.needs.without_loss == 59
    assert refused.needs.at_best == 204  # 58 of 200 are kept


def test_order_stops_at_the_first_level_that_fails() -> None:
    # Strict: no loss in 60.  Middle: 20 losses in 120.  All: 20 losses in 1,000, good again.
    student = np.r_[np.ones(60), np.zeros(20), np.ones(40), np.ones(880)]
    confidence = np.r_[np.full(60, 0.9), np.full(60, 0.6), np.full(880, 0.3)]
    outcomes = outcomes_of(student, np.ones(1000))
    plan = Plan(np.array([0.9, 0.6, 0.3]), test=Test.BINOMIAL)
    found = choose_threshold(outcomes, confidence, FIVE, plan)
    assert isinstance(found, Certified)
    assert found.threshold == 0.9

    two = Plan(plan.thresholds, (Start(0, 0.5), Start(2, 0.5)), Test.BINOMIAL)
    found = choose_threshold(outcomes, confidence, FIVE, two)
    assert isinstance(found, Certified)
    assert found.threshold == 0.3  # 60 without loss prove .05 at .05 and not at .025


def test_a_share_of_delta_is_all_that_a_chain_has() -> None:
    outcomes = kept(59, 0)
    half = Plan(ONE.thresholds, (Start(0, 0.5),), Test.BINOMIAL)
    assert isinstance(choose_threshold(outcomes, sure(outcomes), FIVE, half), Refused)
    more = kept(72, 0)
    assert isinstance(choose_threshold(more, sure(more), FIVE, half), Certified)


def test_loss_in_part_counts_as_whole_in_the_exact_test_and_as_part_in_the_bet() -> None:
    outcomes = outcomes_of([0.98] * 500, [1.0] * 500)
    assert isinstance(choose_threshold(outcomes, sure(outcomes), FIVE, ONE), Refused)
    assert isinstance(choose_threshold(outcomes, sure(outcomes), FIVE, BET), Certified)


def test_file_sorted_by_outcome_certifies_nothing() -> None:
    outcomes = kept(300, 30)
    backwards = Outcomes(*(part[::-1] for part in (outcomes.student, outcomes.teacher,
                                                   outcomes.weight)))  # fmt: skip
    assert isinstance(choose_threshold(backwards, sure(outcomes), FIVE, BET), Refused)
    # In the file's own order the bet would be won before the first loss is seen.
    values = excess_of(backwards, np.ones(300, dtype=bool), FIVE)[None, :]
    placed = stakes(np.array([300]), range_of(FIVE, 1.0), FIVE.delta, 300)
    assert best_wealth(values, placed)[0] > 1 / FIVE.delta


def test_weights_count_as_often_as_they_say() -> None:
    # One loss in 200, but it stands for 50 requests: 50 of 249.
    weight = np.ones(200)
    weight[0] = 50.0
    outcomes = Outcomes(kept(200, 1).student, np.ones(200), weight)
    plan = Plan(np.array([0.5]), weight_bound=50.0)
    assert isinstance(choose_threshold(outcomes, sure(outcomes), FIVE, plan), Refused)
    light = Outcomes(outcomes.student, outcomes.teacher, np.ones(200))
    assert isinstance(choose_threshold(light, sure(light), FIVE, BET), Certified)


def test_weights_that_do_not_fit_the_plan_are_refused() -> None:
    outcomes = Outcomes(np.ones(2), np.ones(2), np.array([1.0, 2.0]))
    with pytest.raises(TargetError, match="weight_bound"):
        choose_threshold(outcomes, sure(outcomes), FIVE, BET)
    with pytest.raises(TargetError, match="equal weight"):
        choose_threshold(outcomes, sure(outcomes), FIVE, ONE)


def test_binomial_quality_wants_a_teacher_that_is_right_or_wrong() -> None:
    outcomes = outcomes_of([1.0], [0.5])
    with pytest.raises(TargetError, match=r"teacher\.ok 0 or 1"):
        choose_threshold(outcomes, [0.9], Target(Kind.QUALITY, 0.9), ONE)


def test_quality_is_proved_by_records_that_the_teacher_gets_right() -> None:
    target = Target(Kind.QUALITY, 0.95)
    for count, holds in ((59, True), (58, False)):
        outcomes = outcomes_of([1.0] * count + [0.0] * 50, [1.0] * count + [0.0] * 50)
        found = choose_threshold(outcomes, sure(outcomes), target, ONE)
        assert isinstance(found, Certified) is holds


def test_students_who_beat_the_teacher_count_in_the_bet_alone() -> None:
    # 20 lost, 40 won: the exact test sees the losses only.
    student = np.r_[np.ones(240), np.zeros(20), np.ones(40)]
    teacher = np.r_[np.ones(240), np.ones(20), np.zeros(40)]
    outcomes = outcomes_of(student, teacher)
    target = Target(Kind.QUALITY, 0.95)
    assert isinstance(choose_threshold(outcomes, sure(outcomes), target, ONE), Refused)
    found = choose_threshold(outcomes, sure(outcomes), target, BET)
    assert isinstance(found, Certified)
    assert found.observed == pytest.approx(280 / 260)


def test_quality_of_all_of_the_teachers_takes_a_better_student() -> None:
    target = Target(Kind.QUALITY, 1.0)
    equal, better = outcomes_of([1.0] * 500, [1.0] * 500), outcomes_of([1.0] * 500, [0.5] * 500)
    assert isinstance(choose_threshold(equal, sure(equal), target, BET), Refused)
    assert isinstance(choose_threshold(better, sure(better), target, BET), Certified)


def test_escalation_rate_takes_an_order_statistic() -> None:
    n = 100
    confidence = np.random.default_rng(0).permutation(np.arange(n)) / n
    target = Target(Kind.ESCALATION_RATE, 0.2)
    found = choose_threshold(kept(n, 0), confidence, target, ONE)
    assert isinstance(found, Certified)
    # P(Bin(100, .2) <= 13) = .047 and <= 14 = .080: the 14th smallest may be the threshold.
    assert found.threshold == 0.13
    assert found.observed == pytest.approx(0.13)


def test_escalation_rate_is_refused_to_the_silent_and_the_few() -> None:
    target = Target(Kind.ESCALATION_RATE, 0.2)
    few = choose_threshold(kept(13, 0), np.linspace(0, 1, 13), target, ONE)
    assert isinstance(few, Refused)
    assert few.needs.without_loss == 14
    silent = np.where(np.arange(100) < 30, np.nan, 0.9)
    none = choose_threshold(kept(100, 0), silent, target, ONE)
    assert isinstance(none, Refused)
    assert none.needs.at_observed is None


def test_escalation_rate_of_weighted_records_is_bet_on() -> None:
    confidence = np.linspace(0.0, 1.0, 1001)
    weight = np.where(confidence < 0.5, 1.0, 3.0)
    outcomes = Outcomes(np.ones(1001), np.ones(1001), weight)
    plan = Plan(np.linspace(1.0, 0.0, 51), weight_bound=3.0)
    found = choose_threshold(outcomes, confidence, Target(Kind.ESCALATION_RATE, 0.2), plan)
    assert isinstance(found, Certified)
    # 1/4 of the weight lies below .5, so that .4 would defer exactly 20%.
    assert 0.3 <= found.threshold < 0.4
    assert found.observed < 0.2


def test_refusal_says_what_it_would_take() -> None:
    outcomes = outcomes_of([1.0] * 40 + [0.0] * 60, [1.0] * 100)
    confidence = np.r_[np.full(40, 0.9), np.full(60, 0.1)]
    refused = choose_threshold(outcomes, confidence, FIVE, ONE)
    assert str(refused) == (
        "disagreement=0.05 with probability 0.95 cannot be promised on 100 records: even without "
        "any loss it takes 59 kept drafts, about 148 records; at the rates that these records "
        "show, about 148"
    )
