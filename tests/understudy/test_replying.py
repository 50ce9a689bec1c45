"""One exchange with the server, over a pair of sockets: what is written, in how many writes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.api.exchange import (
    EXCHANGE,
    ClientGone,
    Departure,
    passing_on,
    read_body,
    reply_at_once,
    send_response,
)
from gateway.errors import BodyTooLarge
from tests.understudy.test_web_server import connected
from understudy.replying import Event
from understudy.web_server import Connection

POST = b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b"
LARGE = 300_000  # beyond what uvicorn lets wait before it stops reading
App = Callable[[Any, Any, Any], Awaitable[None]]


class Writes:
    """A transport that remembers what was written, write by write."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.made: list[bytes] = []
        self._transport = transport

    def write(self, data: bytes) -> None:
        self.made.append(bytes(data))
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def says(*messages: dict[str, Any]) -> App:
    """An application that answers with these."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(part: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": part, "more_body": more}


async def until(is_true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not is_true():  # noqa: ASYNC110  # what it waits for sets no event
            await asyncio.sleep(0)


def is_answered(connection: Connection) -> bool:
    return connection.cycle is not None and connection.cycle.response_complete


async def writes_of(app: App, request: bytes = POST % (0, b"")) -> list[bytes]:
    """What one request is answered with, until the reply is whole or the connection closed."""
    async with connected(app) as (_, connection, writer, reader):
        writes = Writes(connection.transport)
        connection.transport = writes  # type: ignore[assignment]
        writer.write(request)
        await until(lambda: is_answered(connection) or writes.is_closing())
        if writes.is_closing():
            await reader.read()
        return writes.made


LENGTH = (b"content-length", b"2")


async def test_a_whole_reply_is_one_write() -> None:
    (reply,) = await writes_of(says(start(LENGTH), body(b"ok")))
    head, _, said = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 2" in head
    assert said == b"ok"


async def reply(scope: Any, send: Any, status: int, headers: dict[str, str], said: bytes) -> None:
    if not reply_at_once(scope, send, status, headers, said):
        await send_response(send, status, headers, said)


def at_once(headers: dict[str, str], said: bytes = b"ok") -> App:
    """An application that answers by the server's own way for whole replies."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await reply(scope, send, 200, headers, said)

    return app


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_a_reply_at_once_is_what_its_messages_would_be(version: bytes) -> None:
    request = (POST % (0, b"")).replace(b"HTTP/1.1", version)
    headers = {"x-a": "1", "content-type": "text/plain", "x-b": "\xe9"}
    (whole,) = await writes_of(at_once(headers), request)
    fields = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    (in_messages,) = await writes_of(says(start(*fields, LENGTH), body(b"ok")), request)
    assert sorted(whole.split(b"\r\n")) == sorted(in_messages.split(b"\r\n"))
    assert whole.endswith(b"\r\n\r\nok")


async def test_the_servers_own_headers_are_those_of_now() -> None:
    async with connected(at_once({})) as (server, _, writer, reader):
        for day in (b"Mon", b"Tue"):
            server.server_state.default_headers = [(b"date", day)]
            writer.write(POST % (0, b""))
            assert b"\r\ndate: " + day in await reader.readuntil(b"ok")
        server.end_connections(5)
        writer.write(POST % (0, b""))
        assert (await reader.read()).count(b"connection: close") == 1


async def test_who_stands_between_sees_every_message() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def heard() -> Any:
            seen.append((message := await receive())["type"])
            return message

        async def said(message: Any) -> None:
            seen.append(message["type"])
            await send(message)

        assert await read_body(scope, heard, most=9, seconds=5) == b"x"
        with Departure(scope, heard):
            await reply(scope, said, 200, {}, b"ok")

    assert len(await writes_of(app, POST % (1, b"x"))) == 1
    assert seen[:3] == ["http.request", "http.response.start", "http.response.body"]


@pytest.mark.parametrize("value", ["a\r\nset-cookie: b", "a\nb", "a\0"])
async def test_a_reply_at_once_writes_no_header_that_would_be_two(value: str) -> None:
    assert await writes_of(at_once({"x": value})) == []


@pytest.mark.parametrize("name", ["x y", "", "x:", "x\r\n", "\xe9"])
async def test_a_reply_at_once_writes_no_name_that_is_none_however_often(name: str) -> None:
    for _ in range(2):
        assert await writes_of(at_once({name: "z"})) == []


async def test_a_reply_at_once_waits_for_a_client_that_reads_slowly() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        flow = scope["extensions"][EXCHANGE]["exchange"].flow
        flow.pause_writing()
        asyncio.get_running_loop().call_soon(flow.resume_writing)
        await at_once({"x": "y"})(scope, receive, send)
        assert not flow.write_paused

    (whole,) = await writes_of(app)
    assert b"\r\nx: y\r\n" in whole
    assert whole.endswith(b"\r\n\r\nok")


