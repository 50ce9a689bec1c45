"""A teacher's queue as its servers tell of it, and what becomes of a threshold meanwhile."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.steering.load import LoadWatch, Watched, seen_in
from gateway.steering.queue import QueueConfig
from gateway.upstream.load_page import ServerLoad
from routing.pressure import Pressure, Seen
from tests.fakes.raw_server import Peer, answer, raw_server
from tests.fakes.serving import cascade_document, load_gateway, server_of
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


async def heard_of(page: bytes, tmp_path: Path) -> tuple[Bench, Told, list[bytes]]:
    """What is heard at the first look at a server with this page of metrics."""
    asked: list[bytes] = []

    async def serve(peer: Peer) -> None:
        asked.append(await peer.reader.readuntil(b"\r\n\r\n"))
        peer.writer.write(answer(page))

    bench, told = Bench(), Told()
    times = iter([0.0, 60.0])
    async with raw_server(serve) as server:
        gateway = load_gateway(
            tmp_path, cascade_document("http://s", server.url.removesuffix("/v1"))
        )
        teacher = server_of(gateway.context.served["assistant"].cascade.teacher)
        one = Watched(bench.steered, [teacher.endpoint], QueueConfig())
        watch = LoadWatch({"assistant": one}, lambda: next(times), told)
        async with watch.running():
            await asyncio.wait_for(told.heard.wait(), 5)
    return bench, told, asked


async def test_a_queue_as_long_as_may_be_is_whole_pressure(tmp_path: Path) -> None:
    bench, told, asked = await heard_of(PAGE % 8, tmp_path)
    assert asked[0].startswith(b"GET /metrics HTTP/1.1")
    assert told.seen == [Seen(waiting=8.0, cache=0.5)]
    assert bench.steered.pressure == pytest.approx(1.0, abs=1e-4)
    assert told.unknown == []


async def test_a_queue_that_nobody_stands_in_is_no_pressure(tmp_path: Path) -> None:
    bench, told, _ = await heard_of(PAGE % 0, tmp_path)
    assert bench.steered.pressure == 0.0
    assert told.seen == [Seen(waiting=0.0, cache=0.5)]


async def test_a_server_without_such_a_page_is_at_ease_and_that_is_said(tmp_path: Path) -> None:
    bench, told, _ = await heard_of(b"up 1\n", tmp_path)
    assert (bench.steered.pressure, told.seen, told.unknown) == (0.0, [Seen()], [True])


def test_all_servers_of_a_teacher_count() -> None:
    loads = [ServerLoad(waiting=2.0, cache=0.3), None, ServerLoad(waiting=3.0), ServerLoad()]
    assert seen_in(loads) == Seen(waiting=5.0, cache=0.3)
    assert seen_in([None]) == Seen()


def test_a_queue_has_bounds() -> None:
    bounds = QueueConfig(waiting_at_most=4.0, cache_at_most=0.5).bounds
    assert (bounds.waiting_at_most, bounds.cache_at_most) == (4.0, 0.5)
