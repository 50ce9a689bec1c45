import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.stores import pipeline as pipeline_module
from gateway.stores import store as store_module
from gateway.stores.deletions import Deletions
from gateway.stores.reading import Placed
from gateway.stores.redis_keys import deletions_key, pairs_key
from tests.fakes.journals import all_records
from tests.fakes.valkey import StoreServer, store_server
from tests.stores.opening import record, segments
from tests.stores.shipping import Shipping, shipping, stored


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreServer]:
    (tmp_path / "store").mkdir()
    with store_server(tmp_path / "store") as server:
        yield server


def entry(**fields: str) -> tuple[bytes, dict[bytes, bytes]]:
    return b"1-0", {name.encode(): value.encode() for name, value in fields.items()}


def delete(store: StoreServer, cascade: str = "a", **fields: str) -> None:
    """What `understudy pairs delete` writes first."""
    with store.client() as client:
        client.xadd(deletions_key(cascade), {"time": "1000", **fields})


@pytest.mark.parametrize(
    ("fields", "told", "is_gone"),
    [
        ({"request_id": "r1"}, {"request_id": "r1"}, True),
        ({"request_id": "r1"}, {"request_id": "r2"}, False),
        ({"request_id": "r1", "time": "5"}, {"request_id": "r1", "time": 9.0}, True),
        ({"tenant": "t", "time": "5"}, {"tenant": "t", "time": 5.0}, True),
        ({"tenant": "t", "time": "5"}, {"tenant": "t", "time": 5.001}, False),
        ({"tenant": "t", "time": "5"}, {"tenant": "u", "time": 1.0}, False),
        ({"tenant": "t", "time": "5"}, {"tenant": None, "time": 1.0}, False),
        ({"tenant": "t", "time": "soon"}, {"tenant": "t", "time": 1.0}, False),
        ({"tenant": "t"}, {"tenant": "t", "time": 1.0}, False),
        ({"time": "5"}, {"tenant": "t", "time": 1.0}, False),
    ],
)
def test_a_deletion_is_of_a_request_or_of_a_tenant_up_to_its_time(
    fields: dict[str, str], told: dict[str, Any], is_gone: bool
) -> None:
    deletions = Deletions()
    deletions.learn("a", [entry(**fields)])
    assert deletions.has("a", json.dumps(told).encode()) is is_gone
    assert not deletions.has("b", json.dumps(told).encode())


def test_a_time_that_is_no_number_takes_nothing_back() -> None:
    deletions = Deletions()
    deletions.learn("a", [entry(tenant="t", time=time) for time in ("5", "nan")])
    assert deletions.has("a", b'{"tenant": "t", "time": 5.0}')


def test_the_last_deletion_of_a_tenant_counts_and_reading_goes_on_behind_it() -> None:
    deletions = Deletions()
    assert deletions.next_of("a") == "-"
    assert deletions.learn("a", [entry(tenant="t", time="5"), entry(tenant="t", time="3")])
    assert deletions.has("a", b'{"tenant":"t","time":5}')
    assert deletions.next_of("a") == "(1-0"
    assert not deletions.learn("a", [(b"2-0", None)])
    assert deletions.next_of("a") == "(2-0"


def test_what_is_no_record_is_not_deleted() -> None:
    deletions = Deletions()
    deletions.learn("a", [entry(request_id="r")])
    assert not deletions.has("a", b"{")


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in segments(folder))


async def test_a_record_that_is_known_to_be_deleted_is_never_shipped_and_blanked_on_disk(
    store: StoreServer, tmp_path: Path
) -> None:
    delete(store, request_id="r1")
    async with shipping(store.url, tmp_path) as one:
        await one.rounds(1)  # it looks at start
        one.journal.append("a", record(1, request_id="r1", secret="sesame"))
        one.journal.append("a", record(2, request_id="r2"))
        one.journal.append("b", record(3, request_id="r1"))
        await one.rounds(2)
        assert stored(store.client()) == [2]
        assert stored(store.client(), "b") == [3]
        assert b"sesame" not in contents(tmp_path)
        assert one.events.deleted == [("a", 1)]
        assert one.holdings.unshipped_bytes == 0