async def test_the_server_knows_who_answers_until_that_is_over() -> None:
    known: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        task = scope["extensions"][EXCHANGE]["exchange"].task
        known.append(task is asyncio.current_task() and {task} == server.server_state.tasks)
        await at_once({})(scope, receive, send)

    async with connected(app) as (server, _, writer, reader):
        for _ in range(2):
            writer.write(POST % (0, b""))
            await reader.readuntil(b"ok")
            assert not server.server_state.tasks
    assert known == [True, True]


async def test_a_second_reply_is_not_written() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await at_once({})(scope, receive, send)
        with pytest.raises(RuntimeError):
            scope["extensions"][EXCHANGE]["exchange"].reply(200, {}, b"again")

    assert len(await writes_of(app)) == 1


async def test_of_a_stream_the_head_goes_with_the_first_part() -> None:
    parts = (body(b"one", more=True), body(b"two", more=True), body(b""))
    first, second, last = await writes_of(says(start(), *parts))
    head, _, said = first.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert said == b"3\r\none\r\n"
    assert (second, last) == (b"3\r\ntwo\r\n", b"0\r\n\r\n")


async def test_a_part_of_a_stream_leaves_at_once_after_the_first() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass_on = passing_on(scope, send)
        assert not pass_on(b"early")
        await send(start())
        assert not pass_on(b"early")  # the head still waits for a body
        await send(body(b"one", more=True))
        assert pass_on(b"two")
        await send(body(b"three"))
        assert not pass_on(b"late")

    first, second, last = await writes_of(app)
    assert first.endswith(b"\r\n\r\n3\r\none\r\n")
    assert (second, last) == (b"3\r\ntwo\r\n", b"5\r\nthree\r\n0\r\n\r\n")


async def test_a_part_waits_for_a_client_that_reads_slowly_and_for_none_that_has_left() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass_on, cycle = passing_on(scope, send), scope["extensions"][EXCHANGE]["exchange"]
        await send(start())
        await send(body(b"one", more=True))
        cycle.flow.pause_writing()
        assert not pass_on(b"two")
        cycle.flow.resume_writing()
        assert pass_on(b"two")
        cycle.disconnected = True
        assert not pass_on(b"three")
        cycle.disconnected = False
        await send(body(b""))

    assert (await writes_of(app))[1:] == [b"3\r\ntwo\r\n", b"0\r\n\r\n"]


@pytest.mark.parametrize("sizes", [[9, 9], [9, 8, 8, 8]])
async def test_a_client_that_reads_nothing_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    monkeypatch.setattr("understudy.replying.UNREAD_SECONDS", 0)
    unread = iter(sizes)
    monkeypatch.setattr(Writes, "get_write_buffer_size", lambda _: next(unread), raising=False)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"][EXCHANGE]["exchange"].flow.pause_writing()  # what was before is unread
        await reply(scope, send, 200, {}, b"ok")

    assert await writes_of(app) == []
    assert list(unread) == []


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
async def test_a_reply_to_head_has_its_head_alone(method: bytes) -> None:
    request = method + b" /x HTTP/1.1\r\nhost: x\r\n\r\n"
    (reply,) = await writes_of(says(start(LENGTH), body(b"ok")), request)
    assert reply.endswith(b"\r\n\r\n" if method == b"HEAD" else b"\r\n\r\nok")


async def test_a_reply_without_a_body_has_no_coding() -> None:
    (reply,) = await writes_of(says(start(status=204), body(b"")))
    assert b"transfer-encoding" not in reply


async def test_a_reply_that_says_so_is_the_last() -> None:
    (reply,) = await writes_of(says(start(LENGTH, (b"Connection", b"close")), body(b"ok")))
    assert reply.count(b"onnection: close") == 1


async def test_an_old_client_is_told_that_the_connection_ends() -> None:
    request = (POST % (0, b"")).replace(b"HTTP/1.1", b"HTTP/1.0")
    (reply,) = await writes_of(says(start(LENGTH), body(b"ok")), request)
    assert b"connection: close\r\n" in reply


@pytest.mark.parametrize(
    "header",
    [
        (b"x", b"a\r\nset-cookie: b"),
        (b"x", b"a\nb"),
        (b"x", b"a\0"),
        (b"x y", b"z"),
        (b"", b"z"),
        (b"x\r\n", b"z"),
    ],
)
async def test_a_header_that_would_be_two_is_not_written(header: tuple[bytes, bytes]) -> None:
    assert await writes_of(says(start(header, LENGTH), body(b"ok"))) == []


async def test_a_body_of_another_length_than_was_said_is_not_written() -> None:
    assert await writes_of(says(start(LENGTH), body(b"long"))) == []
    assert await writes_of(says(start(LENGTH), body(b"s"))) == []


async def test_a_reply_that_begins_with_its_body_is_an_error() -> None:
    (head_and_body,) = await writes_of(says(body(b"ok")))
    assert head_and_body.startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("size", [0, 5, LARGE])
