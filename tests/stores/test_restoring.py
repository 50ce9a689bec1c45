"""Backups of the store, put back: what is there again, what is shipped again, and what is not.

deploy/upgrading.md tells operators what is tried here.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.stores.redis_keys import deletions_key, pairs_key
from tests.fakes.valkey import StoreServer, store_server
from tests.stores.opening import record, segments
from tests.stores.shipping import shipping, stored

KEY = pairs_key("a")
AOF = "appendonlydir"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreServer]:
    (tmp_path / "store").mkdir()
    with store_server(tmp_path / "store") as server:
        yield server


def back_up(store: StoreServer, copy: Path) -> None:
    """A copy of the append-only files of a server that runs, as Redis' and Valkey's manuals say."""
    with store.client() as client:
        client.config_set("auto-aof-rewrite-percentage", 0)
        info: Any = client.info("persistence")
        assert not info["aof_rewrite_in_progress"]
        shutil.copytree(store.folder / AOF, copy)
        client.config_set("auto-aof-rewrite-percentage", 100)


def put_back(store: StoreServer, copy: Path) -> None:
    store.stop()
    shutil.rmtree(store.folder / AOF)
    shutil.copytree(copy, store.folder / AOF)
    store.start()


async def test_an_older_store_has_what_the_copy_had_and_gets_what_was_not_confirmed(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store.url, tmp_path) as one:
        one.journal.append("a", record(1))
        await one.shipper.flush(10)
        back_up(store, tmp_path / "copy")
        one.journal.append("a", record(2))
        await one.shipper.flush(10)
        one.tidy(later=61)
        one.tidy()
        assert segments(tmp_path) == [], "the store said that it has both on its disk"
        store.stop()
        one.journal.append("a", record(3))
        put_back(store, tmp_path / "copy")
        await one.rounds(4)
        # 2 was confirmed after the copy was made: no journal has it any more.
        assert stored(store.client()) == [1, 3]


async def test_without_a_confirmation_all_that_the_journal_keeps_is_shipped_again(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store.url, tmp_path) as one:
        one.journal.append("a", record(1))
        await one.shipper.flush(10)
        back_up(store, tmp_path / "copy")
        with store.client() as client:
            client.config_set("appendonly", "no")
        one.journal.append("a", record(2))
        await one.rounds(2)
        one.tidy(later=61)
        one.tidy()
        assert len(segments(tmp_path)) == 1
        put_back(store, tmp_path / "copy")
        await one.rounds(4)
        assert set(stored(store.client())) == {1, 2}


async def test_what_was_deleted_since_the_copy_is_back_until_it_is_deleted_again(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store.url, tmp_path) as one:
        one.journal.append("a", record(1, request_id="r"))
        await one.shipper.flush(10)
        back_up(store, tmp_path / "copy")
        with store.client() as client:
            client.xadd(deletions_key("a"), {"time": "1", "request_id": "r"})
            client.delete(KEY)
        put_back(store, tmp_path / "copy")
        await one.rounds(4)
        assert stored(store.client()) == [1]
        with store.client() as client:
            assert not client.exists(deletions_key("a"))


def test_a_snapshot_beside_append_only_files_is_not_looked_at_and_one_in_their_place_is(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.xadd(KEY, {"pair": '{"id": 1}'})
        client.save()
    snapshot = store.folder / "dump.rdb"
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    shutil.copy(snapshot, fresh)
    with store_server(fresh) as other:
        assert stored(other.client()) == []
    shutil.rmtree(fresh)
    (fresh / AOF).mkdir(parents=True)
    shutil.copy(snapshot, fresh / AOF / "appendonly.aof.1.base.rdb")
    manifest = fresh / AOF / "appendonly.aof.manifest"
    manifest.write_text("file appendonly.aof.1.base.rdb seq 1 type b\n")
    with store_server(fresh) as other:
        assert stored(other.client()) == [1]
        with other.client() as client:
            client.xadd(KEY, {"pair": '{"id": 2}'})
        other.stop()
        other.start()
        assert stored(other.client()) == [1, 2]
