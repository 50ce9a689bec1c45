import asyncio
import errno
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.ports import StreamKind, Trouble
from gateway.stores.reading import Limits
from gateway.stores.redis_keys import deletions_key, pairs_key
from tests.fakes.valkey import StoreServer, store_server
from tests.stores.opening import record, segments
from tests.stores.shipping import KEEP_SECONDS, begin, shipping, stored, until

KEY = "understudy:{a}:pairs"


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[StoreServer]:
    (tmp_path / "store").mkdir()
    with store_server(tmp_path / "store") as server:
        yield server


def test_the_keys_keep_a_cascade_in_one_place_of_a_cluster() -> None:
    assert pairs_key("a") == KEY
    assert deletions_key("a") == "understudy:{a}:deletions"


async def test_records_reach_the_stream_of_their_cascade_and_kind_in_order(
    store: StoreServer, tmp_path: Path
) -> None:
    many = Limits().records + 5
    async with shipping(store.url, tmp_path) as one:
        for number in range(many):
            one.journal.append("a", record(number))
        one.journal.append("b", record(7))
        one.journal.append("a", record(8), kind=StreamKind.AUDITS)
        await one.shipper.flush(10)
        assert stored(store.client()) == list(range(many))
        assert stored(store.client(), "b") == [7]
        assert stored(store.client(), "a", StreamKind.AUDITS) == [8]
        assert len(one.events.shipped) == many + 2
        assert one.holdings.unshipped_bytes == 0
        assert one.events.failures == []


async def test_a_record_of_a_later_form_is_shipped_as_it_is(
    valkey: StoreServer, tmp_path: Path
) -> None:
    """A gateway that goes on with a journal of a later release need not understand its records."""
    later = record(1, schema_version=99, request_id="r", words={"new": [None]})
    async with shipping(valkey.url, tmp_path) as one:
        one.journal.append("a", later)
        await one.shipper.flush(10)
    with valkey.client() as client:
        entries: Any = client.xrange(KEY)
    assert [fields for _, fields in entries] == [{b"pair": later}]


async def test_records_wait_while_the_store_is_away(store: StoreServer, tmp_path: Path) -> None:
    async with shipping(store.url, tmp_path) as one:
        task = asyncio.create_task(one.shipper.run())
        one.journal.append("a", record(1))
        await until(lambda: len(one.events.shipped) == 1)
        store.stop()
        one.journal.append("a", record(2))
        await until(lambda: len(one.events.failures) >= 2)
        assert not task.done()
        store.start()
        await until(lambda: set(stored(store.client())) == {1, 2})
        task.cancel()
        await asyncio.wait([task])


async def test_a_flush_without_a_store_ends_and_keeps_the_records(tmp_path: Path) -> None:
    async with shipping("redis://127.0.0.1:1/0", tmp_path) as one:
        one.journal.append("a", record(1))
        await one.shipper.flush(5)
        assert one.events.failures == ["ConnectionError (ConnectionRefusedError)"]
        assert one.ids() == [1]


@pytest.mark.full
async def test_a_long_backlog_can_be_left_at_any_moment(store: StoreServer, tmp_path: Path) -> None:
    async with shipping(store.url, tmp_path) as one:
        for number in range(20_000):
            one.journal.append("a", record(number, padding=100))
        for attempt in range(5):
            task = asyncio.create_task(one.shipper.run())
            await asyncio.sleep(0.02 * (attempt + 1))
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=1)
            assert done, "the shipper did not hear that it was cancelled"
        await one.shipper.flush(20)
        assert sorted(set(stored(store.client()))) == list(range(20_000))


async def test_a_segment_goes_once_the_store_has_it_on_its_disk(
    valkey: StoreServer, tmp_path: Path
) -> None:
    async with shipping(valkey.url, tmp_path, segment_bytes=1) as one:
        for number in range(3):
            one.journal.append("a", record(number))
        await one.rounds(1)
        assert one.events.is_durable is True
        one.journal.rotate()
        one.tidy()
        assert segments(tmp_path) == []


async def test_a_segment_is_kept_for_a_time_where_the_store_cannot_say_so(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.config_set("appendonly", "no")
    async with shipping(store.url, tmp_path, segment_bytes=1) as one:
        one.journal.append("a", record(1))
        await one.rounds(1)
        assert one.events.is_durable is False
        one.journal.rotate()
        one.tidy()
        one.tidy(later=KEEP_SECONDS - 1)
        assert len(segments(tmp_path)) == 1
        one.tidy(later=1)
        assert segments(tmp_path) == []


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "allkeys-lru"])
async def test_a_store_that_throws_keys_away_when_it_is_full_is_told(
    store: StoreServer, tmp_path: Path, policy: str
) -> None:
    with store.client() as client:
        client.config_set("maxmemory-policy", policy)
    async with shipping(store.url, tmp_path) as one:
        await one.rounds(1)  # it looks at start, before there is a pair to lose
        assert one.events.is_evicting is (policy != "noeviction")


