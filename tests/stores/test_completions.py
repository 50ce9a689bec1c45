"""Stored completions in a real store: added once, listed in order, gone for good."""

import asyncio
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.crc import key_slot
from redis.exceptions import ResponseError

from gateway.ports import Fate, StreamKind
from gateway.stores import completions as completions_module
from gateway.stores.completion_scripts import (
    OVERHEAD_BYTES,
    adding_of,
    member_in,
    member_of,
    removal_of,
    replacement_of,
)
from gateway.stores.completions import CompletionStore, Place, keep_within
from gateway.stores.deletions import Deletions
from gateway.stores.redis_keys import completion_keys, deletions_key, doctor_key
from gateway.stores.retention import Retention
from gateway.stores.servers import Servers
from gateway.stores.store import Store
from gateway.stores.store_url import parse_store_url
from tests.fakes.pair_events import RememberingEvents
from tests.fakes.stored import NOW, stored
from tests.fakes.valkey import StoreServer, cluster, store_server
from tests.stores.opening import journal_in, record
from tests.stores.shipping import Shipping, shipping
from tests.stores.shipping import stored as ids_in_stream

DAY = 86_400


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("lasting")) as server:
        yield server


@pytest.fixture
def server(lasting: StoreServer) -> StoreServer:
    """An empty store."""
    with lasting.client() as client:
        client.flushall()
    return lasting


def add(server: StoreServer, *records: bytes, cascade: str = "a") -> list[bytes]:
    """What the store says of each."""
    with server.client() as client:
        return [_run(client, adding_of(cascade, each)) for each in records]


def _run(client: Any, command: Any) -> Any:
    assert not isinstance(command, Exception)
    return client.execute_command(*command)


def ids(server: StoreServer, tenant: str | None = "ann", **options: Any) -> list[str]:
    """A tenant's completions as a reader finds them."""
    given = {"after": None, "count": 100, "is_ascending": True} | options

    async def read() -> list[str]:
        reader = CompletionStore(parse_store_url(server.url))
        try:
            return [each.id for each in await reader.places("a", tenant, **given)]
        finally:
            await reader.close()

    return asyncio.run(read())


def is_in_step(client: Any, cascade: str = "a") -> bool:
    """Whether all keys tell of the same completions, and the total is what they take."""
    *hashes, order, times, _, totals = completion_keys(cascade)
    contents = [client.hgetall(key) for key in hashes]
    places = {
        b"%s/%016d/%s" % (*member.split(b"/", 1)[:1], int(time), member.split(b"/", 1)[1])
        for member, time in client.zrange(times, 0, -1, withscores=True)
    }
    taken = sum(len(value) for each in contents for value in each.values())
    count = len(contents[0])
    return (
        all(each.keys() == contents[0].keys() for each in contents)
        and set(client.zrange(times, 0, -1)) == contents[0].keys()
        and set(client.zrange(order, 0, -1)) == places
        and int(client.hget(totals, "bytes") or 0) == taken + count * OVERHEAD_BYTES
    )


def put(one: Shipping, *records: bytes) -> None:
    for each in records:
        assert one.journal.append("a", each, kind=StreamKind.STORED)


def test_all_keys_of_a_cascade_are_in_one_slot() -> None:
    keys = completion_keys("a")
    assert keys[0] == "understudy:{a}:stored"
    assert len(set(keys)) == 7
    assert {key_slot(key.encode()) for key in (*keys, doctor_key("a"))} == {key_slot(b"a")}


async def test_a_completion_goes_from_the_journal_to_its_tenants_list(
    server: StoreServer, tmp_path: Path
) -> None:
    async with shipping(server.url, tmp_path) as one:
        put(one, stored("x", later=1), stored("y"), stored("z", tenant=None))
        one.journal.append("a", record(1))
        await one.rounds(2)
        assert one.holdings.unshipped_bytes == 0
        assert one.events.completions == [
            *[("a", Fate.WRITTEN, None, 1)] * 3, *[("a", Fate.SHIPPED, None, 1)] * 3,
        ]  # fmt: skip
        assert (one.events.written, one.events.shipped) == (["a"], ["a"])
    assert ids_in_stream(server.client()) == [1]
    assert await asyncio.to_thread(ids, server) == ["y", "x"]
    assert await asyncio.to_thread(ids, server, None) == ["z"]


