import numpy as np
import pytest

from evaluation.scenarios.scenario import Shape, Traffic
from evaluation.scenarios.traffic import DAY_SECONDS, rates


@pytest.mark.parametrize("shape", list(Shape))
def test_the_mean_is_what_was_asked(shape: Shape) -> None:
    assert rates(Traffic(shape, 7.0, DAY_SECONDS)).mean() == pytest.approx(7.0)


def test_a_day_begins_in_its_valley_and_peaks_at_noon() -> None:
    day = rates(Traffic(Shape.DAY_CYCLE, 10.0, DAY_SECONDS, swing=0.5))
    assert (day[0], day.max(), int(day.argmax())) == (5.0, 15.0, DAY_SECONDS // 2)


def test_a_burst_ends_its_hour() -> None:
    traffic = Traffic(
        Shape.BURST, 6.0, 7200, burst_times=5.0, burst_seconds=600, burst_every_seconds=3600
    )
    expected = rates(traffic)
    assert expected[2999] == pytest.approx(6.0 / (1 + 4 / 6))
    assert expected[3000] == pytest.approx(5 * expected[2999])
    assert np.unique(expected).size == 2
    assert expected[3600] == expected[0]
