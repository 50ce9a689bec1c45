from collections.abc import Callable

import pytest

from routing.money import PICO_PER_USD
from routing.pacing_goal import RateGoal, SpendGoal, tally
from routing.steering import Report, Sample

REPORT = Report(
    "a",
    1,
    at=10.0,
    seconds=1.0,
    judged=20,
    forced=2,
    escalated=5,
    denied=1,
    spent_pico=3 * PICO_PER_USD,
    escalated_pico=2 * PICO_PER_USD,
    samples=[Sample(0.5, PICO_PER_USD), Sample(0.6), Sample(0.7, 0)],
)


def test_a_rate_counts_answers_of_the_teacher() -> None:
    counted = tally(RateGoal(0.1), REPORT)
    assert (counted.spent, counted.escalations) == (5.0, 5.0)
    assert counted.samples == [(0.5, 1.0), (0.6, 1.0), (0.7, 1.0)]


def test_a_spend_counts_all_dollars_and_those_of_escalations() -> None:
    counted = tally(SpendGoal(PICO_PER_USD), REPORT)
    assert (counted.spent, counted.escalations) == (3.0, 2.0)
    assert counted.samples == [(0.5, 1.0), (0.6, None), (0.7, 1.0 / PICO_PER_USD)]
    assert (counted.judged, counted.forced, counted.escalated, counted.denied) == (20, 2, 5, 1)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: RateGoal(0.0), "at_most"),
        (lambda: RateGoal(1.0), "at_most"),
        (lambda: RateGoal(0.1, audit=1.1), "audit"),
        (lambda: SpendGoal(0), "pico_per_hour"),
        (lambda: SpendGoal(100, 119), "cap_pico_per_hour"),
        (lambda: SpendGoal(100, audit=-0.1), "audit"),
    ],
)
def test_what_is_no_goal_is_refused(make: Callable[[], object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make()


def test_a_cap_a_fifth_above_the_target_leaves_room() -> None:
    assert SpendGoal(100, 120).cap_pico_per_hour == 120
