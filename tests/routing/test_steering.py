import pytest

from routing.money import PICO_PER_USD
from routing.steering import KEEP_NOTHING, Grade, Standing

CENT = PICO_PER_USD // 100


def standing(threshold: float, per_usd: float | None = None) -> Standing:
    return Standing(revision=1, epoch=0, threshold=threshold, per_usd=per_usd)


def test_without_a_price_the_threshold_is_everyones() -> None:
    assert standing(0.7).least_merit(CENT) == 0.7


def test_a_cost_that_nobody_knows_is_the_typical_one() -> None:
    assert standing(0.7, per_usd=100).least_merit(None) == 0.7
    assert standing(0.7, per_usd=100).least_merit(CENT) == pytest.approx(0.7)


def test_dear_answers_are_kept_with_less_merit() -> None:
    of = standing(0.7, per_usd=100)
    assert of.least_merit(2 * CENT) == pytest.approx(0.4)
    assert of.least_merit(4 * CENT) == 0.0
    assert of.least_merit(CENT // 2) == pytest.approx(0.85)


def test_what_costs_nothing_is_kept_with_full_merit_alone() -> None:
    assert standing(0.7, per_usd=100).least_merit(0) == 1.0


def test_where_nothing_is_kept_no_cost_changes_that() -> None:
    assert standing(KEEP_NOTHING, per_usd=100).least_merit(CENT) == KEEP_NOTHING


def test_where_nothing_is_kept_nothing_is_graded_at_less_than_one() -> None:
    assert standing(KEEP_NOTHING).least == 1.0
    assert Standing(revision=1, epoch=0, threshold=0.5, audit=0.02).least == 0.02


@pytest.mark.parametrize(
    "numbers",
    [
        (1.1, 0, 1, 1, 0),
        (0.5, -0.1, 1, 1, 0),
        (0.5, 0, 0.5, 0.6, 0),
        (0.5, 0, 1, 0, 0),
        (0.5, 0, 1, 1, -1),
    ],
)
def test_numbers_that_are_none_of_a_grade_are_refused(
    numbers: tuple[float, float, float, float, float],
) -> None:
    merit, loss, propensity, least, late = numbers
    with pytest.raises(ValueError, match="must"):
        Grade(merit, loss, propensity, least, epoch=1, is_kept=True, late=late)


def test_a_grade_of_a_kept_draft_is_one() -> None:
    assert Grade(0.5, 0.0, 0.02, 0.02, epoch=1, is_kept=True).conversation is None
