"""Answers that are read while the server still writes them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.upstream import http1
from gateway.upstream.http1 import MAX_UNREAD_BYTES, HttpClient
from gateway.upstream.reply import BrokenOff, Reply
from tests.fakes.raw_server import (
    AT_ONCE,
    Peer,
    RawServer,
    Script,
    answer,
    raw_server,
    server_tls,
    turns,
)

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
PATIENCE = 5.0
# What a client may hold unread: the limit, and what the loops read at a time, on top of TLS twice.
MOST_UNREAD_BYTES = MAX_UNREAD_BYTES + 2 * 256 * 2**10


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection may be used again the moment its stream is over."""
    monkeypatch.setattr(http1, "SETTLE_SECONDS", 0.0)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextlib.asynccontextmanager
async def streaming(
    script: Script, certificate: Path | None = None
) -> AsyncIterator[tuple[HttpClient, RawServer]]:
    tls = None if certificate is None else server_tls(certificate)
    async with raw_server(script, tls=tls) as server:
        client = HttpClient(server.url, {})
        try:
            yield client, server
        finally:
            client.close()


async def stream(client: HttpClient, *, seconds: float = PATIENCE) -> Reply:
    return await client.stream(b"{}", seconds=seconds)


async def read_all(reply: Reply) -> bytes:
    pieces = []
    while piece := await reply.read():
        pieces.append(piece)
    return b"".join(pieces)


def now() -> float:
    return asyncio.get_running_loop().time()


