"""How a connection is read, and when it is closed: over a pair of sockets, without a process."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from understudy.web_server import (
    KEEP_ALIVE_SECONDS,
    MAX_HEAD_BYTES,
    MAX_WAITING,
    Connection,
    Server,
    web_server,
)

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


OFFER = (
    b"host: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMA\r\n"
)


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Answers with nothing."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def whole_body(receive: Any) -> bytes:
    """What a request has to say."""
    body, has_more = b"", True
    while has_more:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        has_more = message["more_body"]
    return body


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it understood."""
    body = await whole_body(receive)
    said = f"{scope['method']} {scope['path']} {body.decode()}".encode()
    length = (b"content-length", str(len(said)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": said})


@asynccontextmanager
async def connected(
    app: Any = nothing, idle_seconds: int = KEEP_ALIVE_SECONDS
) -> AsyncIterator[tuple[Server, Connection, asyncio.StreamWriter, Any]]:
    server = web_server(app)
    assert server.config.timeout_keep_alive == KEEP_ALIVE_SECONDS
    server.config.timeout_keep_alive = idle_seconds
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    _, connection = await loop.connect_accepted_socket(
        lambda: Connection(config=server.config, server_state=server.server_state, app_state={}),
        ours,
    )
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        yield server, connection, writer, reader
    finally:
        writer.close()
        connection.transport.close()


async def ask(writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> bytes:
    writer.write(REQUEST)
    return await reader.readuntil(b"\r\n\r\n")


async def test_one_that_was_answered_a_moment_ago_is_left_for_one_answer_more() -> None:
    async with connected() as (server, connection, writer, reader):
        connection.end(linger_seconds=5)  # as where its reply had begun by then
        assert b"close" not in await ask(writer, reader)
        connection.shutdown()
        assert not connection.transport.is_closing()
        server.end_connections(5)
        assert b"connection: close" in await ask(writer, reader)
        assert await reader.read() == b""


async def test_one_that_was_idle_all_the_time_is_closed() -> None:
    async with connected() as (_, connection, writer, reader):
        await ask(writer, reader)
        connection.end(linger_seconds=5)
        connection.shutdown()
        assert await reader.read() == b""


async def test_without_a_delay_none_is_left() -> None:
    async with connected() as (_, connection, writer, reader):
        connection.end(linger_seconds=0)
        await ask(writer, reader)
        connection.shutdown()
        assert await reader.read() == b""


async def said_to(*pieces: bytes) -> bytes:
    """All that comes back, until the connection is closed."""
    async with connected(echo) as (_, _, writer, reader):
        for piece in pieces:
            writer.write(piece)
            for _ in range(5):
                await asyncio.sleep(0)
        async with asyncio.timeout(5):
            answer: bytes = await reader.read()
        return answer


NEXT = b"POST /next HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nz"
CHUNKED = b"POST /a HTTP/1.1\r\n%btransfer-encoding: chunked\r\n\r\n" % OFFER
LONG = b"POST /a HTTP/1.1\r\n%bcontent-length: 5\r\n\r\n" % OFFER


@pytest.mark.parametrize(
    ("pieces", "understood"),
    [
        ([LONG + b"hello"], b"POST /a hello"),
        ([LONG, b"hel", b"lo"], b"POST /a hello"),
        ([LONG + b"hel", b"lo" + NEXT], b"POST /a hello"),
        ([LONG[:40], LONG[40:] + b"hello" + NEXT], b"POST /a hello"),
        (
            [CHUNKED + b"5\r\nhello\r\n", b"1\r\n!\r\n0\r\n\r\n"],
            b"POST /a hello!",
        ),
        ([b"GET /a HTTP/1.1\r\n%b\r\n%b" % (OFFER, NEXT)], b"GET /a "),
        ([b"GET /a HTTP/1.1\r\n%b\r\n" % OFFER.replace(b"h2c", b"websocket")], b"GET /a "),
    ],
    ids=["whole", "in pieces", "and more", "a split head", "chunked", "no body", "websocket"],
)
async def test_an_offer_of_another_protocol_is_declined_and_its_request_answered(
    pieces: list[bytes], understood: bytes
) -> None:
    head, _, body = (await said_to(*pieces)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in head
    assert body == understood


SMUGGLED = b"0\r\n\r\nGET /evil HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"content-length: 5\r\ntransfer-encoding: chunked\r\n", SMUGGLED),
        (b"transfer-encoding: chunked\r\ncontent-length: 5\r\n", SMUGGLED),
        (OFFER + b"content-length: 5\r\ntransfer-encoding: chunked\r\n", SMUGGLED),
        (b"content-length: 5\r\ncontent-length: 6\r\n", b"hello!"),
        (b"content-length: 5\r\ncontent-length: 5\r\n", b"hello"),
        (b"content-length: 5, 5\r\n", b"hello"),
        (b"content-length: +5\r\n", b"hello"),
        (b"content-length: -5\r\n", b"hello"),
        (b"content-length : 5\r\n", b"hello"),
        (b"transfer-encoding: xchunked\r\n", SMUGGLED),
        (b"transfer-encoding: chunked, identity\r\n", SMUGGLED),
        (b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", SMUGGLED),
        (b"transfer-encoding : chunked\r\n", SMUGGLED),
        (b"transfer-encoding:\x0bchunked\r\n", SMUGGLED),
        (b"transfer-encoding:\r\n chunked\r\n", SMUGGLED),
        (b"transfer-encoding: chunked\n", SMUGGLED),
        (b"x: a\rcontent-length: 5\r\n", b"hello"),
        (b"x: a\x00b\r\ncontent-length: 0\r\n", b""),
        (b"transfer-encoding: chunked\r\n", b"0x5\r\nhello\r\n0\r\n\r\n"),
        (b"transfer-encoding: chunked\r\n", b"5\nhello\n0\n\n"),
        (b"transfer-encoding: chunked\r\n", b"5\r\nhelloXX0\r\n\r\n"),
        (OFFER + b"transfer-encoding: chunked\r\n", b"5\r\nhelloXX0\r\n\r\n"),
    ],
    ids=repr,
)
async def test_a_request_whose_end_can_be_read_in_two_ways_ends_its_connection(
    framing: bytes, body: bytes
) -> None:
    answer = await said_to(b"POST /a HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n" + body)
    assert b"evil" not in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    head, _, said = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in head
    assert set(json.loads(said)["error"]) == {"message", "type", "param", "code"}


LINE = b"x: %b\r\n" % (b"a" * 8192)
BEGUN = b"POST /a HTTP/1.1\r\nhost: x\r\n"
IN_CHUNKS = BEGUN + b"transfer-encoding: chunked\r\n\r\n"
ENOUGH = MAX_HEAD_BYTES // len(LINE) + 1  # of these lines, or as many bytes, are too many


@pytest.mark.parametrize(
    "pieces",
    [
        [BEGUN, *[LINE] * ENOUGH],
        [BEGUN + b"x: ", *[b"a" * len(LINE)] * ENOUGH],
        [b"GET /", *[b"a" * len(LINE)] * ENOUGH],
        [IN_CHUNKS + b"5;", *[b"a" * len(LINE)] * ENOUGH],
        [IN_CHUNKS + b"0\r\n", *[LINE] * ENOUGH],
    ],
    ids=["many headers", "a long header", "a long path", "beside a chunk", "behind the body"],
)
async def test_what_is_no_body_is_not_read_without_end(pieces: list[bytes]) -> None:
    head, _, said = (await said_to(*pieces)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(said)["error"]["code"] == "invalid_request"


async def test_a_long_body_is_no_long_head() -> None:
    chunk = b"2000\r\n%b\r\n" % (b"a" * 8192)
    head = IN_CHUNKS.replace(b"host", b"connection: close\r\nhost")
    answer = await said_to(head, *[chunk] * ENOUGH, b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert len(answer) > MAX_HEAD_BYTES


async def test_a_head_that_does_not_end_ends_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with connected(echo) as (server, connection, writer, reader):
        writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"GET /a ")
        writer.write(b"GET /b HTTP/1.1\r\n")
        for _ in range(5):
            await asyncio.sleep(0)
        assert connection.url == b"/b"
        await server.on_tick(0)
        assert not connection.transport.is_closing()
        monkeypatch.setattr("understudy.web_server.HEAD_SECONDS", 0)
        await server.on_tick(1)
        assert not connection.transport.is_closing()
        await server.on_tick(10)
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("seconds", [0, KEEP_ALIVE_SECONDS])
@pytest.mark.parametrize("sent", [b"", b"\r\n", REQUEST])
async def test_a_client_that_asks_nothing_more_is_not_waited_for_without_end(
    sent: bytes, seconds: int
) -> None:
    async with connected(idle_seconds=seconds) as (server, connection, writer, reader):
        writer.write(sent)
        if sent == REQUEST:
            await reader.readuntil(b"\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0)
        await server.on_tick(10)
        assert connection.transport.is_closing() is (seconds == 0)


async def test_requests_that_are_sent_ahead_are_answered_in_their_order() -> None:
    last = REQUEST.replace(b"host", b"connection: close\r\nhost")
    answer = await said_to(REQUEST * (MAX_WAITING - 1) + last)
    assert answer.count(b"HTTP/1.1 200 ") == MAX_WAITING


async def test_requests_are_not_taken_in_without_end_before_they_are_answered() -> None:
    answer = await said_to(REQUEST * (MAX_WAITING + 2))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


class Stream:
    """An application that answers with a part of a stream, and with the rest once it may."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await self.may_end.wait()
        await send({"type": "http.response.body", "body": b"ended"})


@pytest.mark.parametrize("ahead", [b"NO HTTP\r\n\r\n", REQUEST * (MAX_WAITING + 1)])
async def test_no_refusal_is_written_into_an_answer_behind_which_others_wait(ahead: bytes) -> None:
    async with connected(Stream()) as (_, _, writer, reader):
        writer.write(REQUEST)
        await reader.readuntil(b"begun\r\n")
        writer.write(REQUEST + ahead)
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_request_that_began_before_the_last_answer_ended_may_take_its_time() -> None:
    stream = Stream()
    async with connected(stream, idle_seconds=0) as (server, connection, writer, reader):
        begun, rest = b"GET /next HTTP/1.1\r\n", b"host: x\r\n\r\n"
        writer.write(REQUEST)
        await reader.readuntil(b"begun\r\n")
        writer.write(begun)
        async with asyncio.timeout(5):
            while connection.url != b"/next":  # noqa: ASYNC110  # what it waits for sets no event
                await asyncio.sleep(0)
        stream.may_end.set()
        await reader.readuntil(b"0\r\n\r\n")
        stream.may_end.clear()
        writer.write(rest)
        await reader.readuntil(b"begun\r\n")
        await server.on_tick(10)
        assert not connection.transport.is_closing()


async def test_an_asked_connection_has_no_more_attributes_than_take_no_dictionary() -> None:
    """Python 3.11 to 3.13 keep 30 in the object itself: one more makes it a kilobyte larger."""
    async with connected() as (_, connection, writer, reader):
        await ask(writer, reader)
        assert len(vars(connection)) <= 30