async def test_what_a_store_lost_that_had_said_nothing_of_its_disk_is_shipped_again(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.config_set("appendonly", "no")
        client.config_set("save", "")
    one = begin(store.url, tmp_path, segment_bytes=1)
    for number in range(3):
        one.journal.append("a", record(number))
    one.journal.append("b", record(3))
    await one.rounds(2)
    assert stored(store.client()) == [0, 1, 2]
    await one.end()

    store.stop(is_killed=True)
    store.start()
    assert stored(store.client()) == []

    async with shipping(store.url, tmp_path) as one:  # another process finds it out
        await one.rounds(3)
        assert stored(store.client()) == [0, 1, 2]
        assert stored(store.client(), "b") == [3]


async def test_a_store_that_was_replaced_is_noticed_while_nothing_is_written(
    valkey: StoreServer, tmp_path: Path
) -> None:
    with valkey.client() as client:
        client.config_set("appendonly", "no")
        client.config_set("save", "")
    async with shipping(valkey.url, tmp_path) as one:
        one.journal.append("a", record(1))
        await one.rounds(2)
        valkey.stop(is_killed=True)
        valkey.start()
        await one.rounds(4)
        assert stored(valkey.client()) == [1]
        assert one.holdings.unshipped_bytes == 0


@pytest.mark.parametrize("is_new", [True, False])
async def test_a_new_history_of_writes_is_another_server_too(
    valkey: StoreServer, tmp_path: Path, is_new: bool
) -> None:
    with valkey.client() as client:
        client.config_set("appendonly", "no")
    async with shipping(valkey.url, tmp_path) as one:
        one.journal.append("a", record(1))
        await one.rounds(1)
        with valkey.client() as client:
            if is_new:  # was a replica for a moment, and is none any more
                client.execute_command("REPLICAOF", "127.0.0.1", "1")
                client.execute_command("REPLICAOF", "NO", "ONE")
        one.journal.append("a", record(2))
        await one.rounds(3)
        expected = [1, 2, 1, 2] if is_new else [1, 2]
        assert stored(valkey.client()) == expected


async def test_one_refused_stream_holds_up_no_other_and_fills_none_with_copies(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.set(pairs_key("bad"), "no stream")
    async with shipping(store.url, tmp_path) as one:
        for number in range(100):
            one.journal.append("bad" if number % 2 else "a", record(number))
        await one.rounds()
        assert stored(store.client()) == list(range(0, 100, 2))
        assert one.holdings.unshipped_bytes > 0
        assert set(one.events.failures) == {"ResponseError (WRONGTYPE)"}
        assert set(one.events.failed_cascades) == {"bad"}
        one.journal.append("a", record(100))
        await one.rounds(2)
        assert stored(store.client())[-1] == 100
        with store.client() as client:
            client.delete(pairs_key("bad"))
        await one.rounds()
        assert stored(store.client(), "bad") == list(range(1, 100, 2))
        assert len(stored(store.client())) == 51
        assert one.holdings.unshipped_bytes == 0


async def test_a_stream_that_catches_up_misses_nothing_that_came_meanwhile(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.set(pairs_key("bad"), "no stream")
    async with shipping(store.url, tmp_path) as one:
        one.journal.append("bad", record(0))
        await one.rounds(1)
        with store.client() as client:
            client.delete(pairs_key("bad"))
        for number in range(1, 6):  # in the same round the stream catches up and these are due
            one.journal.append("bad", record(number))
            one.journal.append("a", record(number))
        await one.rounds(3)
        assert stored(store.client(), "bad") == list(range(6))
        assert stored(store.client()) == list(range(1, 6))


async def test_what_is_refused_waits_also_over_a_restart(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.set(pairs_key("bad"), "no stream")
    one = begin(store.url, tmp_path)
    one.journal.append("bad", record(1))
    one.journal.append("a", record(2))
    await one.rounds(3)
    await one.end()
    with store.client() as client:
        client.delete(pairs_key("bad"))
    async with shipping(store.url, tmp_path) as one:
        await one.rounds(3)
    assert stored(store.client(), "bad") == [1]
    assert stored(store.client()) == [2]


async def test_a_full_store_gets_the_rest_later_and_no_copies(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store.url, tmp_path) as one:
        with store.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            used = int(client.info("memory")["used_memory"])
            client.config_set("maxmemory", used + 2_000_000)
        for number in range(5000):
            one.journal.append("a", record(number, padding=1000))
        await one.rounds(20)
        assert set(one.events.failures) == {"OutOfMemoryError"}
        assert 0 < len(stored(store.client())) < 5000
        with store.client() as client:
            client.config_set("maxmemory", 0)
        await one.rounds(20)
        ids = stored(store.client())
        assert sorted(set(ids)) == list(range(5000))
        assert len(ids) <= 5000 + 2 * Limits().records


async def test_a_read_only_store_and_one_that_is_busy_are_waited_for(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store.url, tmp_path) as one:
        with store.client() as client:
            client.config_set("min-replicas-to-write", 1)
        one.journal.append("a", record(1))
        await one.rounds(2)
        with store.client() as client:
            client.config_set("min-replicas-to-write", 0)
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
        await one.rounds(2)
        assert len(one.events.failures) == 4
        assert any("ReadOnly" in each for each in one.events.failures)
        with store.client() as client:
            client.execute_command("REPLICAOF", "NO", "ONE")
        await one.rounds(2)
        assert stored(store.client()) == [1]


async def test_a_connection_that_breaks_amid_a_pipeline_ships_again(
    valkey: StoreServer, tmp_path: Path
) -> None:
    async with shipping(valkey.url, tmp_path) as one:
        one.journal.append("a", record(0))
        await one.rounds(1)
        for number in range(1, 1000):
            one.journal.append("a", record(number, padding=2000))
        task = asyncio.create_task(one.shipper.flush(5))
        for _ in range(20):
            await asyncio.sleep(0.001)
            with valkey.client() as client:
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await task
        await one.rounds(5)
        assert set(stored(valkey.client())) == set(range(1000))


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
    async with shipping(url, tmp_path) as one:
        one.journal.append("a", record(1))
        await one.shipper.flush(5)
        assert one.events.troubles == [trouble]
        assert "s3cret" not in one.events.failures[0]


async def test_a_store_that_hangs_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        url = f"redis://{place}/0?socket_timeout=0.5"
        async with shipping(url, tmp_path) as one:
            one.journal.append("a", record(1))
            await one.shipper.flush(5)
            assert one.events.failures == ["TimeoutError"]
            assert one.events.troubles == [Trouble(place, None, "timed out")]


async def test_a_password_that_is_refused_is_told_in_the_store_s_words(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.config_set("requirepass", "other")
    url = f"redis://:s3cret@127.0.0.1:{store.port}/0"
    async with shipping(url, tmp_path) as one:
        one.journal.append("a", record(1))
        await one.shipper.flush(5)
        assert one.events.failures == ["AuthenticationError"]
        (trouble,) = one.events.troubles
        assert trouble.place == f"127.0.0.1:{store.port}"
        assert "password" in (trouble.strerror or "")
        assert "s3cret" not in (trouble.strerror or "")


async def test_what_the_store_refuses_is_told_by_its_code_and_not_with_the_record(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store.url, tmp_path) as one:
        with store.client() as client:
            client.set(KEY, "no stream")
        one.journal.append("a", b'{"id":1,"x":"s3cret"}')
        await one.shipper.flush(5)
        assert one.events.failures == ["ResponseError (WRONGTYPE)"]
        assert one.events.troubles == [Trouble(f"127.0.0.1:{store.port}")]


async def test_a_journal_that_cannot_be_read_is_told_as_such(
    valkey: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    async with shipping(valkey.url, tmp_path) as one:
        one.journal.append("a", record(1))
        monkeypatch.setattr("gateway.stores.reading.os.pread", fail)
        await one.rounds(1)
        monkeypatch.undo()
        assert one.events.failures == ["OSError"]
        (trouble,) = one.events.troubles
        assert (trouble.place, trouble.errno) == (str(one.holdings.own.path), errno.EIO)
        await one.rounds(1)
        assert stored(valkey.client()) == [1]


async def test_a_directory_that_cannot_be_read_holds_up_no_other(
    valkey: StoreServer, tmp_path: Path
) -> None:
    async with shipping(valkey.url, tmp_path) as one:
        left = begin(valkey.url, tmp_path)
        left.journal.append("a", record(1))
        (path,) = left.holdings.own.path.glob("*.seg")
        left.journal.close()
        left.holdings.own.save_progress()
        left.holdings.own.close()
        one.holdings.take(one.holdings.find_orphans())
        one.holdings.folders.reverse()  # it is the first one to be read
        aside = path.with_name("aside")
        path.rename(aside)
        path.mkdir()
        one.journal.append("a", record(2))
        await one.rounds(2)
        assert stored(valkey.client()) == [2]
        assert one.events.failures == ["IsADirectoryError", "IsADirectoryError"]
        path.rmdir()
        aside.rename(path)
        await one.rounds(2)
        assert stored(valkey.client()) == [2, 1]
        one.holdings.folders.reverse()


async def test_a_confirmation_that_did_not_come_is_asked_for_again_on_that_connection_alone(
    valkey: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with valkey.client() as client:
        client.config_set("appendfsync", "no")
    monkeypatch.setattr("gateway.stores.pipeline.DURABLE_MILLISECONDS", 1)
    async with shipping(valkey.url, tmp_path) as one:
        progress = one.holdings.own.progress
        one.journal.append("a", record(1))
        await one.rounds(2)
        assert progress.doubtful
        assert one.events.is_durable is False
        with valkey.client() as client:  # a fresh connection would be told that all is well
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await one.rounds(4)
        assert progress.doubtful
        with valkey.client() as client:
            client.config_set("appendfsync", "always")
        one.journal.append("a", record(2))
        await one.rounds(2)
        assert not progress.doubtful
        assert one.events.is_durable is True
