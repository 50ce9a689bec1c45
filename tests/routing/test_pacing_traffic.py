import random
from statistics import mean, pstdev

import pytest

from routing.pacing_traffic import WINDOWS, steady_rate


def poisson(rate: float, seconds: int, seed: int) -> list[float]:
    generator = random.Random(seed)
    counts, at, ends = [0.0] * seconds, generator.expovariate(rate), float(seconds)
    while at < ends:
        counts[int(at)] += 1.0
        at += generator.expovariate(rate)
    return counts


def test_without_any_second_nothing_arrives() -> None:
    assert steady_rate([]) == 0.0


def test_a_steady_stream_is_averaged_over_all_there_is() -> None:
    rates = [steady_rate(poisson(20.0, 128, seed)) for seed in range(60)]
    assert mean(rates) == pytest.approx(20.0, rel=0.02)
    assert pstdev(rates) < 0.6  # over one second it would be 4.5


@pytest.mark.parametrize("times", [5.0, 0.2])
def test_a_jump_is_seen_in_the_second_after_it(times: float) -> None:
    before = poisson(40.0, 128, seed=1)
    after = poisson(40.0 * times, 2, seed=2)
    assert steady_rate(before + after) == pytest.approx(40.0 * times, rel=0.4)


def test_a_slow_change_shortens_the_look_back() -> None:
    rising = [float(second) for second in range(128)]
    assert 100.0 < steady_rate(rising) < 127.0


def test_no_look_goes_back_beyond_the_longest_window() -> None:
    assert steady_rate([1e6] * 50 + [3.0] * WINDOWS[-1]) == 3.0


def test_silence_is_no_traffic() -> None:
    assert steady_rate([0.0] * 128) == 0.0
