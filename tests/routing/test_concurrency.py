"""A limit that learns how many calls a server bears, on a simulated server with a queue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.concurrency import (
    FEWER_SHARE,
    FIRST_CALLS,
    LEAST_CALLS,
    SHRINKING,
    WINDOW_CALLS,
    AdaptiveLimit,
)
from tests.routing.queueing import Load, Server, simulate

SERVER = Server()
CAPACITY = SERVER.slots / (SERVER.first_byte_seconds + 200 * SERVER.pace(SERVER.slots))
SETTLED = 200.0
SEEDS = [
    pytest.param(range(2), id="2"),
    pytest.param(range(2, 60), id="many", marks=pytest.mark.full),
]


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("seeds", SEEDS)
def test_a_server_that_is_asked_too_much_is_used_fully_and_its_queue_stays_short(
    seeds: range, streams: bool
) -> None:
    for seed in seeds:
        load = Load((1.3, 2.0, 4.0)[seed % 3] * CAPACITY)
        best = max(
            simulate(SERVER, load, seed, fixed, streams=streams).tokens for fixed in (32, 40, 64)
        )
        learnt = simulate(SERVER, load, seed, AdaptiveLimit(256), streams=streams)
        assert learnt.tokens >= 0.95 * best
        assert 0.85 * SERVER.slots <= learnt.limited(SETTLED) <= 1.6 * SERVER.slots
        # An answer takes 6 s to write: this is less than one has to wait for a place.
        assert learnt.waited(SETTLED) < 6.0
        halves = learnt.limited(SETTLED, 400.0), learnt.limited(400.0)
        assert halves[1] == pytest.approx(halves[0], rel=0.15)


def test_without_a_limit_the_wait_grows_without_bound_and_with_a_large_one_it_is_long() -> None:
    load = Load(2.0 * CAPACITY)
    unlimited = simulate(SERVER, load, 1, None, streams=True)
    assert unlimited.waited(500.0) > 4 * unlimited.waited(0.0, 100.0) > 100.0
    large = simulate(SERVER, load, 1, 256, streams=True)
    learnt = simulate(SERVER, load, 1, AdaptiveLimit(256), streams=True)
    assert large.waited(SETTLED) > 10 * learnt.waited(SETTLED)


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("seeds", SEEDS)
def test_answers_that_become_long_do_not_shrink_it(seeds: range, streams: bool) -> None:
    for seed in seeds:
        load = Load(1.5 * CAPACITY, longer_from=300.0, longer_tokens=1000.0)
        learnt = simulate(SERVER, load, seed, AdaptiveLimit(256), streams=streams)
        assert learnt.limited(400.0) > 0.9 * SERVER.slots


@pytest.mark.parametrize("streams", [True, False])
def test_what_is_not_used_to_its_limit_stays(streams: bool) -> None:
    load = Load(0.1 * CAPACITY, longer_from=300.0, longer_tokens=300.0)
    learnt = simulate(SERVER, load, 1, AdaptiveLimit(256), streams=streams)
    assert {calls for _, calls in learnt.limits} == {FIRST_CALLS}


def answers(limit: AdaptiveLimit, load: int, seconds: float, now: float) -> float:
    """A window of answers of 100 tokens, with so many open."""
    for _ in range(WINDOW_CALLS):
        now += seconds
        limit.answered(load, seconds, 100, now)
    return now


def test_a_server_that_becomes_slower_altogether_is_measured_anew() -> None:
    limit, now = AdaptiveLimit(64), 10.0
    for _ in range(12):
        for load in (4, 8, limit.calls):
            now = answers(limit, load, 1.0, now)
    assert limit.calls == 64
    least = limit.calls
    for _ in range(10):
        now = answers(limit, limit.calls, 3.0, now)
        least = min(least, limit.calls)
    assert FEWER_SHARE**2 * 64 < least < FEWER_SHARE * 64
    assert limit.calls == 64


def test_a_limit_that_shrinks_to_some_use_goes_on() -> None:
    limit, now = AdaptiveLimit(64), 10.0
    for _ in range(12):
        for load in (4, 8, limit.calls):
            now = answers(limit, load, 1.0, now)
    for _ in range(12):  # from now on it has eight places
        now = answers(limit, limit.calls, max(1.0, limit.calls / 8), now)
    assert limit.calls < 20


def test_a_server_that_says_it_has_too_much_to_do_gets_less() -> None:
    limit = AdaptiveLimit(64)
    limit.overloaded(10.0)
    assert limit.calls == int(FIRST_CALLS * SHRINKING)
    limit.overloaded(10.5)  # the same burst says it again
    assert limit.calls == int(FIRST_CALLS * SHRINKING)
    limit.overloaded(11.5)
    assert limit.calls == int(FIRST_CALLS * SHRINKING**2)


def test_after_that_it_grows_again_and_slowly() -> None:
    limit = AdaptiveLimit(64)
    limit.overloaded(10.0)
    calls, now = limit.calls, 12.0
    now = answers(limit, 4, 1.0, now)
    answers(limit, calls, 1.0, now)
    assert calls < limit.calls <= calls + 2


def test_at_the_floor_what_was_learnt_before_is_forgotten() -> None:
    limit, now = AdaptiveLimit(6), 10.0
    for load in (1, 2, 3):
        now = answers(limit, load, 1.0, now)
    least = limit.calls
    for _ in range(12):
        now = answers(limit, limit.calls, 9.0, now)
        least = min(least, limit.calls)
    assert least == LEAST_CALLS
    assert limit.calls == 6


def test_calls_that_began_under_another_limit_say_nothing_of_this_one() -> None:
    limit = AdaptiveLimit(64)
    limit.overloaded(10.0)
    calls = limit.calls
    for step in range(3 * WINDOW_CALLS):
        limit.first_byte(calls, 5.0 + step, 12.0 + step)
    assert limit.calls == calls


TOLD = st.tuples(
    st.sampled_from(["first_byte", "answered", "overloaded"]),
    st.integers(1, 300),
    st.floats(0, 100),
    st.integers(0, 5000),
)


@given(st.integers(1, 300), st.lists(TOLD, max_size=100))
def test_whatever_is_seen_it_stays_between_the_floor_and_the_most(
    most: int, told: list[tuple[str, int, float, int]]
) -> None:
    limit, now = AdaptiveLimit(most), 0.0
    for kind, load, seconds, tokens in told:
        now += seconds
        if kind == "first_byte":
            limit.first_byte(load, seconds, now)
        elif kind == "answered":
            limit.answered(load, seconds, tokens, now)
        else:
            limit.overloaded(now)
        assert min(most, LEAST_CALLS) <= limit.calls <= most
