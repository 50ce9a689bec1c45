import math
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.baseline import (
    LEAST_OBSERVATIONS,
    MOST_OBSERVATIONS,
    Estimate,
    Learner,
    Missing,
    Observation,
    Part,
    Ratios,
    correction_of,
    measure,
)
from routing.money import Price, Usage, cost_of
from routing.vocabulary import Basis

PRICE = Price(input=600_000, cached_input=300_000, output=2_400_000, reasoning=3_000_000)
STUDENT, TEACHER = Usage(100, 10), Usage(125, 20)
TWICE = Ratios(Basis.SAMPLE, input=Fraction(5, 4), output=Fraction(2))
SHARES = st.fractions(min_value=Fraction(1, 1000), max_value=1)
COSTS = st.integers(min_value=0, max_value=10**12)


def seen(
    basis: Basis = Basis.SAMPLE,
    student: Usage = STUDENT,
    teacher: Usage = TEACHER,
    propensity: Fraction = Fraction(1, 2),
) -> Observation:
    return Observation(basis, student, teacher, propensity)


def taught(*observations: Observation) -> Learner:
    learner = Learner()
    for observation in observations:
        learner.learn(observation)
    return learner


# --- one request ---


def test_what_the_teacher_wrote_costs_what_it_took() -> None:
    usage = Usage(100, 20, cached_input=40, reasoning=5)
    assert measure(usage, PRICE) == Estimate(cost_of(usage, PRICE), Basis.MEASURED)


def test_a_prediction_scales_what_is_read_and_what_is_written() -> None:
    student = Usage(100, 10, cached_input=40, reasoning=5)
    read = (60 * 600_000 + 40 * 300_000) * 5 // 4
    written = (5 * 2_400_000 + 5 * 3_000_000) * 2
    assert TWICE.predict(student, PRICE) == Estimate(read + written, Basis.SAMPLE)


def test_where_nothing_is_learnt_the_teacher_writes_as_much_in_the_same_tokens() -> None:
    student = Usage(100, 10, cached_input=40, reasoning=5)
    assert Ratios().predict(student, PRICE) == Estimate(cost_of(student, PRICE), Basis.PRICES)


def test_a_prediction_is_rounded_once_and_to_the_nearest() -> None:
    thirds = Ratios(Basis.SAMPLE, Fraction(1, 3), Fraction(1, 3))
    one = Price(input=1, cached_input=1, output=1, reasoning=1)
    assert [thirds.predict(Usage(n, 1), one).pico for n in (0, 1, 2, 3)] == [0, 1, 1, 1]
    half = Ratios(Basis.SAMPLE, Fraction(1, 2), Fraction(1, 2))
    assert half.predict(Usage(1, 0), one).pico == 1


@pytest.mark.parametrize(
    ("usage", "price", "missing"),
    [(None, PRICE, Missing.USAGE), (Usage(1, 1), None, Missing.PRICE), (None, None, Missing.USAGE)],
)
def test_what_is_unknown_is_never_zero(
    usage: Usage | None, price: Price | None, missing: Missing
) -> None:
    assert measure(usage, price) == Estimate(None, Basis.MEASURED, missing)
    assert TWICE.predict(usage, price) == Estimate(None, Basis.SAMPLE, missing)
    spliced = TWICE.predict_spliced(Usage(1, 1), 1, usage, price)
    assert spliced == Estimate(None, Basis.SAMPLE, missing)


def test_a_spliced_answer_is_priced_as_it_stands() -> None:
    """What the teacher wrote as measured; prompt and beginning as words in the teacher's tokens."""
    student, teacher = Usage(100, 50, cached_input=40), Usage(165, 20, reasoning=5)
    read = (60 * 600_000 + 40 * 300_000) * 5 // 4
    written = 32 * 5 // 4 * 2_400_000 + 15 * 2_400_000 + 5 * 3_000_000
    spliced = TWICE.predict_spliced(student, 32, teacher, PRICE)
    assert spliced == Estimate(read + written, Basis.SAMPLE)


