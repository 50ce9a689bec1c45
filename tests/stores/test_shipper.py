import asyncio
import contextlib
import errno
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.ports import Trouble
from gateway.stores.journal import Journal
from gateway.stores.redis_keys import pairs_key
from gateway.stores.shipper import BATCH_PAIRS, Shipper
from tests.fakes.valkey import StoreServer, server_binaries, store_server
from tests.stores.test_journal import Events, record

KEY = "understudy:{a}:pairs"


@pytest.fixture(params=["valkey", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreServer]:
    binary = server_binaries()[request.param]
    if binary is None:
        pytest.skip("no redis-server here: the suite ran against Valkey alone")
    (tmp_path / "store").mkdir()
    with store_server(tmp_path / "store", binary) as server:
        yield server


@contextlib.asynccontextmanager
async def shipping(
    store: StoreServer, folder: Path
) -> AsyncIterator[tuple[Shipper, Journal, Events]]:
    events = Events()
    journal = Journal(folder / "state", max_bytes=10**7, events=events)
    redis: Redis = Redis.from_url(store.url, socket_timeout=1, socket_connect_timeout=1)
    try:
        yield Shipper(journal, redis, events), journal, events
    finally:
        await redis.aclose()
        journal.close()


def stored(store: StoreServer, key: str = KEY) -> list[int]:
    with store.client() as client:
        entries: list[tuple[bytes, dict[bytes, bytes]]] = client.xrange(key)
    return [json.loads(fields[b"pair"])["id"] for _, fields in entries]


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in another process
            await asyncio.sleep(0.01)


def test_the_key_keeps_a_cascade_in_one_place_of_a_cluster() -> None:
    assert pairs_key("a") == KEY


async def test_pairs_reach_the_stream_of_their_cascade_in_order(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store, tmp_path) as (shipper, journal, events):
        for number in range(BATCH_PAIRS + 5):
            journal.append("a", record(number))
        journal.append("b", record(7))
        await shipper.flush(5)
        assert stored(store) == list(range(BATCH_PAIRS + 5))
        assert stored(store, pairs_key("b")) == [7]
        assert len(events.shipped) == BATCH_PAIRS + 6
        assert events.unshipped_bytes == 0


async def test_pairs_wait_while_the_store_is_away(store: StoreServer, tmp_path: Path) -> None:
    async with shipping(store, tmp_path) as (shipper, journal, events):
        task = asyncio.create_task(shipper.run())
        journal.append("a", record(1))
        await until(lambda: len(events.shipped) == 1)
        store.stop()
        journal.append("a", record(2))
        await until(lambda: len(events.failures) >= 2)
        assert not task.done()
        store.start()
        await until(lambda: len(events.shipped) == 2)
        assert stored(store) == [1, 2]
        task.cancel()
        await asyncio.wait([task])


async def test_a_flush_without_a_store_ends_in_time_and_keeps_the_pairs(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store, tmp_path) as (shipper, journal, events):
        store.stop()
        journal.append("a", record(1))
        await shipper.flush(2)
        assert events.failures
        assert len(journal.next_batch(10).lines) == 1


async def test_a_torn_line_is_counted_and_passed_over(store: StoreServer, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "pairs.jsonl").write_bytes(b'{"cascade":"a","pai')
    async with shipping(store, tmp_path) as (shipper, journal, events):
        journal.append("a", record(2))
        await shipper.flush(5)
        assert stored(store) == [2]
        assert events.lost == [(None, "unreadable")]


async def test_one_bad_stream_does_not_fill_the_good_ones_with_copies(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.set(pairs_key("bad"), "no stream")
    async with shipping(store, tmp_path) as (shipper, journal, _):
        journal.append("a", record(1))
        journal.append("bad", record(2))
        journal.append("a", record(3))
        for _ in range(10):
            with contextlib.suppress(RedisError):
                while await shipper.ship_batch():
                    pass
        assert len(stored(store)) <= 4  # each good pair twice, not once for every attempt
        with store.client() as client:
            client.delete(pairs_key("bad"))
        await shipper.flush(5)
        assert set(stored(store)) == {1, 3}
        assert stored(store, pairs_key("bad")) == [2]


async def test_a_long_backlog_can_be_left_at_any_moment(store: StoreServer, tmp_path: Path) -> None:
    async with shipping(store, tmp_path) as (shipper, journal, events):
        for number in range(20_000):
            journal.append("a", record(number, padding=100))
        for attempt in range(5):
            task = asyncio.create_task(shipper.run())
            await asyncio.sleep(0.02 * (attempt + 1))
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=1)
            assert done, "the shipper did not hear that it was cancelled"
        await asyncio.wait_for(shipper.flush(0.05), timeout=1)
        assert 0 < len(events.shipped) < 20_000


async def test_a_bad_pair_among_a_hundred_costs_each_good_one_two_copies_at_most(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.set(pairs_key("bad"), "no stream")
    async with shipping(store, tmp_path) as (shipper, journal, _):
        for number in range(100):
            journal.append("bad" if number == 50 else "a", record(number))
        for _ in range(60):
            with contextlib.suppress(RedisError):
                await shipper.ship_batch()
        assert len(stored(store)) <= 99 + 50
        with store.client() as client:
            client.delete(pairs_key("bad"))
        await shipper.flush(5)
        assert set(stored(store)) == set(range(100)) - {50}
        assert len(stored(store)) <= 2 * 99


def connected(url: str, folder: Path) -> tuple[Shipper, Journal, Events]:
    events = Events()
    journal = Journal(folder / "state", max_bytes=10**7, events=events)
    redis: Redis = Redis.from_url(url, socket_timeout=0.2, socket_connect_timeout=0.2)
    return Shipper(journal, redis, events), journal, events


@pytest.mark.parametrize(
    ("url", "trouble"),
    [
        (
            "redis://me:s3cret@127.0.0.1:1/0",
            Trouble("127.0.0.1:1", errno.ECONNREFUSED, "Connection refused"),
        ),
        (
            "unix://me:s3cret@/nowhere.sock",
            Trouble("/nowhere.sock", errno.ENOENT, "No such file or directory"),
        ),
    ],
)
async def test_a_store_that_is_not_there_is_told_with_its_place_and_no_password(
    tmp_path: Path, url: str, trouble: Trouble
) -> None:
    shipper, journal, events = connected(url, tmp_path)
    journal.append("a", record(1))
    await shipper.flush(5)
    assert events.troubles == [trouble]
    assert "s3cret" not in events.failures[0]
    journal.close()


async def test_a_store_that_hangs_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        shipper, journal, events = connected(f"redis://{place}/0", tmp_path)
        journal.append("a", record(1))
        await shipper.flush(5)
    assert events.failures == ["TimeoutError"]
    assert events.troubles == [Trouble(place, None, "timed out")]
    journal.close()


async def test_a_password_that_is_refused_is_told_in_the_store_s_words(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.config_set("requirepass", "other")
    url = f"redis://:s3cret@127.0.0.1:{store.port}/0"
    shipper, journal, events = connected(url, tmp_path)
    journal.append("a", record(1))
    await shipper.flush(5)
    assert events.failures == ["AuthenticationError"]
    (trouble,) = events.troubles
    assert trouble.place == f"127.0.0.1:{store.port}"
    assert "password" in (trouble.strerror or "")
    assert "s3cret" not in (trouble.strerror or "")
    journal.close()


async def test_what_the_store_refuses_is_told_by_its_code_and_not_with_the_pair(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store, tmp_path) as (shipper, journal, events):
        with store.client() as client:
            client.set(KEY, "no stream")
        journal.append("a", b'{"id":1,"x":"s3cret"}')
        await shipper.flush(5)
        assert events.failures == ["ResponseError (WRONGTYPE)"]
        assert events.troubles == [Trouble(f"127.0.0.1:{store.port}")]


async def test_a_journal_that_cannot_note_what_is_shipped_is_told_as_such(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store, tmp_path) as (shipper, journal, events):
        (tmp_path / "state" / "pairs.part").mkdir()
        journal.append("a", record(1))
        await shipper.flush(5)
        assert events.failures == ["IsADirectoryError"]
        (trouble,) = events.troubles
        assert trouble.place == str(tmp_path / "state" / "pairs.part")
        assert trouble.errno == errno.EISDIR
        assert stored(store) == [1]
        assert journal.next_batch(1).lines == []  # it is not shipped again by this process
