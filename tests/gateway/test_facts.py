import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.facts import ABORTED, CANCELLED, SPARE, Ending, Leg, RequestSettled
from routing.money import Usage
from routing.vocabulary import Handover, Role

USAGE = Usage(input=100, output=50)


def leg(started: float, seconds: float, **changes: object) -> Leg:
    values: dict[str, object] = {"role": Role.STUDENT, "usage": USAGE, "cost_pico": 5}
    values |= {"started": started, "seconds": seconds}
    return Leg(**(values | changes))  # type: ignore[arg-type]


def fact(**changes: object) -> RequestSettled:
    values: dict[str, object] = {
        "request_id": "r",
        "ending": Ending.KEPT,
        "status": 200,
        "seconds": 10.0,
        "served_by": Role.STUDENT,
        "legs": [leg(0.0, 9.0)],
    }
    return RequestSettled(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("legs", "own"),
    [
        ([], 8.0),
        ([leg(100, 3)], 5.0),
        ([leg(100, 3), leg(103, 2)], 3.0),  # one after the other
        ([leg(100, 3), leg(104, 2)], 3.0),  # with a break, which is the gateway's
        ([leg(100, 3), leg(101, 4)], 3.0),  # a draft that goes on while the teacher is asked
        ([leg(100, 6), leg(101, 2)], 2.0),  # one within another
        ([leg(103, 2), leg(100, 4)], 3.0),  # noted when they end, not when they begin
        ([leg(100, 3), leg(100, 3, error=SPARE)], 5.0),  # one call, told apart
        ([leg(100, 3, error=CANCELLED)], 5.0),
        ([leg(100, 9)], 0.0),  # clocks are read one after the other
    ],
)
def test_the_gateways_own_time_is_what_waits_for_nobody(legs: list[Leg], own: float) -> None:
    assert fact(seconds=10.0, body_seconds=2.0, legs=legs).gateway_seconds == own


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 10)), max_size=6))
def test_time_in_which_any_call_is_open_counts_once(calls: list[tuple[int, int]]) -> None:
    covered = {tick for start, length in calls for tick in range(start, start + length)}
    legs = [leg(float(start), float(length)) for start, length in calls]
    assert fact(seconds=30.0, legs=legs).gateway_seconds == 30.0 - len(covered)


STREAM = {"is_stream": True, "first_byte_seconds": 4.0, "first_tokens": 10}


def test_a_stream_has_a_pace_after_its_first_byte() -> None:
    assert fact(**STREAM).seconds_per_token == (10.0 - 4.0) / (50 - 10)


def test_the_pace_is_that_of_the_call_that_wrote_the_answer() -> None:
    given_up = leg(0.0, 2.0, error=ABORTED, usage=Usage(100, 7))
    taught = leg(2.0, 8.0, role=Role.TEACHER, usage=Usage(100, 40))
    ending = {"ending": Ending.ESCALATED, "served_by": Role.TEACHER}
    fact_of = fact(**STREAM, **ending, legs=[given_up, taught])
    assert fact_of.seconds_per_token == 6.0 / 30
    twice = [leg(0.0, 1.0, error=ABORTED), leg(1.0, 3.0, usage=Usage(1, 13)), leg(4.0, 5.0)]
    degraded = fact(**STREAM, ending=Ending.DEGRADED, legs=twice)
    assert degraded.seconds_per_token == 6.0 / 40


@pytest.mark.parametrize(
    "changes",
    [
        {"first_byte_seconds": None},  # it was no stream, or was sent as a whole
        {"ending": Ending.CANCELLED},
        {"ending": Ending.FAILED},
        {"handover": Handover.CONTINUE, "served_by": Role.TEACHER, "ending": Ending.ESCALATED},
        {"handover": Handover.RESTART, "served_by": Role.TEACHER, "ending": Ending.ESCALATED},
        {"legs": [leg(0.0, 9.0, usage=None)]},
        {"legs": [leg(0.0, 9.0, usage=Usage(100, 50, reasoning=20))]},
        {"first_tokens": 50},  # all of it was held back
        {"legs": [leg(0.0, 9.0, role=Role.TEACHER)]},
    ],
)
def test_a_pace_that_nobody_knows_is_none(changes: dict[str, object]) -> None:
    assert fact(**(STREAM | changes)).seconds_per_token is None


def test_a_doubt_without_a_handover_leaves_the_pace() -> None:
    assert fact(**STREAM, handover=Handover.NEVER).seconds_per_token is not None
