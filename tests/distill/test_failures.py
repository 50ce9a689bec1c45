import math

import numpy as np
import pytest

from distill.failures import failure_rate


def test_nothing_is_known_of_no_records() -> None:
    assert failure_rate([]) is None


def test_the_interval_is_wilsons() -> None:
    rate = failure_rate([1.0] * 8 + [0.0] * 2)
    assert rate is not None
    # From statsmodels, for 2 of 10 by the method of Wilson.
    assert rate.value == pytest.approx(0.2)
    assert rate.records == 10
    assert rate.low == pytest.approx(0.05668, abs=1e-4)
    assert rate.high == pytest.approx(0.50984, abs=1e-4)


@pytest.mark.parametrize("ok", [0.0, 1.0])
def test_an_interval_holds_its_share(ok: float) -> None:
    for count in (1, 2, 5, 100):
        rate = failure_rate([ok] * count)
        assert rate is not None
        assert rate.low <= rate.value == 1.0 - ok <= rate.high
        assert 0.0 <= rate.low < rate.high <= 1.0


def test_weights_count_as_many_records_as_they_are_worth() -> None:
    even = failure_rate([0.0, 1.0] * 10, [3.0] * 20)
    assert even == failure_rate([0.0, 1.0] * 10)
    uneven = failure_rate([0.0, 1.0], [3.0, 1.0])
    assert uneven is not None
    assert uneven.value == pytest.approx(0.75)
    wider = failure_rate([0.0, 1.0, 1.0, 0.0])
    assert wider is not None
    assert uneven.high - uneven.low > wider.high - wider.low


def test_failing_is_above_the_bound_with_the_intervals_confidence() -> None:
    rate = failure_rate([0.0] * 5)
    assert rate is not None
    assert rate.is_failing(0.5)
    assert not rate.is_failing(rate.low)
    few = failure_rate([0.0])
    assert few is not None
    assert not few.is_failing(0.2069)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    for truth in (0.1, 0.5):
        covered = 0
        for _ in range(1000):
            rate = failure_rate((rng.random(60) >= truth).astype(float).tolist())
            assert rate is not None
            covered += rate.low <= truth <= rate.high
        assert math.isclose(covered / 1000, 0.95, abs_tol=0.03)
