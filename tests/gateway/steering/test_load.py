"""A teacher's queue as its servers tell of it, and what becomes of a threshold meanwhile."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.steering.load import AGAIN_SECONDS, LoadWatch, Watched, limit_crowded, seen_in
from gateway.steering.queue import QueueConfig
from gateway.upstream.load_page import ServerLoad
from gateway.upstream.pool import ServerPool
from routing.concurrency import FIRST_CALLS
from routing.pressure import Pressure, Seen
from tests.fakes.raw_server import Peer, answer, raw_server
from tests.fakes.serving import cascade_document, closed_port_url, load_gateway
from tests.gateway.steering.test_steered import Bench

PAGE = b'vllm:num_requests_waiting{engine="0"} %d\nvllm:kv_cache_usage_perc{engine="0"} 0.5\n'


@dataclass
class Told:
    """Remembers what is told of the teacher."""

    seen: list[Seen] = field(default_factory=list)
    pressures: list[float] = field(default_factory=list)
    unknown: list[bool] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def teacher_pressed(self, cascade: str, pressure: Pressure, seen: Seen) -> None:
        self.seen.append(seen)
        self.pressures.append(pressure.value)
        self.heard.set()

    def load_unknown(self, cascade: str, *, is_unknown: bool) -> None:
        self.unknown.append(is_unknown)


def pool_at(url: str, folder: Path) -> ServerPool:
    """A teacher with one server, whose limit is learnt."""
    limited = {"queue": {"adaptive_limit": True}}
    document = cascade_document("http://s", url.removesuffix("/v1"), teacher=limited)
    pool = load_gateway(folder, document).context.served["assistant"].cascade.teacher.chat
    assert isinstance(pool, ServerPool)
    return pool


async def heard_of(page: bytes, tmp_path: Path) -> tuple[Bench, Told, ServerPool]:
    """What is heard at the first look at a server with this page of metrics, a minute later."""
    asked: list[bytes] = []
    now = 0.0

    async def serve(peer: Peer) -> None:
        nonlocal now
        asked.append(await peer.reader.readuntil(b"\r\n\r\n"))
        now = 60.0
        peer.writer.write(answer(page))

    bench, told = Bench(), Told()
    async with raw_server(serve) as server:
        pool = pool_at(server.url, tmp_path)
        one = Watched(pool, QueueConfig(), bench.steered)
        watch = LoadWatch({"assistant": one}, lambda: now, told)
        async with watch.running():
            await asyncio.wait_for(told.heard.wait(), 5)
    assert [each.split(b"\r\n")[0] for each in asked] == [b"GET /metrics HTTP/1.1"]
    return bench, told, pool


async def test_a_queue_as_long_as_may_be_is_whole_pressure(tmp_path: Path) -> None:
    bench, told, pool = await heard_of(PAGE % 8, tmp_path)
    assert told.seen == [Seen(waiting=8.0, cache=0.5)]
    assert bench.steered.pressure == pytest.approx(1.0, abs=1e-4)
    assert bench.steered.pressed_by == "8 waiting"
    assert told.unknown == []
    assert pool.max_calls == FIRST_CALLS


async def test_a_longer_one_shrinks_the_limit_too(tmp_path: Path) -> None:
    _, _, pool = await heard_of(PAGE % 9, tmp_path)
    assert pool.max_calls < FIRST_CALLS


async def test_a_queue_that_nobody_stands_in_is_no_pressure(tmp_path: Path) -> None:
    bench, told, _ = await heard_of(PAGE % 0, tmp_path)
    assert bench.steered.pressure == 0.0
    assert told.seen == [Seen(waiting=0.0, cache=0.5)]


async def test_a_server_without_such_a_page_is_at_ease_and_that_is_said(tmp_path: Path) -> None:
    bench, told, _ = await heard_of(b"up 1\n", tmp_path)
    assert (bench.steered.pressure, told.seen, told.unknown) == (0.0, [Seen()], [True])


async def test_a_server_without_such_a_page_is_asked_again_much_later(tmp_path: Path) -> None:
    pages, now = [b"up 1\n", PAGE % 3, PAGE % 4], 0.0

    async def serve(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write(answer(pages.pop(0)))

    async with raw_server(serve) as address:
        (server,) = pool_at(address.url, tmp_path).servers
        watch = LoadWatch({}, lambda: now, Told())
        assert await watch.load_of(server) == ServerLoad()
        now = AGAIN_SECONDS - 1.0
        assert await watch.load_of(server) is None
        assert len(pages) == 2
        for waiting in (3.0, 4.0):
            now = AGAIN_SECONDS
            assert await watch.load_of(server) == ServerLoad(waiting=waiting, cache=0.5)


@pytest.mark.parametrize(
    ("status", "load"),
    [
        ("404 Not Found", ServerLoad()),
        ("501 Not Implemented", ServerLoad()),  # llama.cpp without --metrics
        ("429 Too Many Requests", None),
        ("503 Service Unavailable", None),
    ],
)
async def test_a_server_that_refuses_its_page_may_have_one_later_or_never(
    status: str, load: ServerLoad | None, tmp_path: Path
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write(answer(PAGE % 3, status=status))

    async with raw_server(serve) as address:
        (server,) = pool_at(address.url, tmp_path).servers
        watch = LoadWatch({}, lambda: 0.0, Told())
        assert await watch.load_of(server) == load
        assert bool(watch._silent_until) is (load is not None)


async def test_a_server_that_is_away_is_asked_each_time(tmp_path: Path) -> None:
    (server,) = pool_at(closed_port_url(), tmp_path).servers
    watch = LoadWatch({}, lambda: 0.0, Told())
    assert [await watch.load_of(server) for _ in range(2)] == [None, None]
    assert not watch._silent_until


@pytest.mark.parametrize(
    ("waiting", "is_less"), [(None, False), (0.0, False), (8.0, False), (9.0, True)]
)
def test_a_limit_shrinks_where_too_many_wait(
    waiting: float | None, is_less: bool, tmp_path: Path
) -> None:
    one = Watched(pool_at("http://t", tmp_path), QueueConfig())
    before = one.pool.max_calls
    limit_crowded(one, [ServerLoad(waiting=waiting)])
    assert (one.pool.max_calls < before) is is_less
    limit_crowded(one, [None])


def test_all_servers_of_a_teacher_count() -> None:
    loads = [ServerLoad(waiting=2.0, cache=0.3), None, ServerLoad(waiting=3.0), ServerLoad()]
    assert seen_in(loads) == Seen(waiting=5.0, cache=0.3)
    assert seen_in([None], 0.25) == Seen(denied=0.25)


def test_a_queue_has_bounds() -> None:
    bounds = QueueConfig(waiting_at_most=4.0, cache_at_most=0.5).bounds
    assert (bounds.waiting_at_most, bounds.cache_at_most) == (4.0, 0.5)