class Steps:
    """A script that answers with one piece each time it is told to go on."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.go_on = asyncio.Semaphore(0)

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        answering = asyncio.create_task(self._answer(peer))
        await peer.wait_closed()
        answering.cancel()

    async def _answer(self, peer: Peer) -> None:
        for piece in self.pieces:
            await self.go_on.acquire()
            await peer.send(piece)


# --- reading ---


async def test_pieces_are_read_as_they_come() -> None:
    steps = Steps(CHUNKED, chunk(b"one"), chunk(b"two") + chunk(b"three"), LAST_CHUNK)
    async with streaming(steps) as (client, _):
        steps.go_on.release()
        reply = await stream(client)  # there once the head is
        assert reply.status == 200
        received = []
        for _ in range(3):
            steps.go_on.release()  # each is written only now that the one before it was read
            received.append(await reply.read())
        assert received == [b"one", b"twothree", b""]
        assert await reply.read() == b""
        reply.close()


async def test_what_came_unread_is_read_in_one() -> None:
    steps = Steps(CHUNKED, chunk(b"one"), chunk(b"two"), LAST_CHUNK)
    async with streaming(steps) as (client, _):
        for _ in range(4):
            steps.go_on.release()
        reply = await stream(client)
        await turns()
        assert [await reply.read(), await reply.read()] == [b"onetwo", b""]
        reply.close()


@pytest.mark.parametrize("status", ["200 OK", "429 Too Many Requests"])
async def test_short_answer_is_a_stream_too(status: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.serve(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(b"whole", status=status))

    async with streaming(script) as (client, server):
        for _ in range(3):
            reply = await stream(client)
            assert reply.status == int(status[:3])
            assert await read_all(reply) == b"whole"
            reply.close()
        assert len(server.peers) == 1


async def test_stream_without_a_length_ends_with_its_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", b"one", b"two")

    async with streaming(script) as (client, _):
        reply = await stream(client)
        assert await read_all(reply) == b"onetwo"
        reply.close()


async def test_waiting_has_an_end_and_the_answer_goes_on() -> None:
    steps = Steps(CHUNKED, chunk(b"one"), LAST_CHUNK)
    async with streaming(steps) as (client, server):
        steps.go_on.release()
        reply = await stream(client)
        for _ in range(2):
            until = now() + 0.05
            assert await reply.read(until) is None
            assert until <= now() < until + 0.5
        assert await reply.read(now()) is None
        assert await reply.read(now() - 1) is None
        steps.go_on.release()
        assert await reply.read(now() + PATIENCE) == b"one"
        steps.go_on.release()
        assert await reply.read(now() + PATIENCE) == b""
        reply.close()
        assert server.peers[0].closed_at is None


async def test_what_is_there_is_read_though_the_time_is_over() -> None:
    steps = Steps(CHUNKED + chunk(b"one"), LAST_CHUNK)
    async with streaming(steps) as (client, _):
        steps.go_on.release()
        reply = await stream(client)
        assert await reply.read(now() - 1) == b"one"
        steps.go_on.release()
        await turns()
        assert await reply.read(now() - 1) == b""
        reply.close()


@pytest.mark.parametrize(("most", "expected"), [(10, b"0123456789"), (9, b"012345678"), (0, b"")])
async def test_rest_is_all_that_comes_up_to_a_limit(most: int, expected: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED, *(chunk(b"%d" % digit) for digit in range(10)), LAST_CHUNK)
        await peer.wait_closed()

    async with streaming(script) as (client, _):
        reply = await stream(client)
        assert await reply.rest(most) == expected
        reply.close()


async def test_rest_of_an_endless_answer_is_cut_off() -> None:
    written = 0

    async def script(peer: Peer) -> None:
        nonlocal written
        await peer.request()
        await peer.send(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not peer.writer.is_closing():
                await peer.send(b"oh no! " * 10_000)
                written += 70_000
        await peer.wait_closed()

    async with streaming(script) as (client, server):
        reply = await stream(client)
        assert len(await reply.rest(100_000)) == 100_000
        reply.close()
        await server.sees_the_end()
    assert written < SYSTEM_BYTES


# --- ending ---


async def test_whole_stream_gives_its_connection_back() -> None:
    async def script(peer: Peer) -> None:
        await peer.serve(CHUNKED, chunk(b"%d" % peer.number), LAST_CHUNK)

    async with streaming(script) as (client, server):
        for _ in range(3):
            reply = await stream(client)
            assert await read_all(reply) == b"0"
            reply.close()
        assert await client.post(b"{}", seconds=PATIENCE, most=9) == (200, b"0")
        assert len(server.peers) == 1


async def test_connection_settles_after_a_stream_before_it_is_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http1, "SETTLE_SECONDS", 0.05)

    async def script(peer: Peer) -> None:
        await peer.serve(CHUNKED, chunk(b"%d" % peer.number), LAST_CHUNK)

    async with streaming(script) as (client, _):
        reply = await stream(client)
        assert await read_all(reply) == b"0"
        reply.close()
        # The server may be about to close it: the next call takes another.
        assert await client.post(b"{}", seconds=PATIENCE, most=9) == (200, b"1")
        await asyncio.sleep(0.06)
        used = {await client.post(b"{}", seconds=PATIENCE, most=9) for _ in range(2)}
        assert used <= {(200, b"0"), (200, b"1")}


async def test_whole_stream_that_nobody_read_gives_its_connection_back() -> None:
    async def script(peer: Peer) -> None:
        await peer.serve(answer(b"%d" % peer.number))

    async with streaming(script) as (client, server):
        for _ in range(3):
            reply = await stream(client)
            await turns()
            reply.close()
        assert await client.post(b"{}", seconds=PATIENCE, most=1) == (200, b"0")
        assert len(server.peers) == 1


@pytest.mark.parametrize("read_first", [True, False])
async def test_closing_a_half_read_stream_closes_its_connection_at_once(read_first: bool) -> None:
    steps = Steps(CHUNKED, chunk(b"one"), LAST_CHUNK)
    async with streaming(steps) as (client, server):
        steps.go_on.release()
        reply = await stream(client)
        steps.go_on.release()
        if read_first:
            await reply.read()
        reply.close()
        await server.sees_the_end()


async def test_reader_of_a_stream_that_another_closes_is_told() -> None:
    steps = Steps(CHUNKED, LAST_CHUNK)
    async with streaming(steps) as (client, _):
        steps.go_on.release()
        reply = await stream(client)
        reading = asyncio.create_task(reply.read())
        await turns()
        reply.close()
        with pytest.raises(BrokenOff):
            await reading


async def test_closed_stream_has_no_part_in_what_its_connection_does_next() -> None:
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"first"))
        await peer.request()
        await gate.wait()
        await peer.send(answer(b"second of %d" % peer.number))
        await peer.serve(answer(b"more of %d" % peer.number))

    async with streaming(script) as (client, server):
        reply = await stream(client)
        await read_all(reply)
        reply.close()
        reply.close()  # the connection must not be on offer twice
        calls = [
            asyncio.create_task(client.post(b"{}", seconds=PATIENCE, most=99)) for _ in range(2)
        ]
        await server.wait_for_peers(2)
        reply.close()  # nor may an exchange end that is not its own
        with pytest.raises(BrokenOff):
            await reply.read()
        gate.set()
        assert [await call for call in calls] == [(200, b"second of 0"), (200, b"first")]


async def test_closed_client_and_a_stream_that_goes_on() -> None:
    steps = Steps(CHUNKED, chunk(b"one"), LAST_CHUNK)
    async with streaming(steps) as (client, _):
        steps.go_on.release()
        reply = await stream(client)
        client.close()
        steps.go_on.release()
        assert await reply.read() == b"one"
        steps.go_on.release()
        assert await reply.read() == b""
        reply.close()


# --- failing ---


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200", b"HTTP/1.1 100 Continue\r\n\r\n", b"what?"])
async def test_stream_that_breaks_off_before_its_head_is_none(data: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)

    async with streaming(script) as (client, _):
        with pytest.raises(BrokenOff):
            await stream(client)


@pytest.mark.parametrize("end", ["FIN", "RST", "garbage"])
async def test_what_came_is_read_before_the_stream_breaks_off(end: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED, chunk(b"one"))
        await turns()
        if end == "garbage":
            await peer.send(b"no chunk")
            await peer.wait_closed()
        elif end == "RST":
            peer.reset()

    async with streaming(script) as (client, _):
        reply = await stream(client)
        await turns(50)
        assert await reply.read() == b"one"
        for _ in range(2):
            with pytest.raises(BrokenOff):
                await reply.read()
        reply.close()


async def test_stream_without_a_length_that_is_reset_is_broken_off() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", b"one")
        peer.reset()

    async with streaming(script) as (client, _):
        reply = await stream(client)
        with pytest.raises(BrokenOff):
            await read_all(reply)
        reply.close()


async def test_deadline_passes_before_the_head() -> None:
    steps = Steps(CHUNKED)
    async with streaming(steps) as (client, server):
        started = now()
        with pytest.raises(TimeoutError):
            await stream(client, seconds=0.1)
        assert 0.09 <= now() - started < 1
        await server.sees_the_end()


@pytest.mark.parametrize("head", [CHUNKED, b"HTTP/1.1 200 OK\r\n\r\n"], ids=["chunked", "bare"])
async def test_deadline_passes_amid_the_stream(head: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head + b"3\r\none\r\n")
        await peer.wait_closed()

    async with streaming(script) as (client, server):
        started = now()
        reply = await stream(client, seconds=0.1)
        assert b"one" in (await reply.read() or b"")
        with pytest.raises(TimeoutError):
            await reply.read(now() + PATIENCE)
        assert 0.09 <= now() - started < 1
        await server.sees_the_end()
        reply.close()


async def test_cancelling_whoever_waits_for_the_head_closes_the_connection() -> None:
    steps = Steps(CHUNKED)
    async with streaming(steps) as (client, server):
        call = asyncio.create_task(stream(client))
        await server.wait_for_peers(1)
        await turns()
        call.cancel()
        await server.sees_the_end()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_cancelling_a_reader_that_closes_closes_the_connection() -> None:
    steps = Steps(CHUNKED, LAST_CHUNK)

    async def read(client: HttpClient) -> None:
        with contextlib.closing(await stream(client)) as reply:
            await reply.read()

    async with streaming(steps) as (client, server):
        steps.go_on.release()
        call = asyncio.create_task(read(client))
        await server.wait_for_peers(1)
        await turns()
        call.cancel()
        await server.sees_the_end()
        with pytest.raises(asyncio.CancelledError):
            await call


# --- slow readers ---

PIECE = bytes(range(256)) * 4000  # 1 MB
MANY = 100
# What the system's own buffers take on both sides, at their largest.
SYSTEM_BYTES = 32 * 2**20


class Flood:
    """A script that writes 100 MB as fast as it may."""

    def __init__(self) -> None:
        self.written = 0
        self.blocked = asyncio.Event()
        self.closed = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        peer.writer.write(CHUNKED)
        for _ in range(MANY):
            peer.writer.write(chunk(PIECE))
            draining = asyncio.ensure_future(peer.writer.drain())
            await asyncio.wait([draining], timeout=0.3)
            if not draining.done():
                self.blocked.set()
            try:
                await draining
            except ConnectionError:
                self.closed.set()
                raise
            self.written += len(PIECE)
        peer.writer.write(LAST_CHUNK)
        await peer.wait_closed()


@pytest.fixture(params=["http", "https"])
def certificate(request: pytest.FixtureRequest) -> Path | None:
    return request.getfixturevalue("trusted") if request.param == "https" else None


async def test_server_is_slowed_down_by_its_reader_and_nothing_is_lost(
    certificate: Path | None,
) -> None:
    flood = Flood()
    async with streaming(flood, certificate) as (client, _):
        reply = await stream(client, seconds=60)
        async with asyncio.timeout(PATIENCE):
            await flood.blocked.wait()
        assert flood.written < SYSTEM_BYTES
        received = await reply.read() or b""
        assert MAX_UNREAD_BYTES < len(received) <= MOST_UNREAD_BYTES
        expected = memoryview(PIECE * (len(received) // len(PIECE) + 8))
        total = 0
        while received:
            start = total % len(PIECE)
            assert expected[start : start + len(received)] == received
            total += len(received)
            received = await reply.read() or b""
            assert len(received) <= MOST_UNREAD_BYTES
        assert total == MANY * len(PIECE)
        reply.close()


async def test_closing_a_stream_that_nobody_reads_closes_its_connection_at_once(
    certificate: Path | None,
) -> None:
    flood = Flood()
    async with streaming(flood, certificate) as (client, _):
        reply = await stream(client, seconds=60)
        async with asyncio.timeout(PATIENCE):
            await flood.blocked.wait()
        reply.close()
        async with asyncio.timeout(AT_ONCE):
            await flood.closed.wait()


async def test_deadline_does_not_pass_while_the_server_waits_for_the_reader(
    certificate: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "PAUSE_SECONDS", 0.5)
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.writer.write(CHUNKED + chunk(2 * PIECE))
        await peer.wait_closed()
        closed.set()

    async with streaming(script, certificate) as (client, _):
        reply = await stream(client, seconds=0.3)
        await asyncio.sleep(0.6)
        assert not closed.is_set()
        size = 0
        while size < 2 * len(PIECE):
            size += len(await reply.read() or b"")
        with pytest.raises(TimeoutError):  # from here on it is the server that is late
            await reply.read()
        async with asyncio.timeout(PATIENCE):
            await closed.wait()
        reply.close()


async def test_connection_of_a_slow_reader_is_used_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.serve(answer(bytes(MAX_UNREAD_BYTES + 1)))

    async with streaming(script) as (client, server):
        for _ in range(3):
            reply = await stream(client)
            await turns(50)
            assert len(await read_all(reply)) == MAX_UNREAD_BYTES + 1
            reply.close()
        reply = await stream(client)
        await turns(50)
        reply.close()  # it had come whole, and was paused for want of a reader
        _, body = await client.post(b"{}", seconds=PATIENCE, most=2**20)
        assert len(body) == MAX_UNREAD_BYTES + 1
        assert len(server.peers) == 1