async def test_a_body_is_read_whole_however_it_comes(size: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        read = await read_body(scope, receive, most=LARGE, seconds=5)
        await says(start(LENGTH), body(b"ok" if read == b"x" * size else b"no"))(
            scope, receive, send
        )

    (reply,) = await writes_of(app, POST % (size, b"x" * size))
    assert reply.endswith(b"ok")


async def test_a_body_that_is_there_may_be_too_large() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["headers"] = [each for each in scope["headers"] if each[0] != b"content-length"]
        scope["headers"].append((b"transfer-encoding", b"chunked"))
        with pytest.raises(BodyTooLarge):
            await read_body(scope, receive, most=4, seconds=5)
        await says(start(LENGTH), body(b"ok"))(scope, receive, send)

    (reply,) = await writes_of(app, POST % (5, b"x" * 5))
    assert reply.endswith(b"ok")


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(scope, receive, most=9, seconds=5)
        await says(start(LENGTH), body(b"ok"))(scope, receive, send)

    head = b"POST /x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n"
    async with connected(app) as (_, _, writer, reader):
        writer.write(head)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"x")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("app", [at_once({}), says(start(LENGTH), body(b"ok"))])
@pytest.mark.parametrize("sent", [b"", b"x"])
async def test_what_follows_a_body_that_was_not_asked_for_is_not_read(
    app: App, sent: bytes
) -> None:
    head = b"POST /x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n"
    (whole,) = await writes_of(app, head + sent)
    assert (b"connection: close" in whole) is (not sent)


@pytest.mark.parametrize("size", [1, LARGE])
async def test_who_waits_is_told_that_the_client_has_left(size: int) -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    waiting = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(scope, receive, most=LARGE, seconds=5)
        try:
            with Departure(scope, receive):
                waiting.set()
                await asyncio.Event().wait()
        except ClientGone:
            ended.set_result("gone")

    async with connected(app) as (_, _, writer, _):
        writer.write(POST % (size, b"x" * size))
        await waiting.wait()
        writer.close()
        assert await asyncio.wait_for(ended, 5) == "gone"


async def test_who_begins_to_wait_for_a_client_that_has_left_is_told_at_once() -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    left = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await left.wait()
        try:
            with Departure(scope, receive):
                await asyncio.Event().wait()
        except ClientGone:
            ended.set_result("gone")

    async with connected(app) as (_, connection, writer, _):
        writer.write(POST % (0, b""))
        await until(lambda: connection.cycle is not None)
        writer.close()
        await until(lambda: connection.cycle is not None and connection.cycle.disconnected)
        left.set()
        assert await asyncio.wait_for(ended, 5) == "gone"


async def test_a_client_that_leaves_after_its_reply_cancels_nothing() -> None:
    replied = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with Departure(scope, receive):
            await says(start(LENGTH), body(b"ok"))(scope, receive, send)
        replied.set()

    async with connected(app) as (_, _, writer, reader):
        writer.write(POST % (0, b""))
        await reader.readuntil(b"ok")
        writer.close()
        await asyncio.wait_for(replied.wait(), 5)


async def test_who_waits_is_told_also_where_the_client_has_sent_another_request_ahead() -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    waiting = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            with Departure(scope, receive):
                waiting.set()
                await asyncio.Event().wait()
        except ClientGone:
            ended.set_result("gone")

    async with connected(app) as (_, _, writer, _):
        writer.write(POST % (0, b"") + POST % (0, b""))
        await waiting.wait()
        writer.close()
        assert await asyncio.wait_for(ended, 5) == "gone"


async def test_an_old_client_reads_a_stream_without_chunks_until_its_end() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass_on = passing_on(scope, send)
        await send(start())
        await send(body(b"one", more=True))
        if not pass_on(b"two"):
            await send(body(b"two", more=True))
        await send(body(b"three"))

    request = (POST % (0, b"")).replace(b"HTTP/1.1", b"HTTP/1.0")
    head, _, said = b"".join(await writes_of(app, request)).partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert b"transfer-encoding" not in head
    assert said == b"onetwothree"


async def test_who_waits_for_an_event_goes_on_once_it_is_set_and_who_comes_then_at_once() -> None:
    event = Event()
    waiting = [asyncio.create_task(event.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [True, False, False]
    event.set()
    event.clear()
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting[1:])
        event.set()
        await event.wait()
    event.clear()
    late = asyncio.create_task(event.wait())
    await asyncio.sleep(0)
    assert not late.done()
    late.cancel()


async def test_an_event_that_is_set_as_a_waiter_is_cancelled_lets_the_others_go() -> None:
    event = Event()
    gone, stays = (asyncio.create_task(event.wait()) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    event.set()
    async with asyncio.timeout(5):
        await stays
    assert gone.cancelled() or gone.cancelling()
