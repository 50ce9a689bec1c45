"""Several servers of one model: who is asked, and who is asked in place of one that failed."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gateway.errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamMalformed,
    UpstreamMisconfigured,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from gateway.upstream.openai import Endpoint, OpenAIModel
from gateway.upstream.pool import ServerPool, Tally
from gateway.wire.chat import Dialect
from routing.breaker import FAILURES_TO_OPEN, REST_SECONDS
from routing.concurrency import FIRST_CALLS
from routing.room import Room
from routing.servers import BURST, CALLS_PER_RETRY, MOST_TRIES
from routing.vocabulary import Degraded, Denied, Granted

DIALECT = Dialect(model="m", is_evidence_wanted=False, has_running_usage=False, extra={})
MOST, TIMEOUT = 4, 20.0
AWAY = UpstreamUnavailable("away")


class Bench:
    """A pool of so many servers that nobody has to reach, and the time."""

    def __init__(self, count: int) -> None:
        self.now = 100.0
        self.servers = [self._server(number) for number in range(count)]
        self.pool = ServerPool(self.servers, lambda: self.now)

    def _server(self, number: int) -> OpenAIModel:
        endpoint = Endpoint(f"http://h{number}/v1", None, DIALECT, MOST, TIMEOUT, number)
        return OpenAIModel(endpoint, lambda: self.now, lambda _: None)

    def fail(self, number: int, times: int = 1, failure: UpstreamError = AWAY) -> None:
        """That server fails at so many calls."""
        for _ in range(times):
            self.servers[number].open_calls += 1
            self.servers[number].ended(None, failure)

    def asked(self) -> int:
        """Who is asked next, after a reservation."""
        assert self.pool.reserve() == Granted()
        return self.pool.server().number

    def again(self, *tried: int, failure: UpstreamError = AWAY, spent: float = 0.0) -> int | None:
        """Who is asked in place of the last of those."""
        server = self.pool.another([self.servers[one] for one in tried], failure, spent)
        return None if server is None else server.number


def test_the_one_with_the_fewest_open_calls_is_asked() -> None:
    bench = Bench(3)
    for number, calls in enumerate([2, 3, 1]):
        bench.servers[number].open_calls = calls
    assert bench.asked() == 2


def test_idle_ones_take_turns() -> None:
    bench = Bench(3)
    assert sorted(bench.asked() for _ in range(3)) == [0, 1, 2]


def test_one_that_has_no_room_is_passed_over() -> None:
    bench = Bench(2)
    bench.servers[0].open_calls = MOST
    bench.servers[1].open_calls = MOST - 1
    assert bench.asked() == 1


def test_one_that_is_left_alone_is_passed_over_and_the_rest_serve() -> None:
    bench = Bench(2)
    bench.fail(0, FAILURES_TO_OPEN)
    bench.servers[1].open_calls = MOST - 1
    assert bench.asked() == 1
    assert bench.pool.left_alone == 1


def test_one_that_was_left_alone_is_tried_again_by_one_call() -> None:
    bench = Bench(2)
    bench.fail(0, FAILURES_TO_OPEN)
    bench.now += max(REST_SECONDS, 30.0)
    bench.servers[1].open_calls = 1
    assert bench.asked() == 0
    assert bench.asked() == 1  # the first is waited for


def test_a_server_that_fails_at_once_does_not_get_all_calls() -> None:
    """It has the fewest open calls; a status of 500 opens no breaker."""
    bench = Bench(2)
    bench.fail(0, failure=UpstreamFailed("500"))
    bench.servers[1].open_calls = MOST - 1
    assert bench.asked() == 1
    bench.now += 10.0
    assert bench.asked() == 0


def test_one_that_rests_is_still_asked_where_no_other_has_room() -> None:
    bench = Bench(2)
    bench.fail(0, failure=UpstreamFailed("500"))
    bench.servers[1].open_calls = MOST
    assert bench.asked() == 0


def test_a_busy_server_rests_as_long_as_it_says() -> None:
    bench = Bench(2)
    bench.fail(0, failure=UpstreamBusy("429", come_back_seconds=20.0))
    bench.servers[1].open_calls = 1
    bench.now += 19.0
    assert bench.asked() == 1
    bench.now += 1.0
    assert bench.asked() == 0


def test_who_was_reserved_is_asked_whatever_came_between() -> None:
    bench = Bench(2)
    assert bench.pool.reserve() == Granted()
    assert bench.pool.reserve() == Granted()
    assert {bench.pool.server().number, bench.pool.server().number} == {0, 1}


def test_a_call_for_which_nothing_was_reserved_is_made_all_the_same() -> None:
    bench = Bench(2)
    for number in range(2):
        bench.fail(number, FAILURES_TO_OPEN)
    assert isinstance(bench.pool.reserve(), Denied)
    assert bench.pool.server() in bench.servers


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (lambda bench: bench.fail(0, FAILURES_TO_OPEN), None),
        (lambda bench: [bench.fail(n, FAILURES_TO_OPEN) for n in (0, 1)], Degraded.TEACHER_FAILED),
        (lambda bench: _fill(bench.servers), Degraded.TEACHER_BUSY),
        (lambda bench: _spoil(bench), Degraded.TEACHER_BUSY),
    ],
    ids=["one is left alone", "both are left alone", "both are full", "one of each"],
)
def test_a_model_is_denied_once_none_of_its_servers_may_be_asked(
    prepare: Callable[[Bench], Any], why: Degraded | None
) -> None:
    bench = Bench(2)
    prepare(bench)
    assert bench.pool.reserve() == (Granted() if why is None else Denied(why))


def _spoil(bench: Bench) -> None:
    bench.fail(0, FAILURES_TO_OPEN)
    _fill(bench.servers[1:])


def _fill(servers: Sequence[OpenAIModel]) -> None:
    for server in servers:
        server.open_calls = MOST


@pytest.mark.parametrize(
    ("failure", "others", "same"),
    [
        (AWAY, True, True),
        (UpstreamUnavailable("broke off", is_usage_unknown=True), True, True),
        (UpstreamUnavailable("503", come_back_seconds=1.0), True, False),
        (UpstreamUnreachable("refused"), True, False),
        (UpstreamFailed("500"), True, False),
        (UpstreamBusy("429"), True, False),
        (UpstreamMisconfigured("404"), True, False),
        (UpstreamTimeout("slow"), False, False),
        (UpstreamMalformed("html"), False, False),
        (UpstreamError("no file descriptor"), False, False),
    ],
    ids=str,
)
def test_what_is_made_again_and_where(failure: UpstreamError, *, others: bool, same: bool) -> None:
    assert Bench(2).again(0, failure=failure) == (1 if others else None)
    assert Bench(1).again(0, failure=failure) == (0 if same else None)


def test_a_server_that_is_alone_is_asked_twice_at_most() -> None:
    assert Bench(1).again(0, 0) is None


def test_no_server_is_tried_twice_and_no_call_too_often() -> None:
    assert Bench(2).again(0, 1) is None
    assert Bench(MOST_TRIES + 1).again(*range(MOST_TRIES - 1)) is not None
    assert Bench(MOST_TRIES + 1).again(*range(MOST_TRIES)) is None


def test_nothing_is_made_again_once_its_time_is_over() -> None:
    assert Bench(2).again(0, spent=TIMEOUT - 0.1) == 1
    assert Bench(2).again(0, spent=TIMEOUT) is None


def test_nothing_is_made_again_where_nobody_has_room_or_is_well() -> None:
    bench = Bench(2)
    _fill(bench.servers[1:])
    assert bench.again(0) is None
    bench.servers[1].open_calls = 0
    bench.fail(1, FAILURES_TO_OPEN)
    assert bench.again(0) is None


def test_an_outage_adds_a_tenth_to_the_calls() -> None:
    bench, made_again = Bench(2), 0
    for _ in range(1000):
        bench.pool.server()
        made_again += bench.again(0) is not None
    assert made_again == 1000 // CALLS_PER_RETRY + BURST - 1


def test_a_tally_has_the_share_that_had_no_room_since_it_was_last_taken() -> None:
    bench = Bench(1)
    bench.pool.tally = Tally()
    assert bench.pool.tally.take() is None
    bench.asked()
    _fill(bench.servers)
    assert bench.pool.reserve() == Denied(Degraded.TEACHER_BUSY)
    assert bench.pool.tally.take() == 0.5
    bench.servers[0].open_calls = 0
    bench.fail(0, FAILURES_TO_OPEN)
    assert bench.pool.reserve() == Denied(Degraded.TEACHER_FAILED)
    assert bench.pool.tally.take() is None


@pytest.mark.parametrize(
    ("failure", "is_less"),
    [
        (UpstreamBusy("busy"), True),
        (UpstreamUnavailable("come back later", come_back_seconds=2.0), True),
        (AWAY, False),
        (UpstreamTimeout("late"), False),
    ],
    ids=["429", "503 with retry-after", "503", "timeout"],
)
def test_a_learnt_limit_shrinks_where_the_server_says_that_it_has_too_much_to_do(
    failure: UpstreamError, is_less: bool
) -> None:
    endpoint = Endpoint("http://h/v1", None, DIALECT, 64, TIMEOUT, is_limit_adaptive=True)
    server = OpenAIModel(endpoint, lambda: 100.0, lambda _: None)
    assert server.max_calls == FIRST_CALLS
    server.open_calls += 1
    server.ended(None, failure)
    assert (server.max_calls < FIRST_CALLS) is is_less


def test_what_is_said_of_the_model_is_said_of_all_its_servers() -> None:
    bench = Bench(2)
    bench.servers[0].can_continue = True
    bench.servers[0].room = Room(2048, is_answer_counted=True)
    bench.servers[0].open_calls, bench.servers[1].open_calls = 1, 2
    assert (bench.pool.can_continue, bench.pool.room) == (False, None)
    assert (bench.pool.open_calls, bench.pool.max_calls) == (3, 2 * MOST)
    bench.servers[1].can_continue = True
    bench.servers[1].room = Room(4096, is_answer_counted=True)
    assert bench.pool.can_continue is True
    assert bench.pool.room == Room(4096, is_answer_counted=True)
    alone = bench.pool.alone(bench.servers[0])
    assert (alone.open_calls, alone.room) == (1, Room(2048, is_answer_counted=True))
