"""An answer that waits for others to leave with it leaves before anything else is done."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.api.exchange import passing_on
from tests.understudy.test_replying import (
    POST,
    App,
    Writes,
    at_once,
    body,
    is_answered,
    says,
    start,
    until,
)
from tests.understudy.test_web_server import connected
from understudy.web_server import Connection


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


ASKED = POST % (1, b"a")


@asynccontextmanager
async def busy(app: Any) -> AsyncIterator[tuple[Connection, Writes, Any, Any]]:
    """A connection to a server on whose loop others are answered too, and what is written to it."""
    async with connected(app) as (_, connection, writer, reader):
        writes = Writes(connection.transport)
        connection.transport = writes  # type: ignore[assignment]
        connection.turn.exchanges += 2
        try:
            yield connection, writes, writer, reader
        finally:
            connection.turn.exchanges -= 2


def and_then(act: Callable[[], object]) -> App:
    """An application that answers, and does something more in the same turn."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await at_once({})(scope, receive, send)
        act()

    return app


async def test_an_answer_leaves_at_the_end_of_the_turn() -> None:
    made: list[int] = []
    async with busy(and_then(lambda: made.append(len(writes.made)))) as found:
        connection, writes, _, reader = found
        connection.data_received(ASKED)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert made == [0]
        assert len(writes.made) == 1


async def test_one_that_ends_its_connection_leaves_before_the_end() -> None:
    async with busy(at_once({})) as (connection, _, _, reader):
        connection.data_received(b"POST /x HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"ok")


async def test_one_leaves_before_garbage_behind_its_request_is_refused() -> None:
    async with busy(and_then(lambda: connection.data_received(b"no http\r\n\r\n"))) as found:
        connection, _, _, reader = found
        connection.data_received(ASKED)
        answers = await reader.read()
        assert answers.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"okHTTP/1.1 400 Bad Request\r\n" in answers


async def test_one_leaves_before_the_server_ends() -> None:
    async with busy(and_then(lambda: connection.shutdown())) as found:
        connection, _, _, reader = found
        connection.data_received(ASKED)
        assert (await reader.read()).endswith(b"ok")


async def test_one_leaves_before_the_connection_of_a_client_that_says_no_more_is_closed() -> None:
    def end() -> None:  # what a loop does that reads the end
        connection.eof_received()
        connection.transport.close()

    async with busy(and_then(end)) as (connection, _, _, reader):
        connection.data_received(ASKED)
        assert (await reader.read()).endswith(b"ok")


async def test_one_leaves_before_an_idle_connection_is_closed() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await says(start(), body(b"half", more=True))(scope, receive, send)
        connection.end(linger_seconds=0)
        await send(body(b"rest"))
        connection.end_overdue()

    async with busy(app) as (connection, _, _, reader):
        connection.data_received(ASKED)
        assert (await reader.read()).endswith(b"rest\r\n0\r\n\r\n")


async def test_one_that_breaks_off_leaves_as_far_as_it_came() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await says(start(), body(b"half", more=True))(scope, receive, send)
        raise RuntimeError("detail")

    async with busy(app) as (connection, _, _, reader):
        connection.data_received(ASKED)
        assert (await reader.read()).endswith(b"4\r\nhalf\r\n")


async def test_the_parts_of_a_stream_keep_their_order() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await says(start(), body(b"a", more=True))(scope, receive, send)
        pass_on = passing_on(scope, send)
        assert pass_on(b"b")
        await send(body(b"c", more=True))
        assert pass_on(b"d")
        await asyncio.sleep(0)
        assert pass_on(b"e")
        await send(body(b""))

    async with busy(app) as (connection, _, _, reader):
        connection.data_received(ASKED)
        answer = await reader.readuntil(b"0\r\n\r\n")
        parts = answer.partition(b"\r\n\r\n")[2].split(b"\r\n")[1::2]
        assert b"".join(parts) == b"abcde"


async def test_requests_under_way_are_counted_until_they_are_answered() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(connection.turn.exchanges)
        await at_once({})(scope, receive, send)

    async with connected(app) as (_, connection, _, _):
        before = connection.turn.exchanges
        for _ in range(2):
            connection.data_received(ASKED)
            await until(lambda: is_answered(connection))
            await asyncio.sleep(0)
        assert seen == [before + 1] * 2
        assert connection.turn.exchanges == before
