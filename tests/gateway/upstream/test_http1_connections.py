"""How connections are made, kept, used again and given up."""

import asyncio
import contextlib
import errno
import gc
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.errors import UpstreamError, UpstreamUnavailable
from gateway.turn import Turn
from gateway.upstream import http1
from gateway.upstream.faults import fault_of
from gateway.upstream.http1 import HttpClient, Unreachable
from gateway.upstream.reply import BrokenOff
from tests.fakes.raw_server import Peer, RawServer, Script, answer, raw_server, server_tls, turns
from tests.fakes.serving import closed_port_url, free_port

PATIENCE = 5.0


@contextlib.contextmanager
def client_of(url: str) -> Iterator[HttpClient]:
    client = HttpClient(url, {})
    try:
        yield client
    finally:
        client.close()


@contextlib.asynccontextmanager
async def asking(script: Script) -> AsyncIterator[tuple[HttpClient, RawServer]]:
    async with raw_server(script) as server:
        with client_of(server.url) as client:
            yield client, server


async def post(client: HttpClient) -> bytes:
    _, body = await client.post(b"{}", seconds=PATIENCE, most=2**20)
    return body


async def say_number(peer: Peer) -> None:
    """Answer every request with the connection's number."""
    await peer.serve(answer(b"%d" % peer.number))


async def say_number_and_note_the_end(peer: Peer) -> None:
    await say_number(peer)
    await peer.wait_closed()


async def closing_time(peer: Peer) -> float:
    async with asyncio.timeout(PATIENCE):
        await peer.closed.wait()
    assert peer.closed_at is not None
    return peer.closed_at


# --- keeping ---


async def test_connection_is_used_again() -> None:
    async with asking(say_number) as (client, _):
        assert [await post(client) for _ in range(5)] == [b"0"] * 5


async def test_calls_at_once_have_a_connection_each_and_the_last_used_is_next() -> None:
    gates = [asyncio.Event() for _ in range(3)]

    async def script(peer: Peer) -> None:
        await peer.request()
        await gates[peer.number].wait()
        await peer.send(answer(b"%d" % peer.number))
        await say_number(peer)

    async with asking(script) as (client, server):
        calls = []
        for number in range(3):
            calls.append(asyncio.create_task(post(client)))
            await server.wait_for_peers(number + 1)
        for number in (1, 0, 2):
            gates[number].set()
            assert await calls[number] == b"%d" % number
        assert [await post(client) for _ in range(3)] == [b"2"] * 3
        assert await asyncio.gather(*(post(client) for _ in range(3))) == [b"2", b"0", b"1"]
        assert len(server.peers) == 3


@pytest.mark.parametrize(
    "data",
    [
        answer(b"ok", "connection: close"),
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok",
    ],
    ids=["it says so", "HTTP/1.0", "until it closes"],
)
async def test_connection_that_will_close_is_not_used_again(data: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        if b"content-length" in data:
            await peer.wait_closed()  # the client is the first to close

    async with asking(script) as (client, server):
        for _ in range(3):
            assert await post(client) == b"ok"
        assert len(server.peers) == 3
        if b"content-length" in data:
            for number in range(3):
                await server.sees_the_end(number)


async def test_connection_of_http_1_0_is_kept_where_the_server_keeps_it() -> None:
    data = b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"

    async def script(peer: Peer) -> None:
        await peer.serve(data)

    async with asking(script) as (client, server):
        for _ in range(3):
            assert await post(client) == b"ok"
        assert len(server.peers) == 1


async def answer_once(peer: Peer) -> None:
    await peer.request()
    await peer.send(answer(b"%d" % peer.number))


async def test_connection_that_the_server_closed_is_not_used_again() -> None:
    async with asking(answer_once) as (client, _):
        for number in range(3):
            assert await post(client) == b"%d" % number
            await turns()


async def test_connection_closed_as_the_request_goes_out_is_broken_off() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        await peer.request()

    async with asking(script) as (client, server):
        await post(client)
        with pytest.raises(BrokenOff):  # never asked again: who knows what it has done
            await post(client)
        assert len(server.peers) == 1


async def test_idle_connection_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "IDLE_SECONDS", 0.1)
    async with asking(say_number_and_note_the_end) as (client, server):
        assert await post(client) == b"0"
        idle_since = asyncio.get_running_loop().time()
        closed_at = await closing_time(server.peers[0])
        assert 0.09 <= closed_at - idle_since < 1


