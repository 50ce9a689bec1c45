import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from understudy.demo import evidence
from understudy.demo.evidence import (
    FROM_THE_START,
    PAIRS_KEY,
    Mark,
    Pair,
    mark_stream,
    metrics_of,
    pairs_since,
    wait_for_pairs,
)
from understudy.demo.processes import Processes, free_ports
from understudy.demo.services import valkey_program

EXPOSITION = """\
# TYPE understudy_requests_total counter
understudy_requests_total{cascade="demo",outcome="kept"} 3.0
understudy_requests_total{cascade="demo",outcome="escalated"} 2.0
understudy_requests_total{cascade="elsewhere",outcome="kept"} 7.0
# TYPE understudy_cost_usd_total counter
understudy_cost_usd_total{cascade="demo",kind="served",role="student"} 1.12e-06
understudy_cost_usd_total{cascade="demo",kind="wasted",role="student"} 1e-12
understudy_cost_usd_total{cascade="demo",kind="served",role="teacher"} 0.1
# TYPE understudy_baseline_usd_total counter
understudy_baseline_usd_total{basis="measured",cascade="demo"} 0.2
understudy_baseline_usd_total{basis="prices",cascade="demo"} 0.15
# TYPE understudy_baseline_correction_usd_total counter
understudy_baseline_correction_usd_total{cascade="demo",direction="up"} 0.01
understudy_baseline_correction_usd_total{cascade="demo",direction="down"} 0.06
# TYPE understudy_pairs_written_total counter
understudy_pairs_written_total{cascade="demo"} 2.0
# TYPE understudy_pairs_shipped_total counter
understudy_pairs_shipped_total{cascade="demo"} 1.0
"""


@pytest.fixture(scope="module")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> object:
    directory = tmp_path_factory.mktemp("store")
    program, url = valkey_program(free_ports(1)[0], directory / "valkey")
    with Processes(directory / "logs") as processes:
        processes.start(program)
        processes.wait_ready(program)
        yield url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(store_url) as store:
        await store.flushall()
        yield store


def completion(text: str) -> dict[str, object]:
    return {"choices": [{"message": {"content": text}}]}


async def add(
    store: Redis, request_id: str, draft: object = None, *, is_complete: bool = False
) -> None:
    content = {"draft": draft}
    record = {"request_id": request_id, "content": content, "draft_complete": is_complete}
    await store.xadd(PAIRS_KEY, {"pair": json.dumps(record)})


def test_metrics_are_read_to_the_pico_dollar_and_of_this_cascade_alone() -> None:
    metrics = metrics_of(EXPOSITION)
    assert metrics.outcomes == {"kept": 3, "escalated": 2}
    assert metrics.cost_usd == Decimal("0.100001120001")
    assert metrics.wasted_usd == Decimal("0.000000000001")
    assert metrics.baseline_usd == Decimal("0.3")
    assert (metrics.pairs_written, metrics.pairs_shipped) == (2, 1)


def test_a_gateway_without_requests_has_counted_nothing() -> None:
    metrics = metrics_of("")
    assert not metrics.outcomes
    assert metrics.cost_usd == 0
    assert metrics.pairs_written == 0


async def test_an_empty_stream_is_marked_at_its_start(store: Redis) -> None:
    assert await mark_stream(store) == Mark(0, FROM_THE_START)


async def test_only_pairs_behind_the_mark_are_read(store: Redis) -> None:
    await add(store, "before")
    mark = await mark_stream(store)
    await add(store, "after")
    assert await pairs_since(store, mark) == [Pair("after", None)]
    assert (await mark_stream(store)).length == mark.length + 1


async def test_more_pairs_than_one_page_are_read(
    store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "PAGE_PAIRS", 2)
    for number in range(5):
        await add(store, f"r{number}")
    pairs = await pairs_since(store, Mark(0, FROM_THE_START))
    assert [pair.request_id for pair in pairs] == ["r0", "r1", "r2", "r3", "r4"]


async def test_a_draft_that_was_cut_short_is_none(store: Redis) -> None:
    await add(store, "whole", completion("42"), is_complete=True)
    await add(store, "cut", completion("4"))
    pairs = await pairs_since(store, Mark(0, FROM_THE_START))
    assert pairs == [Pair("whole", "42"), Pair("cut", None)]


async def test_waiting_ends_when_all_pairs_are_there_or_time_is_up(
    store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(store, "r1")
    start = Mark(0, FROM_THE_START)
    assert len(await wait_for_pairs(store, start, ["r1"])) == 1
    monkeypatch.setattr(evidence, "ARRIVAL_SECONDS", 0.0)
    assert len(await wait_for_pairs(store, start, ["r1", "r2"])) == 1


def test_the_key_is_the_gateways(tmp_path: Path) -> None:
    from gateway.stores.redis_keys import pairs_key

    assert pairs_key("demo") == PAIRS_KEY
