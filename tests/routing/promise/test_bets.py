import math
import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.promise.bets import (
    STAKES,
    after,
    after_several,
    grades_needed,
    log_values,
    no_wealth,
    scaled,
)

LEVELS = 4
PLACES = st.integers(0, LEVELS)
VALUES = st.floats(-0.1, 1.0)
BETS = st.lists(st.tuples(PLACES, VALUES), max_size=30)


def wealth_of_level(level: int, bets: list[tuple[int, float]]) -> float:
    """E as its definition has it: the mean over stakes of products over what the level keeps."""
    return sum(
        math.prod(1.0 - stake * value for place, value in bets if place <= level)
        for stake in STAKES
    ) / len(STAKES)


@given(BETS)
def test_a_level_is_worth_what_the_definition_says(bets: list[tuple[int, float]]) -> None:
    found = [math.exp(each) for each in log_values(after(no_wealth(LEVELS), bets))]
    assert found == pytest.approx([wealth_of_level(level, bets) for level in range(LEVELS)])


@given(BETS, st.randoms(use_true_random=False))
def test_the_order_of_bets_does_not_matter(
    bets: list[tuple[int, float]], generator: random.Random
) -> None:
    shuffled = generator.sample(bets, len(bets))
    first, second = (after(no_wealth(LEVELS), each) for each in (bets, shuffled))
    assert list(log_values(first)) == pytest.approx(list(log_values(second)), abs=1e-9)


@given(st.dictionaries(PLACES, st.floats(-0.02, 0.2), max_size=5))
def test_a_conversation_is_one_bet_on_the_sum_of_what_a_level_keeps(
    bets: dict[int, float],
) -> None:
    kept = list(accumulate(bets.get(level, 0.0) for level in range(LEVELS)))
    wanted = [math.log(wealth_of_level(0, [(0, value)])) for value in kept]
    found = list(log_values(after_several(no_wealth(LEVELS), bets)))
    assert found == pytest.approx(wanted, abs=1e-12)


def test_nothing_learnt_changes_nothing() -> None:
    wealth = no_wealth(LEVELS)
    assert after(wealth, []) is wealth
    assert after(wealth, [(LEVELS, 1.0)]) is wealth
    assert after_several(wealth, {LEVELS: 1.0}) is wealth
    assert list(log_values(wealth)) == [0.0] * LEVELS


@pytest.mark.parametrize("alpha", [0.02, 0.05, 0.5])
@pytest.mark.parametrize("least", [0.02, 0.4, 1.0])
def test_the_boldest_bet_is_lost_whole_by_the_dearest_loss_and_by_none_else(
    alpha: float, least: float
) -> None:
    assert scaled(1.0, least, least, alpha) == pytest.approx((1 - alpha) / (1 - least * alpha))
    assert scaled(1.0, least, least, alpha) <= 1.0
    assert scaled(alpha, least, least, alpha) == 0.0
    assert scaled(0.0, 1.0, least, alpha) < 0.0


@pytest.mark.parametrize("share", [0.05, 1.0])
def test_at_a_risk_of_alpha_a_bet_is_fair(share: float) -> None:
    alpha = 0.05
    for stake in STAKES:
        right, wrong = (1.0 - stake * scaled(loss, share, share, alpha) for loss in (0.0, 1.0))
        graded = (1.0 - alpha) * right + alpha * wrong
        assert share * graded + (1.0 - share) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("risk", "alpha", "delta", "grades"),
    # "Labels needed" of the study behind this, to whole labels.
    [
        (0.0, 0.05, 0.05, 58),
        (0.015, 0.05, 0.05, 170),
        (0.025, 0.05, 0.05, 375),
        (0.04, 0.05, 0.05, 2659),
        (0.05, 0.1, 0.1, 138),
        (0.016, 0.02, 0.01, 10518),
    ],
)
def test_grades_needed_follow_the_law(risk: float, alpha: float, delta: float, grades: int) -> None:
    assert grades_needed(risk, alpha, delta) == pytest.approx(grades, abs=1.0)


def test_no_number_of_grades_certifies_a_risk_of_alpha() -> None:
    assert grades_needed(0.05, 0.05, 0.05) == math.inf