async def test_idle_connections_are_closed_each_in_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http1, "IDLE_SECONDS", 0.2)
    loop = asyncio.get_running_loop()

    async def script(peer: Peer) -> None:
        await peer.request()
        await gates[peer.number].wait()
        await peer.send(answer())
        await peer.wait_closed()

    gates = [asyncio.Event() for _ in range(2)]
    async with asking(script) as (client, server):
        calls = [asyncio.create_task(post(client)) for _ in gates]
        await server.wait_for_peers(2)
        gates[0].set()
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        idle_since = loop.time()
        loop.call_later(0.1, gates[1].set)
        await asyncio.wait(calls)
        first, second = [await closing_time(peer) - idle_since for peer in server.peers]
        assert 0.19 <= first < 1
        assert max(0.29, first) <= second < 1


async def test_connection_at_the_end_of_its_idle_time_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with asking(say_number_and_note_the_end) as (client, server):
        assert await post(client) == b"0"
        monkeypatch.setattr(http1, "IDLE_SECONDS", 0.0)  # its time is over, its timer has not run
        assert await post(client) == b"1"
        await server.sees_the_end()


async def test_closing_the_client_closes_what_it_keeps() -> None:
    async with asking(say_number_and_note_the_end) as (client, server):
        await asyncio.gather(*(post(client) for _ in range(3)))
        client.close()
        for number in range(3):
            await server.sees_the_end(number)
        client.close()


# --- answers that nobody asked for ---

SECOND = answer(b"stolen")


@pytest.mark.parametrize(
    "pieces",
    [
        [answer(b"0") + SECOND],
        [answer(b"0"), SECOND],
        [answer(b"0") + SECOND[:10]],
        [answer(b"0") + b"\r\n" + SECOND],
        [answer(b"0") + SECOND[:-2]],
        [answer(b"0") + b"HTTP/1.1 100 Continue\r\n\r\n"],
        [answer(b"0") + b"garbage"],
        [answer(b"0"), b"garbage"],
        [answer(b"0"), b"\r\n"],
    ],
)
async def test_second_answer_is_never_the_next_requests(pieces: list[bytes]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 0:
            await peer.send(*pieces)
            await peer.wait_closed()
        await peer.send(answer(b"%d" % peer.number))

    async with asking(script) as (client, server):
        assert await post(client) == b"0"
        await server.sees_the_end()
        assert await post(client) == b"1"


async def test_an_answer_that_came_before_its_request_has_left_is_none() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"%d" % peer.number))
        await peer.wait_closed()

    turn = Turn.of(asyncio.get_running_loop())
    async with asking(script) as (client, _):
        assert await post(client) == b"0"
        connection = client._idle[0]
        turn.exchanges += 2
        try:
            asked = asyncio.create_task(post(client))
            asyncio.get_running_loop().call_soon(connection.data_received, SECOND)
            with pytest.raises(BrokenOff):
                await asked
            assert await post(client) == b"1"
        finally:
            turn.exchanges -= 2


async def test_bytes_on_an_idle_connection_close_it() -> None:
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"%d" % peer.number))
        if peer.number == 0:
            await gate.wait()
            await peer.send(SECOND)
            await peer.wait_closed()

    async with asking(script) as (client, server):
        assert await post(client) == b"0"
        gate.set()
        await server.sees_the_end()
        assert await post(client) == b"1"