def test_without_the_students_bill_the_prompt_is_what_the_teacher_read_less_the_beginning() -> None:
    written = 32 * 5 // 4 * 2_400_000 + 20 * 2_400_000
    known = TWICE.predict_spliced(None, 32, Usage(165, 20), PRICE).pico
    assert known == 125 * 600_000 + written
    assert TWICE.predict_spliced(None, 32, Usage(10, 20), PRICE).pico == written


# --- what a sample corrects ---


def test_what_is_held_out_stands_for_those_that_were_kept() -> None:
    """One in four: the client of this one has the teacher's answer, three have a prediction."""
    correction = correction_of(100, 90, Fraction(1, 4), is_in_sum=True)
    assert correction.pico == 3 * 10
    assert correction.variance_pico2 == 10**2 * 3 * 4


def test_an_audit_stands_for_itself_too() -> None:
    """Its client got the draft, so that the prediction is in the sum for all four."""
    correction = correction_of(100, 90, Fraction(1, 4), is_in_sum=False)
    assert correction.pico == 4 * 10
    assert correction.variance_pico2 == 10**2 * 3 * 4


def test_where_all_are_observed_nothing_is_uncertain() -> None:
    assert correction_of(100, 90, Fraction(1), is_in_sum=True).pico == 0
    assert correction_of(100, 90, Fraction(1), is_in_sum=False).pico == 10
    assert correction_of(100, 90, Fraction(1), is_in_sum=True).variance_pico2 == 0


@given(COSTS, COSTS, SHARES, st.booleans())
def test_the_corrected_sum_is_right_on_average_whatever_was_predicted(
    measured: int, predicted: int, share: Fraction, is_audit: bool
) -> None:
    """The expectation over the coin, taken exactly: but for the one rounding it is the truth."""
    correction = correction_of(measured, predicted, share, is_in_sum=not is_audit)
    drawn = (predicted if is_audit else measured) + correction.pico
    expected = share * drawn + (1 - share) * predicted
    assert abs(expected - measured) <= share / 2


@given(COSTS, COSTS, SHARES, st.booleans())
def test_the_variance_is_right_on_average(
    measured: int, predicted: int, share: Fraction, is_audit: bool
) -> None:
    """What one request adds to the sum varies with the coin by as much as is posted on average."""
    exact = (1 / share - (not is_audit)) * (measured - predicted)
    drawn = (predicted if is_audit else measured) + exact
    true = share * (drawn - measured) ** 2 + (1 - share) * (predicted - measured) ** 2
    posted = correction_of(measured, predicted, share, is_in_sum=not is_audit).variance_pico2
    assert abs(share * posted - true) <= share / 2


# --- what is learnt ---


