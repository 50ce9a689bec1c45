"""One exchange after another against servers that write bytes: what is read, refused, given up."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.upstream.http1 import MAX_HEAD_BYTES, HttpClient, TooLarge
from gateway.upstream.reply import BrokenOff
from tests.fakes.raw_server import Peer, RawServer, Script, answer, raw_server, turns

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n"
PATIENCE = 5.0
MOST = 2**20


@asynccontextmanager
async def asking(script: Script) -> AsyncIterator[tuple[HttpClient, RawServer]]:
    async with raw_server(script) as server:
        client = HttpClient(server.url, {})
        try:
            yield client, server
        finally:
            client.close()


async def post(
    client: HttpClient, body: bytes = b"{}", *, seconds: float = PATIENCE, most: int = MOST
) -> tuple[int, bytes]:
    return await client.post(body, seconds=seconds, most=most)


def once(*pieces: bytes) -> Script:
    """Answer one request, then close."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*pieces)

    return script


def bytewise(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


# --- what an answer may look like ---

ANSWERS = {
    "content-length": (answer(b"hello"), 200, b"hello"),
    "empty": (answer(b""), 200, b""),
    "an error": (answer(b"no", status="503 Service Unavailable"), 503, b"no"),
    "no reason phrase": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "upper case": (b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 2\r\n\r\nok", 200, b"ok"),
    "chunked": (CHUNKED + b"5\r\nhello\r\n1;name=value\r\n!\r\n0\r\n\r\n", 200, b"hello!"),
    "no chunk": (CHUNKED + b"0\r\n\r\n", 200, b""),
    "trailers": (CHUNKED + b"2\r\nok\r\n0\r\nx-checksum: 1\r\n\r\n", 200, b"ok"),
    "until it closes": (UNTIL_CLOSE + b"hello", 200, b"hello"),
    "until it closes, empty": (UNTIL_CLOSE, 200, b""),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", 200, b"hello"),
    "100 Continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(), 200, b"ok"),
    "103 Early Hints": (
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 2 + UNTIL_CLOSE + b"ok",
        200,
        b"ok",
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b""),
    "an upgrade on offer": (answer(b"ok", "upgrade: h2c", "connection: upgrade"), 200, b"ok"),
}


@pytest.mark.parametrize(("data", "status", "body"), ANSWERS.values(), ids=ANSWERS)
async def test_answer_is_read_in_one_piece_and_byte_by_byte(
    data: bytes, status: int, body: bytes
) -> None:
    for pieces in ([data], bytewise(data)):
        async with asking(once(*pieces)) as (client, _):
            assert await post(client) == (status, body)


async def test_chunked_answer_may_be_split_anywhere() -> None:
    data = CHUNKED + b"b\r\nhello world\r\n1\r\n!\r\n0\r\nx-a: b\r\n\r\n"
    splits = [(data[:place], data[place:]) for place in range(1, len(data))]

    async def script(peer: Peer) -> None:
        for pieces in splits:
            await peer.request()
            await peer.send(*pieces)
        await peer.wait_closed()

    async with asking(script) as (client, server):
        for _ in splits:
            assert await post(client) == (200, b"hello world!")
        assert len(server.peers) == 1


async def test_request_is_what_http_asks_for() -> None:
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(answer())

    async with raw_server(script) as server:
        headers = {"content-type": "application/json", "authorization": "Bearer ké y"}
        client = HttpClient(f"http://127.0.0.1:{server.port}/v1/chat?a=b%20c#there", headers)
        await post(client, b'{"model":"x"}')
        client.close()
    assert seen == [
        b"POST /v1/chat?a=b%%20c HTTP/1.1\r\n"
        b"host: 127.0.0.1:%d\r\n"
        b"accept-encoding: identity\r\n"
        b"content-type: application/json\r\n"
        b"authorization: Bearer k\xe9 y\r\n"
        b"content-length: 13\r\n"
        b"\r\n"
        b'{"model":"x"}' % server.port
    ]


async def test_url_without_a_path_asks_for_the_root() -> None:
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(answer())

    async with raw_server(script) as server:
        client = HttpClient(f"http://user:secret@127.0.0.1:{server.port}", {})
        await post(client)
        client.close()
    assert seen[0].startswith(b"POST / HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % server.port)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "host/v1",
        "http://",
        "http:///v1",
        "http://host:99999/v1",
        "http://host/v1\r\nx: y",
        "http://host/v1\n",
        "http://host\r\n/v1",
        "http://host/a path",
        "http://ho st/v1",
        "http://host/\x00",
        "http://host/\x7f",
        "http://host/caf\xe9",
        "http://b\xfccher.example/v1",
        "http://host..example/v1",
        f"http://{'a' * 64}.example/v1",
    ],
)
def test_url_that_no_request_can_carry_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=re.compile("URL|label|ort")):
        HttpClient(url, {})


