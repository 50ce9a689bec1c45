import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.breaker import FAILURES_TO_OPEN, REST_SECONDS, Breaker

START = 1000.0
RESTED = START + REST_SECONDS


def opened(at: float = START) -> Breaker:
    """A breaker that a run of failures opened."""
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(at)
    return breaker


def test_the_limits_are_five_failures_and_five_seconds() -> None:
    assert (FAILURES_TO_OPEN, REST_SECONDS) == (5, 5.0)


def test_closed_breaker_lets_every_call_through() -> None:
    breaker = Breaker()
    assert [breaker.allows(START) for _ in range(3)] == [True, True, True]


def test_one_failure_too_few_leaves_it_closed() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN - 1):
        breaker.failed(START)
    assert breaker.allows(START)
    assert breaker.allows(START)


def test_the_last_failure_of_the_run_opens_it() -> None:
    assert not opened().allows(START)


def test_success_in_between_starts_the_run_anew() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN - 1):
        breaker.failed(START)
    breaker.succeeded()
    for _ in range(FAILURES_TO_OPEN - 1):
        breaker.failed(START)
    assert breaker.allows(START)


def test_calls_given_up_do_not_count_as_failures() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN):
        breaker.abandoned()
    assert breaker.allows(START)


def test_calls_given_up_do_not_end_a_run_of_failures() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN):
        breaker.abandoned()
        breaker.failed(START)
    assert not breaker.allows(START)


def test_the_rest_counts_from_the_failure_that_opened_it() -> None:
    breaker = Breaker()
    for second in range(FAILURES_TO_OPEN):
        breaker.failed(START + second)
    opened_at = START + FAILURES_TO_OPEN - 1
    assert not breaker.allows(opened_at + REST_SECONDS - 0.5)
    assert breaker.allows(opened_at + REST_SECONDS)


@pytest.mark.parametrize(
    ("now", "is_allowed"),
    [(START, False), (math.nextafter(RESTED, 0.0), False), (RESTED, True), (RESTED + 1e6, True)],
)
def test_open_breaker_rests_and_then_lets_a_probe_through(now: float, is_allowed: bool) -> None:
    assert opened().allows(now) is is_allowed


def test_breaker_opened_at_time_zero_is_open() -> None:
    assert not opened(at=0.0).allows(0.0)


def test_only_one_probe_is_handed_out() -> None:
    breaker = opened()
    assert [breaker.allows(RESTED) for _ in range(3)] == [True, False, False]
    assert not breaker.allows(RESTED + 100 * REST_SECONDS)


def test_asking_before_the_rest_is_over_costs_no_probe() -> None:
    breaker = opened()
    assert not breaker.allows(START)
    assert breaker.allows(RESTED)


def test_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    assert breaker.allows(RESTED)
    breaker.succeeded()
    assert breaker == Breaker()
    assert [breaker.allows(RESTED) for _ in range(2)] == [True, True]


def test_probe_that_begins_to_be_answered_closes_it() -> None:
    """An answer may take long, and all others would wait for it."""
    breaker = opened(at=0.0)
    assert breaker.allows(REST_SECONDS)
    breaker.began()
    assert breaker == Breaker()


def test_call_that_begins_to_be_answered_ends_no_run_of_failures() -> None:
    breaker = Breaker()
    for number in range(FAILURES_TO_OPEN):
        assert breaker.opened_at is None
        breaker.began()
        breaker.failed(float(number))
    assert breaker.opened_at is not None
    breaker.began()  # of a call from before
    assert breaker.opened_at is not None


def test_closed_again_it_takes_a_whole_run_to_open_it() -> None:
    breaker = opened()
    assert breaker.allows(RESTED)
    breaker.succeeded()
    for _ in range(FAILURES_TO_OPEN - 1):
        breaker.failed(RESTED)
    assert breaker.allows(RESTED)
    breaker.failed(RESTED)
    assert not breaker.allows(RESTED)


def test_probe_that_fails_starts_another_whole_rest() -> None:
    breaker = opened()
    failed_at = RESTED + 2.0
    assert breaker.allows(RESTED)
    breaker.failed(failed_at)
    assert not breaker.allows(math.nextafter(failed_at + REST_SECONDS, 0.0))
    assert breaker.allows(failed_at + REST_SECONDS)
    assert not breaker.allows(failed_at + REST_SECONDS)


def test_probe_given_up_hands_out_another_at_once_but_only_one() -> None:
    breaker = opened()
    assert breaker.allows(RESTED)
    breaker.abandoned()
    assert breaker.allows(RESTED)
    assert not breaker.allows(RESTED)


def test_late_failures_while_it_is_open_do_not_extend_the_rest() -> None:
    breaker = opened()
    for late in range(1, FAILURES_TO_OPEN + 1):
        breaker.failed(START + REST_SECONDS * late / (FAILURES_TO_OPEN + 1))
    assert breaker.allows(RESTED)


def test_late_success_while_it_is_open_closes_it() -> None:
    breaker = opened()
    breaker.succeeded()
    assert breaker.allows(START)


def test_it_says_when_it_opens_and_when_it_closes_and_neither_twice() -> None:
    breaker = Breaker()
    run = [breaker.failed(START) for _ in range(FAILURES_TO_OPEN + 1)]
    assert run == [False] * (FAILURES_TO_OPEN - 1) + [True, False]
    assert [breaker.succeeded(), breaker.succeeded()] == [True, False]


def test_a_probe_that_fails_opens_nothing_anew_and_one_that_begins_closes_it() -> None:
    breaker = opened()
    assert not breaker.began()
    assert breaker.allows(RESTED)
    assert not breaker.failed(RESTED)
    assert breaker.allows(RESTED + REST_SECONDS)
    assert [breaker.began(), breaker.began()] == [True, False]


@given(st.lists(st.tuples(st.sampled_from(["ask", "fail", "abandon"]), st.integers(0, 7))))
def test_without_a_success_an_open_breaker_lets_one_call_a_rest_through(
    events: list[tuple[str, int]],
) -> None:
    breaker, now, last, out = opened(), START, START, False
    for event, seconds in events:
        now += seconds
        if event == "ask" and breaker.allows(now):
            assert not out
            assert now - last >= REST_SECONDS
            out = True
        elif event == "fail" and out:
            breaker.failed(now)
            last, out = now, False
        elif event == "abandon" and out:
            breaker.abandoned()
            out = False