def test_ratios_are_those_of_sums() -> None:
    """A mean of ratios would let short answers speak as loudly as long ones."""
    short, long = (
        seen(teacher=Usage(100, 50)),
        seen(student=Usage(300, 990), teacher=Usage(300, 990)),
    )
    learner = taught(*[short, long] * (LEAST_OBSERVATIONS // 2))
    assert learner.ratios == Ratios(Basis.SAMPLE, Fraction(1), Fraction(50 + 990, 10 + 990))


def test_an_observation_weighs_as_much_as_those_that_it_stands_for() -> None:
    rare = seen(teacher=Usage(125, 40), propensity=Fraction(1, 10))
    common = seen(propensity=Fraction(1))
    learner = taught(*[rare, common] * (LEAST_OBSERVATIONS // 2))
    assert learner.ratios.output == Fraction(10 * 40 + 20, 10 * 10 + 10)


@pytest.mark.parametrize("basis", [Basis.SAMPLE, Basis.ESCALATIONS])
def test_a_few_observations_say_nothing(basis: Basis) -> None:
    few = taught(*[seen(basis)] * (LEAST_OBSERVATIONS - 1))
    assert few.ratios == Ratios()
    assert few.bounds == {}
    few.learn(seen(basis))
    assert few.ratios == Ratios(basis, Fraction(5, 4), Fraction(2))


def test_a_random_sample_goes_before_escalations() -> None:
    wordy = seen(Basis.ESCALATIONS, teacher=Usage(100, 90), propensity=Fraction(1))
    learner = taught(*[wordy] * LEAST_OBSERVATIONS, *[seen()] * (LEAST_OBSERVATIONS - 1))
    assert learner.ratios == Ratios(Basis.ESCALATIONS, Fraction(1), Fraction(9))
    learner.learn(seen())
    assert learner.ratios.basis is Basis.SAMPLE
    learner.learn(wordy)
    assert learner.ratios == Ratios(Basis.SAMPLE, Fraction(5, 4), Fraction(2))


def test_a_student_that_says_nothing_teaches_nothing() -> None:
    silent = seen(student=Usage(100, 0))
    assert taught(*[silent] * LEAST_OBSERVATIONS).ratios == Ratios()


def test_nothing_is_learnt_from_what_was_only_predicted() -> None:
    with pytest.raises(KeyError):
        Learner().learn(seen(Basis.PRICES))


def test_ratios_in_hand_do_not_change() -> None:
    learner = taught(*[seen()] * LEAST_OBSERVATIONS)
    before = learner.ratios
    learner.learn(seen(teacher=Usage(1000, 1000)))
    assert before == Ratios(Basis.SAMPLE, Fraction(5, 4), Fraction(2))
    assert learner.ratios != before


@pytest.mark.simulated
def test_a_teacher_that_becomes_wordier_is_followed() -> None:
    learner = taught(*[seen()] * MOST_OBSERVATIONS * 2, *[seen(teacher=Usage(125, 40))] * 10_000)
    assert learner.ratios.output == pytest.approx(4, rel=0.02)


def test_where_all_say_the_same_the_interval_is_a_point() -> None:
    bounds = taught(*[seen()] * (MOST_OBSERVATIONS + 5)).bounds
    for part, ratio in ((Part.INPUT, 1.25), (Part.OUTPUT, 2.0)):
        found = bounds[part]
        assert (found.low, found.estimate, found.high) == pytest.approx((ratio,) * 3, abs=1e-4)


def test_a_ratio_is_never_below_nothing() -> None:
    rest = [seen(teacher=Usage(125, 0))] * (LEAST_OBSERVATIONS - 1)
    bounds = taught(seen(teacher=Usage(125, 500)), *rest).bounds[Part.OUTPUT]
    assert bounds.low == 0
    assert bounds.high > bounds.estimate > 0


def test_forgetting_widens_the_interval_as_fewer_observations_would() -> None:
    dice = Random(3)
    many = [a_pair(dice) for _ in range(MOST_OBSERVATIONS)]
    before = taught(*many[:-1]).bounds[Part.OUTPUT]
    after = taught(*many).bounds[Part.OUTPUT]
    assert after.estimate == pytest.approx(before.estimate, rel=0.01)
    wider = (after.high - after.low) / (before.high - before.low)
    assert wider == pytest.approx(math.sqrt(2), rel=0.02)


def a_pair(dice: Random) -> Observation:
    """The teacher writes 1.5 times as much, give or take; the longer the answer the rarer."""
    written = round(dice.lognormvariate(4, 0.8)) + 1
    teacher = round(1.5 * written * dice.lognormvariate(-0.125, 0.5))
    propensity = Fraction(1, 4) if written > 80 else Fraction(1, 2)
    return seen(student=Usage(100, written), teacher=Usage(110, teacher), propensity=propensity)


@pytest.mark.simulated
def test_the_interval_of_a_ratio_covers_it() -> None:
    """The delta method, seeded: each of 200 runs draws each of 300 with its own probability."""
    covered = 0
    for seed in range(200):
        dice = Random(seed)
        pairs = [a_pair(dice) for _ in range(300)]
        true = sum(p.teacher.output for p in pairs) / sum(p.student.output for p in pairs)
        drawn = [pair for pair in pairs if dice.random() < pair.propensity]
        bounds = taught(*drawn).bounds[Part.OUTPUT]
        covered += bounds.low <= true <= bounds.high
    assert covered >= 182