async def test_what_a_journal_brings_again_changes_nothing(
    server: StoreServer, tmp_path: Path
) -> None:
    """The same segments once more, as after a server was replaced."""
    async with shipping(server.url, tmp_path / "journal") as one:
        put(one, stored("kept", metadata={"a": "1"}), stored("deleted"))
        shutil.copytree(one.holdings.own.path, tmp_path / "again" / "journals" / "copy")
        await one.rounds(2)
    with server.client() as client:
        before = client.hget(completion_keys("a")[0], "ann/kept")
        assert isinstance(before, bytes)
        after = before.replace(b'"1"', b'"22"')
        assert _run(client, replacement_of("a", "ann/kept", before, after)) == 1
        assert _run(client, replacement_of("a", "ann/kept", before, b"{}")) == 0
        assert _run(client, removal_of("a", ["ann/deleted"], is_by_client=True)) == 1
    async with shipping(server.url, tmp_path / "again") as one:
        await one.rounds(2)
        assert one.holdings.unshipped_bytes == 0
    with server.client() as client:
        assert client.hgetall(completion_keys("a")[0]) == {b"ann/kept": after}
        assert is_in_step(client)


def test_of_two_with_one_id_the_newer_stays(server: StoreServer) -> None:
    old, new = stored("x", text="old"), stored("x", text="new", later=1)
    assert add(server, old, new, old, new) == [b"stored", b"stored", b"known", b"known"]
    with server.client() as client:
        answers: Any = client.hget(completion_keys("a")[1], "ann/x")
        assert b"new" in answers
        assert is_in_step(client)
        _run(client, removal_of("a", ["ann/x"], is_by_client=True))
        assert add(server, new, stored("x", later=2)) == [b"known", b"stored"]


