import math
from dataclasses import replace

import pytest

from routing.errors import PolicyError
from routing.promise.bets import STAKES, log_values
from routing.promise.terms import SIXTEENTHS, HeadStart, Terms, wealth_of_records

ROW = (8, *(0,) * 15, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 0.0},
        {"alpha": 0.6},
        {"delta": 0.0},
        {"delta": 0.6},
        {"audit_share": 0.0},
        {"audit_share": 1.1},
        {"complete": -0.1},
        {"complete": 1.1},
        {"release": 0.0},
        {"release": 1.1},
        {"hold_at_most": -1},
        {"idle_seconds": -1.0},
        {"idle_seconds": math.nan},
    ],
)
def test_terms_that_nobody_could_hold_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(Terms(0.05, 0.05), **wrong)  # type: ignore[arg-type]  # each is a number


@pytest.mark.parametrize(
    ("thresholds", "counts", "below", "complaint"),
    [
        ((), (), 5, "head_start.thresholds: must be as many"),
        ((0.5, 0.5), (ROW, ROW), 0, "head_start.thresholds: must strictly decrease"),
        ((1.5,), (ROW,), 0, "head_start.thresholds: they and the shares must lie"),
        ((0.5,), (ROW, ROW), 0, "head_start.counts: must have 17 counts"),
        ((0.5,), ((1, 2),), 0, "head_start.counts: must have 17 counts"),
        ((0.5,), ((-1, *ROW[1:]),), 0, "head_start.counts: must have 17 counts"),
        ((0.5,), (ROW,), -1, "head_start: there must be records"),
        ((0.5,), ((0,) * 17,), 0, "head_start: there must be records"),
    ],
)
def test_a_head_start_that_is_none_is_refused(
    thresholds: tuple[float, ...],
    counts: tuple[tuple[int, ...], ...],
    below: int,
    complaint: str,
) -> None:
    with pytest.raises(PolicyError, match=f"^{complaint}"):
        HeadStart(thresholds, counts, below)


def test_levels_keep_the_share_of_the_records_that_they_keep() -> None:
    start = HeadStart((0.9, 0.5), (ROW, ROW), below=20)
    assert start.records == 40
    assert start.grid.shares == (0.25, 0.5)


def test_records_bet_as_grades_that_were_sure_to_be_had() -> None:
    alpha, stake = 0.1, STAKES[-1]
    row = (5, *(0,) * 7, 3, *(0,) * 8)
    (wealth,) = wealth_of_records((row,), alpha)
    lost = math.log1p(-stake * (8 / SIXTEENTHS - alpha) / (1.0 - alpha))
    kept = math.log1p(stake * alpha / (1.0 - alpha))
    assert wealth[-1] == pytest.approx(5 * kept + 3 * lost)
    assert list(log_values(wealth_of_records(((0,) * 17,), alpha))) == [0.0]
