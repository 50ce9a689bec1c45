import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.ports import StreamKind
from gateway.stores.deletions import Deletions
from gateway.stores.redis_keys import ledger_key, stream_key
from gateway.stores.retention import TRIMMED, Retention, enforce
from gateway.stores.servers import Servers
from gateway.stores.store import Store
from gateway.stores.store_url import parse_store_url
from tests.fakes.pair_events import RememberingEvents
from tests.fakes.valkey import StoreServer, server_binaries, store_server

DAY = 86_400


@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreServer]:
    binary = server_binaries()[request.param]
    if binary is None:
        pytest.skip("no redis-server here: the suite ran against Valkey alone")
    with store_server(tmp_path, binary) as server:
        yield server


def fill(server: StoreServer, cascade: str, days: list[int], padding: int = 10) -> None:
    """Records of these days, in both kinds of streams."""
    with server.client() as client:
        pipeline = client.pipeline(transaction=False)
        for kind in TRIMMED:
            for number, day in enumerate(days):
                body = json.dumps({"id": number, "x": "x" * padding})
                entry_id = f"{day * DAY * 1000}-{number + 1}"
                pipeline.xadd(stream_key(kind, cascade), {"pair": body}, id=entry_id)
        pipeline.execute()


def length(server: StoreServer, cascade: str, kind: StreamKind = StreamKind.PAIRS) -> int:
    with server.client() as client:
        return int(client.xlen(stream_key(kind, cascade)))


async def enforced(
    server: StoreServer, retention: dict[str, Retention], now: float
) -> RememberingEvents:
    events = RememberingEvents()
    store = Store(Servers(parse_store_url(server.url)), Deletions())
    await enforce(store, retention, lambda: now, events)
    await store.close()
    return events


async def test_records_beyond_their_age_go_from_both_streams_of_that_cascade(
    server: StoreServer,
) -> None:
    fill(server, "a", [1] * 150 + [5, 10])
    fill(server, "b", [1, 10])
    events = await enforced(server, {"a": Retention(max_age_seconds=5 * DAY)}, 10 * DAY)
    assert length(server, "a") == length(server, "a", StreamKind.AUDITS) == 2
    assert length(server, "b") == 2
    assert events.expired == [("a", "age", 150), ("a", "age", 150)]
    events = await enforced(server, {"a": Retention(max_age_seconds=5 * DAY)}, 10 * DAY)
    assert events.expired == []


async def test_a_gateway_whose_clock_is_ahead_takes_nothing_for_old(server: StoreServer) -> None:
    with server.client() as client:
        client.xadd(stream_key(StreamKind.PAIRS, "a"), {"pair": "{}"})
    a_year_from_now = time.time() + 365 * DAY
    events = await enforced(server, {"a": Retention(max_age_seconds=DAY)}, a_year_from_now)
    assert length(server, "a") == 1
    assert events.failures == []
    assert events.expired == []


@pytest.mark.parametrize("padding", [10, 5000])
async def test_a_stream_beyond_its_size_loses_its_oldest_records(
    server: StoreServer, padding: int
) -> None:
    count = 12_000 if padding == 10 else 1000
    fill(server, "a", [1] * count, padding)
    bound = 500_000
    events = await enforced(server, {"a": Retention(max_bytes=bound)}, 10 * DAY)
    key = stream_key(StreamKind.PAIRS, "a")
    with server.client() as client:
        used = int(client.memory_usage(key, samples=0) or 0)
        last = client.xrevrange(key, count=1)
    assert bound / 2 < used <= bound * 1.1
    assert last
    assert json.loads(last[0][1][b"pair"])["id"] == count - 1
    assert {(cascade, cause) for cascade, cause, _ in events.expired} == {("a", "size")}
    assert events.expired[0][2] == count - length(server, "a")


async def test_streams_within_their_bounds_and_those_that_are_not_there_stay_as_they_are(
    server: StoreServer,
) -> None:
    fill(server, "a", [1, 2])
    bounds = Retention(max_age_seconds=100 * DAY, max_bytes=10**9)
    events = await enforced(server, {"a": bounds, "gone": bounds}, 10 * DAY)
    assert length(server, "a") == 2
    assert events.expired == []
    assert events.failures == []


async def test_what_cannot_be_trimmed_is_told_and_the_others_are(server: StoreServer) -> None:
    with server.client() as client:
        client.set(stream_key(StreamKind.PAIRS, "bad"), "no stream")
    fill(server, "a", [1])
    bounds = Retention(max_age_seconds=DAY)
    events = await enforced(server, {"bad": bounds, "a": bounds}, 10 * DAY)
    assert events.failures == ["ResponseError (WRONGTYPE)"]
    assert events.failed_cascades == ["bad"]
    assert length(server, "a") == 0


async def test_the_ledger_is_not_trimmed_and_no_command_is_spent_on_it(
    server: StoreServer,
) -> None:
    fill(server, "a", [1])
    with server.client() as client:
        client.hset(ledger_key("a", "1970-01-02"), "requests:kept:-", 1)
        client.set(stream_key(StreamKind.LEDGER, "a"), "any command for streams fails here")
        events = await enforced(server, {"a": Retention(DAY, 1)}, 100 * DAY)
        assert client.hgetall(ledger_key("a", "1970-01-02")) == {b"requests:kept:-": b"1"}
    assert events.failures == []
    assert length(server, "a") == 0
