"""The rent of GPUs, shared out among the calls that are open: exact, whatever the order."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.gpu_time import NANOSECONDS_PER_SECOND, GpuMeter, Rent, pico_per_hour

SECOND = NANOSECONDS_PER_SECOND
A_PICO_A_SECOND = Rent(3600)
TEN = Rent(36_000)


def test_a_call_alone_pays_for_its_time() -> None:
    lane = GpuMeter(TEN, 5 * SECOND).lane()
    mark = lane.open(7 * SECOND)
    assert lane.close(10 * SECOND, mark) == 30
    assert lane.rent(10 * SECOND) == 50


def test_calls_that_are_open_together_pay_equal_parts() -> None:
    lane = GpuMeter(TEN, 0).lane()
    first = lane.open(0)
    second = lane.open(2 * SECOND)
    assert lane.close(4 * SECOND, first) == 20 + 10
    assert lane.close(5 * SECOND, second) == 10 + 10


def test_what_cannot_be_divided_is_carried_on_and_idle_in_the_end() -> None:
    lane = GpuMeter(A_PICO_A_SECOND, 0).lane()
    marks = [lane.open(0) for _ in range(3)]
    costs = [lane.close(4 * SECOND, mark) for mark in marks]
    assert costs == [1, 1, 1]
    assert lane.rent(4 * SECOND) == 4


def test_the_rest_of_one_instant_is_shared_in_the_next() -> None:
    lane = GpuMeter(A_PICO_A_SECOND, 0).lane()
    marks = [lane.open(0), lane.open(0)]
    assert lane.lap(1 * SECOND, marks[0]) == (0, 0)
    assert lane.lap(2 * SECOND, marks[0]) == (1, 1)
    assert lane.close(2 * SECOND, marks[1]) == 1


def test_a_call_goes_on_from_its_lap() -> None:
    lane = GpuMeter(TEN, 0).lane()
    taken, mark = lane.lap(3 * SECOND, lane.open(1 * SECOND))
    assert taken == 20
    assert lane.close(4 * SECOND, mark) == 10


def test_a_clock_that_goes_back_stands_still() -> None:
    lane = GpuMeter(TEN, 5 * SECOND).lane()
    mark = lane.open(3 * SECOND)
    assert lane.close(4 * SECOND, mark) == 0
    assert lane.rent(1 * SECOND) == 0


def test_gateways_that_share_the_gpus_account_for_a_part_each() -> None:
    lane = GpuMeter(Rent(36_000, gateways=4), 0).lane()
    assert lane.close(10 * SECOND, lane.open(2 * SECOND)) == 20
    assert lane.rent(10 * SECOND) == 25


def test_models_at_one_server_share_its_rent_once() -> None:
    meter = GpuMeter(TEN, 0)
    left, right = meter.lane(), meter.lane()
    busy = left.open(1 * SECOND)
    other = right.open(3 * SECOND)
    assert left.close(5 * SECOND, busy) == 20 + 10
    assert right.close(6 * SECOND, other) == 10 + 10
    # Ten and one of idle time, of which each has half, the first the odd one.
    assert (left.rent(6 * SECOND + SECOND // 10), right.rent(6 * SECOND + SECOND // 10)) == (36, 25)


def test_a_rent_is_whole_pico_dollars() -> None:
    assert pico_per_hour(Decimal("3.2")) == 3_200_000_000_000
    for wrong in ("-1", "NaN", "Infinity", "1e-13"):
        with pytest.raises(ValueError, match="USD an hour"):
            pico_per_hour(Decimal(wrong))


def test_a_token_costs_the_rent_over_the_throughput() -> None:
    """8 GPUs at 3.20 USD an hour that write 2,400 tokens a second: 2.962963 USD a million."""
    assert Rent(pico_per_hour(Decimal("25.6"))).per_token(Fraction(2400)) == 2_962_963
    assert Rent(7200).per_token(Fraction(4)) == 0  # a half is rounded to the even number
    assert Rent(21600).per_token(Fraction(4)) == 2


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Events in time: nanoseconds since the one before, which lane, which of its calls."""
    step = st.tuples(st.integers(0, 10**10), st.integers(0, 2), st.integers(-1, 9))
    return draw(st.lists(step, max_size=60))


@given(
    rent=st.builds(Rent, st.integers(0, 10**14), st.integers(1, 7)),
    began=st.integers(-(10**12), 10**15),
    lanes=st.integers(1, 3),
    history=histories(),
)
def test_calls_and_idle_time_come_to_the_rent_whatever_happens(
    rent: Rent, began: int, lanes: int, history: list[tuple[int, int, int]]
) -> None:
    meter = GpuMeter(rent, began)
    models = [meter.lane() for _ in range(lanes)]
    marks: list[list[int]] = [[] for _ in models]
    taken = [0 for _ in models]
    before = [0 for _ in models]
    now = began
    for nanoseconds, which, call in history:
        now += nanoseconds
        place = which % lanes
        model, its = models[place], marks[place]
        if not its or call < 0:
            its.append(model.open(now))
        elif call % 2:
            taken[place] += model.close(now, its.pop(call % len(its)))
        else:
            cost, its[call % len(its)] = model.lap(now, its[call % len(its)])
            taken[place] += cost
        parts = [each.rent(now) for each in models]
        calls = sum(map(len, marks))
        due = rent.of(now - began)
        assert due - max(calls, 1) < sum(parts) <= due  # less than a pico-dollar for each open call
        assert all(part >= old for part, old in zip(parts, before, strict=True))
        before = parts
    for place, model in enumerate(models):
        taken[place] += sum(model.close(now, mark) for mark in marks[place])
    parts = [each.rent(now) for each in models]
    assert sum(parts) == rent.of(now - began)
    assert all(part >= cost for part, cost in zip(parts, taken, strict=True))


@given(
    rent=st.builds(Rent, st.integers(0, 10**14)),
    spans=st.lists(st.tuples(st.integers(0, 10**11), st.integers(0, 10**11)), max_size=12),
)
def test_a_call_takes_what_the_definition_says(rent: Rent, spans: list[tuple[int, int]]) -> None:
    """Against the integral of rent over open calls, in fractions: off by less than its events."""
    calls = [(start, start + length) for start, length in spans]
    times = sorted({time for call in calls for time in call})
    lane, marks, costs = GpuMeter(rent, 0).lane(), {}, {}
    for time in times:
        for place, (start, _) in enumerate(calls):
            if start == time:
                marks[place] = lane.open(time)
        for place, (_, end) in enumerate(calls):
            if end == time:
                costs[place] = lane.close(time, marks[place])
    pico_per_nanosecond = Fraction(rent.pico_per_hour, 3600 * SECOND)
    for place, (start, end) in enumerate(calls):
        exact = sum(
            (
                (after - time) * pico_per_nanosecond
                / sum(first <= time < last for first, last in calls)
                for time, after in pairwise(times)
                if start <= time and after <= end
            ),
            Fraction(0),
        )  # fmt: skip
        assert abs(costs[place] - exact) <= 2 * len(times) + 1