@pytest.mark.parametrize("text", ["a\r\nx: y", "a\n", "\ra", "a\x00", "a\x7f", "\u201ckey\u201d"])
def test_header_that_no_request_can_carry_is_refused(text: str) -> None:
    for headers in ({"authorization": text}, {text: "value"}):
        with pytest.raises(ValueError, match=r"header|latin-1"):
            HttpClient("http://host/v1", headers)


# --- what is no answer ---

NO_ANSWERS = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "a head alone": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
    "half a body": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
    "half a body, upper case": b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 5\r\n\r\nhel",
    "half a chunk": CHUNKED + b"5\r\nhel",
    "no last chunk": CHUNKED + b"5\r\nhello\r\n",
    "half a trailer": CHUNKED + b"5\r\nhello\r\n0\r\nx-a",
    "only an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "garbage": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "a length that is none": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "an endless length": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "length and chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n"
    b"\r\n2\r\nok\r\n0\r\n\r\n",
    "a chunk without a size": CHUNKED + b"-1\r\nhello\r\n",
    "a chunk longer than it says": CHUNKED + b"2\r\nhello\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"
    b"connection: upgrade\r\n\r\nframes",
    "an upgrade to nothing": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + answer(),
}


@pytest.mark.parametrize("data", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_what_is_no_whole_answer_is_broken_off(data: bytes) -> None:
    for pieces in ([data], bytewise(data)):
        async with asking(once(*pieces)) as (client, _):
            with pytest.raises(BrokenOff):
                await post(client)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\n", UNTIL_CLOSE + b"hel"])
async def test_reset_connection_is_broken_off_even_where_closing_ends_the_body(data: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data, b"")
        peer.reset()

    async with asking(script) as (client, _):
        with pytest.raises(BrokenOff):
            await post(client)


async def test_garbage_ends_the_exchange_though_the_server_stays() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"220 smtp.example ESMTP\r\n")
        await peer.wait_closed()

    async with asking(script) as (client, server):
        with pytest.raises(BrokenOff):
            await post(client)
        await server.sees_the_end()


# --- limits ---

HEAD = b"HTTP/1.1 200 OK\r\nx-padding: "
REST = b"\r\ncontent-length: 2\r\n\r\nok"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nx-padding: "
# What comes before the padding, and what may follow it: all that can grow and is no body.
ENDLESS = {
    "head": (HEAD, REST),
    "interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n" * 500 + INTERIM, b"\r\n\r\n" + answer()),
    "trailer": (b"0\r\nx-padding: ", b"\r\n\r\n"),
    "chunk extension": (b"2;x-padding=", b"\r\nok\r\n0\r\n\r\n"),
}


def endless(start: bytes, length: int, *, after: bytes = b"") -> list[bytes]:
    """Pieces of an answer that has had ``length`` bytes without getting on."""
    piece = start + b"a" * (length - len(start))
    return [after, piece] if after else [piece]


@pytest.mark.parametrize("what", ENDLESS)
async def test_answer_may_have_so_much_that_is_no_body(what: str) -> None:
    start, rest = ENDLESS[what]
    after = CHUNKED + b"2\r\nok\r\n" if what in ("trailer", "chunk extension") else b""
    pieces = endless(start, MAX_HEAD_BYTES - (len(after) and 2), after=after)
    async with asking(once(*pieces, rest)) as (client, _):
        status, body = await post(client)
        assert (status, body[:2]) == (200, b"ok")


@pytest.mark.parametrize("what", ENDLESS)
async def test_answer_with_more_that_is_no_body_is_broken_off(what: str) -> None:
    start, _ = ENDLESS[what]
    after = CHUNKED + b"2\r\nok\r\n" if what in ("trailer", "chunk extension") else b""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*endless(start, MAX_HEAD_BYTES + 1, after=after))
        await peer.wait_closed()

    async with asking(script) as (client, server):
        with pytest.raises(BrokenOff, match="endless"):
            await post(client)
        await server.sees_the_end()


async def test_limit_of_a_head_is_each_answers_own() -> None:
    [head] = endless(b"HTTP/1.1 204 No Content\r\nx-padding: ", MAX_HEAD_BYTES - 10)

    async def script(peer: Peer) -> None:
        await peer.serve(head, b"\r\n\r\n")

    async with asking(script) as (client, server):
        for _ in range(3):
            assert await post(client) == (204, b"")
        assert len(server.peers) == 1


BODY = b"b" * 100
BODIES = {
    "content-length": answer(BODY),
    "chunked": CHUNKED + b"32\r\n" + BODY[:50] + b"\r\n32\r\n" + BODY[50:] + b"\r\n0\r\n\r\n",
    "until it closes": UNTIL_CLOSE + BODY,
}