@pytest.mark.parametrize("greeting", [b"", b"220 smtp.example ESMTP\r\n"])
async def test_server_that_does_not_wait_for_the_request_is_broken_off(greeting: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(greeting)

    async with asking(script) as (client, _):
        with pytest.raises((BrokenOff, Unreachable)):
            async with asyncio.timeout(1):
                await post(client)


# --- connecting ---


async def test_refused_connection_is_unreachable() -> None:
    with client_of(closed_port_url()) as client, pytest.raises(Unreachable) as caught:
        await post(client)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert isinstance(fault_of(caught.value), UpstreamUnavailable)


async def test_host_that_is_not_there_is_unreachable() -> None:
    with client_of("http://no-such-host.invalid/v1") as client, pytest.raises(Unreachable):
        await post(client)


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port of 127.0.0.1 whose connections are never made."""
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.socket())
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for _ in range(4):  # a full queue: the system drops who comes next
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(silent.getsockname())
        yield silent.getsockname()[1]


async def test_host_that_does_not_answer_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "CONNECT_SECONDS", 0.1)
    with silent_port() as port, client_of(f"http://127.0.0.1:{port}") as client:
        started = asyncio.get_running_loop().time()
        with pytest.raises(Unreachable) as caught:
            await post(client)
        assert 0.09 <= asyncio.get_running_loop().time() - started < 1
    assert isinstance(fault_of(caught.value), UpstreamUnavailable)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> list[str]:
    """Give the name ``model.example`` these addresses; gives the list of who asked for it."""
    loop = asyncio.get_running_loop()
    real, asked = loop.getaddrinfo, []

    async def getaddrinfo(host: str, port: int, **options: Any) -> Any:
        if host != "model.example":  # uvloop asks for the addresses themselves too
            return await real(host, port, **options)
        asked.append(host)
        return [
            (socket.AF_INET6 if ":" in address[0] else socket.AF_INET, 1, 6, "", address)
            for address in addresses
        ]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    return asked


async def test_second_address_is_asked_where_the_first_refuses_or_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with raw_server(say_number) as server:
        with silent_port() as silent:
            for first in (("::1", free_port()), ("127.0.0.1", free_port()), ("127.0.0.1", silent)):
                resolve_to(monkeypatch, first, ("127.0.0.1", server.port))
                with client_of("http://model.example") as client:
                    assert await post(client) == b"%d" % (len(server.peers) - 1)


async def test_addresses_of_one_name_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"ok", "connection: close"))

    async with raw_server(script) as one, raw_server(script) as other:
        resolve_to(monkeypatch, ("127.0.0.1", one.port), ("127.0.0.1", other.port))
        with client_of("http://model.example") as client:
            for _ in range(6):
                await post(client)
        assert [len(one.peers), len(other.peers)] == [3, 3]


async def test_name_is_resolved_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"ok", "connection: close"))

    async with raw_server(script) as server:
        asked = resolve_to(monkeypatch, ("127.0.0.1", server.port))
        with client_of("http://model.example") as client:
            await asyncio.gather(*(post(client) for _ in range(3)))
            await post(client)
            assert len(asked) == 1
            monkeypatch.setattr(http1, "DNS_SECONDS", -1.0)
            await post(client)
            assert len(asked) == 2


async def test_ipv6_address_is_asked_in_brackets() -> None:
    seen = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(answer())

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(socket.socket(socket.AF_INET6)).bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no ::1")
    async with raw_server(script, host="::1") as server:
        with client_of(server.url) as client:
            assert await post(client) == b"ok"
    assert b"\r\nhost: [::1]:%d\r\n" % server.port in seen[0]


async def test_no_descriptor_left_is_told_from_a_server_that_is_away() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"ok", "connection: close"))

    async with asking(script) as (client, server):
        await post(client)
        await turns()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            with pytest.raises(Unreachable) as caught:
                await post(client)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert len(server.peers) == 1
    cause = caught.value.__cause__
    assert isinstance(cause, OSError)
    assert cause.errno == errno.EMFILE
    error = fault_of(caught.value)
    assert type(error) is UpstreamError
    assert (error.is_down, error.is_usage_unknown) == (False, False)


# --- TLS ---


@contextlib.asynccontextmanager
async def serving_tls(certificate: Path, script: Script) -> AsyncIterator[RawServer]:
    async with raw_server(script, tls=server_tls(certificate)) as server:
        yield server


async def test_trusted_server_is_asked_over_tls(trusted: Path) -> None:
    spoken = []

    async def script(peer: Peer) -> None:
        spoken.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await say_number_and_note_the_end(peer)

    async with serving_tls(trusted, script) as server:
        for host in ("localhost", "127.0.0.1"):
            with client_of(f"https://{host}:{server.port}") as client:
                number = b"%d" % len(spoken)
                assert [await post(client) for _ in range(3)] == [number] * 3
        await server.sees_the_end(0)
        await server.sees_the_end(1)
    assert spoken == ["http/1.1"] * 2


@pytest.mark.parametrize("is_trusted", [True, False], ids=["wrong name", "not trusted"])
async def test_server_that_may_be_another_is_unreachable(
    self_signed: Path, monkeypatch: pytest.MonkeyPatch, is_trusted: bool
) -> None:
    asked = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.request())

    async with serving_tls(self_signed, script) as server:
        if is_trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(self_signed))
            resolve_to(monkeypatch, ("127.0.0.1", server.port))
        host = "model.example" if is_trusted else "localhost"
        with (
            client_of(f"https://{host}:{server.port}") as client,
            pytest.raises(Unreachable, match="certificate") as caught,
        ):
            await post(client)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    assert isinstance(fault_of(caught.value), UpstreamUnavailable)
    assert asked == []


async def test_server_without_tls_is_unreachable_over_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(100)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(script) as server:
        with client_of(f"https://127.0.0.1:{server.port}") as client, pytest.raises(Unreachable):
            await post(client)


async def test_server_that_never_shakes_hands_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http1, "CONNECT_SECONDS", 0.1)
    async with raw_server(Peer.wait_closed) as server:
        with client_of(f"https://127.0.0.1:{server.port}") as client, pytest.raises(Unreachable):
            await post(client)
        await server.sees_the_end()


async def test_server_that_closes_after_the_handshake_is_broken_off(trusted: Path) -> None:
    async def script(peer: Peer) -> None:
        peer.writer.close()

    async with serving_tls(trusted, script) as server:
        with client_of(f"https://localhost:{server.port}") as client:
            async with asyncio.timeout(1):
                with pytest.raises((BrokenOff, Unreachable)):
                    await post(client)


async def test_connection_that_the_server_closed_is_not_used_again_over_tls(trusted: Path) -> None:
    async with serving_tls(trusted, answer_once) as server:
        with client_of(f"https://localhost:{server.port}") as client:
            for number in range(3):
                assert await post(client) == b"%d" % number
                await turns()


async def test_second_answer_is_never_the_next_requests_over_tls(trusted: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"%d" % peer.number), SECOND)
        await peer.wait_closed()

    async with serving_tls(trusted, script) as server:
        with client_of(f"https://localhost:{server.port}") as client:
            for number in range(3):
                assert await post(client) == b"%d" % number
                await turns()
                await server.sees_the_end(number)


# --- giving up ---


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_call_cancelled_at_any_moment_leaves_nothing_open(trusted: Path, scheme: str) -> None:
    this_process = psutil.Process()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.wait_closed()

    async with contextlib.AsyncExitStack() as stack:
        served = serving_tls(trusted, script) if scheme == "https" else raw_server(script)
        server = await stack.enter_async_context(served)
        client = stack.enter_context(client_of(f"{scheme}://localhost:{server.port}"))
        with contextlib.suppress(TimeoutError):  # for what is made once: addresses, threads
            await client.post(b"{}", seconds=0.1, most=1)
        await turns()
        before = this_process.num_fds()
        moment = 0
        while len(server.peers) < 20:  # later and later, until most have a connection by then
            call = asyncio.create_task(post(client))
            await turns(moment)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await turns()
            assert this_process.num_fds() == before, moment
            moment += 1 + moment // 20
        gc.collect()  # a socket that nobody closed would warn now
