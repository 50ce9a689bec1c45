import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.pressure import Bounds, Pressure, Seen, eased, strain

BOUNDS = Bounds()
FULL = Seen(waiting=100.0)
shares = st.floats(0.0, 1.0)


def test_nothing_seen_is_no_pressure() -> None:
    assert strain(Seen(), BOUNDS) == (0.0, "")
    assert Pressure().after(Seen(), BOUNDS, 2.0) == Pressure()


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen(waiting=4.0), 0.5),
        (Seen(waiting=9.0), 1.0),
        (Seen(cache=0.72), 0.0),
        (Seen(cache=0.81), 0.5),
        (Seen(denied=0.25), 0.5),
        (Seen(waiting=math.nan), 0.0),
        (Seen(waiting=2.0, denied=0.5), 1.0),
    ],
    ids=str,
)
def test_the_worst_that_was_seen_strains(seen: Seen, expected: float) -> None:
    assert strain(seen, BOUNDS)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Seen(waiting=6.0, cache=0.1), "6 waiting"),
        (Seen(waiting=1.0, cache=0.85), "85% of its cache in use"),
        (Seen(denied=1 / 3), "33% of calls had no room"),
    ],
)
def test_it_says_what_it_rests_on(seen: Seen, words: str) -> None:
    assert Pressure().after(seen, BOUNDS, 2.0).why == words


def test_it_rises_sooner_than_it_falls() -> None:
    up = Pressure().after(FULL, BOUNDS, 5.0)
    assert up.value == pytest.approx(1 - math.exp(-1))
    assert Pressure(1.0).after(Seen(), BOUNDS, 5.0).value == pytest.approx(math.exp(-0.25))


def test_a_little_less_strain_changes_nothing() -> None:
    assert Pressure(0.5, "x").after(Seen(waiting=3.7), BOUNDS, 60.0).value == 0.5
    assert Pressure(0.5, "x").after(Seen(waiting=3.5), BOUNDS, 60.0).value < 0.5


def test_it_is_gone_in_the_end() -> None:
    pressure = Pressure(1.0, "x")
    for _ in range(60):
        pressure = pressure.after(Seen(), BOUNDS, 2.0)
    assert pressure == Pressure()


@given(st.floats(0.0, 50.0), st.floats(0.0, 50.0), shares, st.floats(0.0, 100.0))
def test_more_waiting_never_means_less_pressure(
    one: float, other: float, before: float, seconds: float
) -> None:
    low, high = sorted([one, other])
    less = Pressure(before).after(Seen(waiting=low), BOUNDS, seconds).value
    more = Pressure(before).after(Seen(waiting=high), BOUNDS, seconds).value
    assert 0.0 <= less <= more + 1e-12 <= 1.0 + 1e-12


@given(shares, shares, shares, shares)
def test_a_threshold_gives_way_evenly_and_never_below_its_floor(
    threshold: float, one: float, other: float, floor: float
) -> None:
    low, high = sorted([one, other])
    soft, hard = eased(threshold, high, floor), eased(threshold, low, floor)
    assert min(threshold, floor) <= soft <= hard <= threshold
    assert hard - soft <= (high - low) + 1e-9


def test_without_pressure_the_threshold_stays_and_under_all_of_it_it_is_the_floor() -> None:
    assert (eased(0.8, 0.0, 0.5), eased(0.8, 1.0, 0.5)) == (0.8, 0.5)
    assert (eased(0.4, 1.0, 0.5), eased(math.inf, 1.0, 0.5)) == (0.4, math.inf)
