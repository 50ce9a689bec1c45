import numpy as np
import pytest

from evaluation.pacing.measures import (
    HOUR,
    has_enough,
    over_any_hour,
    rate_off,
    spend_off,
    variation,
)


def test_every_hour_is_summed_one_beginning_in_each_second() -> None:
    each = np.zeros(2 * HOUR)
    each[HOUR] = 5.0
    sums = over_any_hour(each)
    assert len(sums) == HOUR + 1
    assert sums.tolist() == [0.0] + [5.0] * HOUR


def test_what_is_off_is_a_part_of_the_target() -> None:
    assert spend_off(np.full(HOUR, 11.0 / HOUR), 10.0).tolist() == pytest.approx([0.1])
    escalated, requests = np.full(HOUR, 0.9), np.full(HOUR, 10.0)
    assert rate_off(escalated, requests, 0.1).tolist() == pytest.approx([-0.1])


def test_an_hour_with_too_little_for_a_while_had_not_enough() -> None:
    possible = np.full(3 * HOUR, 20.0 / HOUR)
    possible[: HOUR // 2] = 1.0 / HOUR
    enough = has_enough(possible, 10.0)
    assert not enough[: HOUR // 2 - 300].any()
    assert enough[HOUR // 2 + 300 : -300].all()


def test_variation_is_the_way_up_and_down_in_an_hour() -> None:
    values = np.zeros(2 * HOUR)
    values[100:200] = 0.5
    assert variation(values) == pytest.approx(0.5)