@pytest.mark.parametrize("data", BODIES.values(), ids=BODIES)
async def test_body_may_be_as_large_as_the_caller_takes(data: bytes) -> None:
    for pieces in ([data], bytewise(data)):
        async with asking(once(*pieces)) as (client, _):
            assert await post(client, most=len(BODY)) == (200, BODY)


@pytest.mark.parametrize("data", BODIES.values(), ids=BODIES)
async def test_larger_body_is_refused_at_its_first_byte_too_many(data: bytes) -> None:
    for pieces in ([data], bytewise(data)):
        async with asking(once(*pieces)) as (client, _):
            with pytest.raises(TooLarge):
                await post(client, most=len(BODY) - 1)


async def test_limits_of_a_body_are_each_answers_own() -> None:
    async def script(peer: Peer) -> None:
        await peer.serve(answer(BODY))

    async with asking(script) as (client, server):
        for _ in range(3):
            assert await post(client, most=len(BODY)) == (200, BODY)
        assert len(server.peers) == 1
        with pytest.raises(TooLarge):
            await post(client, most=len(BODY) - 1)


async def test_endless_body_is_ended_once_it_is_too_large() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(UNTIL_CLOSE)
        while not peer.writer.is_closing():
            await peer.send(BODY)
            await turns(1)
        await peer.wait_closed()

    async with asking(script) as (client, _), asyncio.timeout(PATIENCE):
        with pytest.raises(TooLarge):
            await post(client, seconds=60)


# --- time ---

STARTS = {
    "before the head": b"",
    "in the head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "in the body": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
    "in a chunk": CHUNKED + b"5\r\nhel",
    "where closing ends the body": UNTIL_CLOSE + b"hel",
    "after an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
}


@pytest.mark.parametrize("data", STARTS.values(), ids=STARTS)
async def test_deadline_ends_the_exchange_and_closes(data: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        await peer.wait_closed()

    async with asking(script) as (client, server):
        started = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await post(client, seconds=0.1)
        assert 0.09 <= asyncio.get_running_loop().time() - started < 1
        await server.sees_the_end()


async def test_bytes_that_trickle_do_not_move_the_deadline() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while not peer.writer.is_closing():
            await peer.send(b"1\r\na\r\n")
            await asyncio.sleep(0.01)

    async with asking(script) as (client, _), asyncio.timeout(PATIENCE):
        with pytest.raises(TimeoutError):
            await post(client, seconds=0.1)


async def test_deadline_is_over_with_the_exchange() -> None:
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"one"))
        await peer.request()
        await gate.wait()
        await peer.send(answer(b"two"))

    async with asking(script) as (client, server):
        assert await post(client, seconds=0.05) == (200, b"one")
        asyncio.get_running_loop().call_later(0.1, gate.set)
        assert await post(client) == (200, b"two")
        assert len(server.peers) == 1


# --- the request's way ---


async def test_large_request_reaches_a_slow_reader_whole() -> None:
    body = bytes(range(256)) * 40_000  # 10 MB
    seen = []

    async def script(peer: Peer) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        assert b"content-length: %d\r\n" % len(body) in head
        received = bytearray()
        while len(received) < len(body):
            received += await peer.reader.read(50_000)
            await turns(1)
        seen.append(bytes(received))
        await peer.send(answer())

    async with asking(script) as (client, _):
        assert await post(client, body, seconds=30) == (200, b"ok")
    assert seen == [body]


@pytest.mark.parametrize("leave", [Peer.reset, lambda peer: peer.writer.close()])
async def test_answer_that_comes_before_the_request_is_through_counts(leave: Script) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(answer(b"too long", "connection: close", status="413 Too Large"))
        await turns()
        leave(peer)

    async with asking(script) as (client, server):
        assert await post(client, bytes(10_000_000)) == (413, b"too long")
        assert await post(client, bytes(10_000_000)) == (413, b"too long")
        assert len(server.peers) == 2


async def test_connection_with_half_a_request_on_it_is_not_used_again() -> None:
    async def script(peer: Peer) -> None:
        if peer.number == 0:
            await peer.reader.readuntil(b"\r\n\r\n")
            await peer.send(answer(b"too long", status="413 Too Large"))
            await asyncio.Event().wait()  # neither reads on nor closes
        await peer.serve(answer())

    async with asking(script) as (client, server):
        assert await post(client, bytes(50_000_000)) == (413, b"too long")
        assert await post(client) == (200, b"ok")
        assert len(server.peers) == 2


async def test_cancelled_call_closes_its_connection_at_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel")
        await peer.wait_closed()

    async with asking(script) as (client, server):
        call = asyncio.create_task(post(client, seconds=60))
        await server.wait_for_peers(1)
        await turns()
        call.cancel()
        await server.sees_the_end()
        with pytest.raises(asyncio.CancelledError):
            await call