@given(st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_the_keys_stay_in_step_whatever_is_done(lasting: StoreServer, dice: random.Random) -> None:
    with lasting.client() as client:
        client.flushall()
        for _ in range(dice.randint(1, 30)):
            tenant, name = dice.choice(["ann", None]), dice.choice("xyz")
            text = "x" * dice.randint(0, 50)
            kept = stored(name, tenant=tenant, later=dice.randint(0, 5), text=text)
            members = [member_of(tenant, name), "nobody/none"]
            match dice.randint(0, 3):
                case 0:
                    most = dice.choice([None, 1500])
                    _run(client, removal_of("a", members, most_bytes=most))
                case 1:
                    _run(client, removal_of("a", members, is_by_client=True))
                case _:
                    _run(client, adding_of("a", kept))
            assert is_in_step(client)


def test_pages_go_both_ways_and_keep_to_their_tenant(server: StoreServer) -> None:
    names = ["b", "a", "c"]
    add(server, *(stored(name, later=number) for number, name in enumerate(names)))
    add(
        server,
        *(
            stored(f"of-{tenant}", tenant=tenant)
            for tenant in ("an", "ann-b", "ann.c", "anna", "ann0")
        ),
    )
    assert ids(server) == names
    assert ids(server, is_ascending=False) == names[::-1]
    middle = Place(int((NOW + 1) * 1e6), "a")
    assert ids(server, after=middle) == ["c"]
    assert ids(server, after=middle, is_ascending=False) == ["b"]
    assert ids(server, count=2) == ["b", "a"]
    assert ids(server, "nobody") == []


async def test_a_tenants_wish_reaches_what_waits_and_what_was_just_added(
    server: StoreServer, tmp_path: Path
) -> None:
    async with shipping(server.url, tmp_path) as one:
        put(one, stored("early"), stored("other", tenant="bob"))
        with server.client() as client:
            client.xadd(deletions_key("a"), {"time": f"{NOW + 5}", "tenant": "ann"})
        await one.rounds(3)  # the wish is seen with the batch that it concerns
        put(one, stored("waits", later=1), stored("later", later=9))
        await one.rounds(3)
    with server.client() as client:
        assert client.zrange(completion_keys("a")[4], 0, -1) == [b"bob/other", b"ann/later"]
        assert is_in_step(client)


async def test_a_user_without_the_rights_of_completions_ships_pairs_and_the_rest_is_named(
    server: StoreServer, tmp_path: Path
) -> None:
    with server.client() as client:
        rights = "on >p ~understudy:* +@all -zadd"
        client.execute_command("ACL", "SETUSER", "pairs", *rights.split())
    async with shipping(f"redis://pairs:p@127.0.0.1:{server.port}/0", tmp_path) as one:
        put(one, stored("x"))
        one.journal.append("a", record(1))
        await one.rounds(3)
        assert set(one.events.failed_records) == {StreamKind.STORED}
    async with shipping(server.url, tmp_path) as one:
        await one.rounds(3)
    with server.client() as client:
        assert client.zcard(completion_keys("a")[4]) == 1
        assert is_in_step(client)


@pytest.mark.parametrize("data", [b"{}", b"no json", stored("x").replace(b'n":1', b'n":2', 1)])
def test_what_is_no_record_waits_for_a_gateway_that_knows_it(data: bytes) -> None:
    assert isinstance(adding_of("a", data), ResponseError)


def test_a_records_member_is_the_one_it_is_added_under() -> None:
    for tenant in ("ann", None):
        data = stored("x", tenant=tenant)
        assert member_in(data).decode() == member_of(tenant, "x")


async def test_too_old_or_too_much_goes_the_oldest_first(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completions_module, "REMOVED_AT_ONCE", 2)
    await asyncio.to_thread(
        add, server, *(stored(str(day), later=day * DAY, text="x" * 1000) for day in range(10))
    )
    store, events = Store(Servers(parse_store_url(server.url)), Deletions()), RememberingEvents()
    try:
        wide = Retention(max_age_seconds=5000 * DAY)
        ahead = time.time() + 10_000 * DAY  # of the store, whose word counts too
        await keep_within(store, {"a": wide}, lambda: ahead, events)
        bound = Retention(max_age_seconds=5 * DAY)
        await keep_within(store, {"a": bound, "empty": bound}, lambda: NOW + 8.5 * DAY, events)
        assert await asyncio.to_thread(ids, server) == ["4", "5", "6", "7", "8", "9"]
        with server.client() as client:
            used = int(client.hget(completion_keys("a")[6], "bytes") or 0)
        two = Retention(max_bytes=used // 3)
        await keep_within(store, {"a": two}, lambda: NOW + 8.5 * DAY, events)
        assert await asyncio.to_thread(ids, server) == ["8", "9"]
        with server.client() as client:
            client.set(completion_keys("b")[4], "something else")
        await keep_within(store, {"b": two, "a": two}, lambda: NOW, events)
    finally:
        await store.close()
    causes = [(fate, cause) for _, fate, cause, _ in events.completions]
    assert set(causes) == {(Fate.EXPIRED, "age"), (Fate.EXPIRED, "size")}
    assert sum(count for *_, count in events.completions) == 8
    assert events.failed_cascades == ["b"]


def test_what_was_deleted_long_ago_is_forgotten(server: StoreServer) -> None:
    add(server, stored("x"), stored("y"))
    with server.client() as client:
        _run(client, removal_of("a", ["ann/x"], is_by_client=True, now=NOW))
        deleted = completion_keys("a")[5]
        _run(client, removal_of("a", ["ann/y"]))  # for want of room, say: nobody asked for that
        assert client.zrange(deleted, 0, -1) == [b"ann/x"]
        assert add(server, stored("y")) == [b"stored"]
        _run(client, removal_of("a", [], now=NOW + 101 * DAY))
        assert client.zrange(deleted, 0, -1) == []


@pytest.mark.full
async def test_a_cluster_has_them_where_the_cascade_is(tmp_path: Path) -> None:
    with cluster(tmp_path / "nodes") as nodes:
        async with shipping(nodes[0].url, tmp_path / "journal") as one:
            for cascade in ("a", "b", "c"):
                one.journal.append(cascade, stored("x"), kind=StreamKind.STORED)
            await one.rounds(5)
            assert one.holdings.unshipped_bytes == 0
        reader = CompletionStore(parse_store_url(nodes[0].url))
        try:
            for cascade in ("a", "b", "c"):
                assert await reader.place_of(cascade, "ann", "x") == Place(int(NOW * 1e6), "x")
                assert await reader.delete(cascade, "ann", "x", NOW)
        finally:
            await reader.close()


def test_a_completion_that_is_lost_is_told_and_says_nothing_of_pairs(tmp_path: Path) -> None:
    with journal_in(tmp_path, max_bytes=4000) as one:
        put_in: Any = one.journal.append
        assert not put_in("a", stored("x", text="x" * 5000), kind=StreamKind.STORED)
        while put_in("a", stored("x", text="x" * 600), kind=StreamKind.STORED):
            pass
        causes = [(fate, cause) for _, fate, cause, _ in one.events.completions]
        assert (causes[0], causes[-1]) == ((Fate.LOST, "too_large"), (Fate.LOST, "journal_full"))
        assert set(causes[1:-1]) == {(Fate.WRITTEN, None)}
        assert (one.events.lost, one.events.written) == ([], [])
        assert one.is_writable()