async def test_what_is_to_be_deleted_is_told_from_the_rest_without_comparing_all_with_all(
    store: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[object] = []

    def compare(one: Placed, other: object) -> bool:
        compared.append(other)
        return one is other

    delete(store, request_id="r1")
    async with shipping(store.url, tmp_path) as one:
        await one.rounds(1)
        for number in range(20):
            one.journal.append("a", record(number, request_id=f"r{number % 2}"))
        monkeypatch.setattr(Placed, "__eq__", compare)
        await one.rounds(2)
        assert stored(store.client()) == list(range(0, 20, 2))
    assert not compared, "a batch has a thousand records, and requests wait meanwhile"


async def test_a_deletion_reaches_what_is_shipped_and_kept_and_what_waits(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.config_set("appendonly", "no")
        client.set(pairs_key("bad"), "no stream")
    async with shipping(store.url, tmp_path, segment_bytes=1) as one:
        for number in range(4):
            tenant = "t" if number % 2 else "u"
            one.journal.append("a", record(number, tenant=tenant, time=999, secret=f"s-{tenant}"))
            one.journal.append("bad", record(number, tenant=tenant, time=999, secret=f"s-{tenant}"))
        await one.rounds(2)
        delete(store, "a", tenant="t")
        delete(store, "bad", tenant="t")
        await one.rounds(2)
        assert b"s-t" not in contents(tmp_path)
        assert contents(tmp_path).count(b"s-u") == 4
        assert one.events.damaged == []
        with store.client() as client:
            client.delete(pairs_key("bad"))
        await one.rounds(4)
        assert stored(store.client(), "bad") == [0, 2]
        later = record(9, tenant="t", time=1001)
        one.journal.append("a", later)
        await one.rounds(2)
        assert stored(store.client())[-1] == 9


async def test_a_deletion_written_while_its_record_is_on_its_way_takes_it_back(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store.url, tmp_path) as one:
        await one.rounds(1)
        one.journal.append("a", record(1, request_id="r1", secret="sesame"))
        one.journal.append("a", record(2, request_id="r2"))
        delete(store, request_id="r1")  # nobody has read it when the record is sent
        await one.shipper.ship_round()
        assert stored(store.client()) == [2]
        assert b"sesame" not in contents(tmp_path)
        assert sum(count for _, count in one.events.deleted) == 2  # in the journal, in the stream


async def test_many_deletions_are_read_page_by_page(
    store: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "DELETIONS_PAGE", 3)
    monkeypatch.setattr(store_module, "DELETIONS_PAGE", 3)
    for number in range(10):
        delete(store, request_id=f"r{number}")
    async with shipping(store.url, tmp_path) as one:
        for number in range(12):
            one.journal.append("a", record(number, request_id=f"r{number}"))
        await one.rounds(2)
        assert stored(store.client()) == [10, 11]


async def test_a_deletion_reaches_an_adopted_directory(store: StoreServer, tmp_path: Path) -> None:
    async with shipping("redis://127.0.0.1:1/0", tmp_path) as left:
        left.journal.append("a", record(1, request_id="r1", secret="sesame"))
        left.journal.append("a", record(2, request_id="r2", secret="other"))
        delete(store, request_id="r1")
        async with shipping(store.url, tmp_path) as one:
            await release(left)
            one.holdings.take(one.holdings.find_orphans())
            await one.rounds(2)
            assert stored(store.client()) == [2]
            assert [json.loads(frame.record)["id"] for frame in all_records(tmp_path)] == [2]
            assert b"sesame" not in contents(tmp_path)
            assert b"other" in contents(tmp_path)


async def release(left: Shipping) -> None:
    """Let a directory go as a killed process does: nothing is noted, nothing removed."""
    left.journal.close()
    for folder in left.holdings.folders:
        folder.close()
    left.holdings.folders.clear()


async def test_a_deletion_known_before_reaches_a_directory_that_is_adopted_later(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.config_set("appendonly", "no")
    async with shipping(store.url, tmp_path) as left, shipping(store.url, tmp_path) as one:
        left.journal.append("a", record(1, request_id="r1", secret="sesame"))
        await left.rounds(1)  # shipped, and kept
        left.tidy()
        delete(store, request_id="r1")
        await one.rounds(1)
        await release(left)
        one.holdings.take(one.holdings.find_orphans())
        assert b"sesame" in contents(tmp_path)
        await one.rounds(1)
        assert b"sesame" not in contents(tmp_path)


async def test_a_directory_that_cannot_be_blanked_is_tried_again_and_holds_up_no_other(
    store: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with store.client() as client:
        client.config_set("appendonly", "no")
    async with shipping(store.url, tmp_path) as one:
        one.journal.append("a", record(1, request_id="r1", secret="sesame"))
        await one.rounds(1)
        delete(store, request_id="r1")
        monkeypatch.setattr("gateway.stores.folder.os.pwrite", fail)
        await one.rounds(1)
        assert one.events.failures == ["OSError"]
        monkeypatch.undo()
        await one.rounds(1)
        assert b"sesame" not in contents(tmp_path)
