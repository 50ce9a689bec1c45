"""One tenant's stored completions, over several cascades of a real store."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.fernet import Fernet

from gateway import stored_reading as module
from gateway.errors import GatewayError, NotFound, RequestError, StoreUnavailable, Unreadable
from gateway.ports import Trouble
from gateway.redaction import Redactor
from gateway.safekeeping import Safekeeping
from gateway.stored_reading import Owner, StoredReader, stored_reader
from gateway.stores.completion_scripts import adding_of
from gateway.stores.redis_keys import completion_keys
from gateway.stores.sealing import Sealer
from gateway.stores.store_url import parse_store_url
from gateway.wire.stored import Page, read_listing
from tests.fakes.serving import free_port
from tests.fakes.stored import IN_CLEAR, NOW, stored
from tests.fakes.valkey import StoreServer, store_server

ANN = Owner("ann", ("a", "b"))


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("lasting")) as server:
        yield server


@pytest.fixture
def server(lasting: StoreServer) -> StoreServer:
    with lasting.client() as client:
        client.flushall()
    return lasting


@asynccontextmanager
async def reading(url: str, sealer: Sealer | None = None) -> AsyncIterator[StoredReader]:
    reader = stored_reader(parse_store_url(url), sealer, lambda kind, _: pytest.fail(kind))
    try:
        yield reader
    finally:
        await reader.close()


def add(server: StoreServer, cascade: str, *records: bytes) -> None:
    with server.client() as client:
        for each in records:
            command: Any = adding_of(cascade, each)
            client.execute_command(*command)


def ids(page: Page) -> list[str]:
    return [each for each, _ in page.objects]


async def test_cascades_are_listed_as_one_in_the_order_of_time(server: StoreServer) -> None:
    add(server, "a", *(stored(f"a{n}", later=n) for n in (0, 2, 4)))
    add(server, "b", *(stored(f"b{n}", later=n) for n in (1, 2, 3)))
    async with reading(server.url) as reader:
        everything = ["a0", "b1", "a2", "b2", "b3", "a4"]
        assert ids(await reader.page(ANN, read_listing(b""))) == everything
        assert ids(await reader.page(ANN, read_listing(b"order=desc"))) == everything[::-1]
        walked, after = [], ""
        while True:
            page = await reader.page(ANN, read_listing(b"limit=2" + after.encode()))
            walked += ids(page)
            if not page.has_more:
                break
            after = f"&after={ids(page)[-1]}"
        assert walked == everything
        assert ids(await reader.page(Owner("ann", ("b",)), read_listing(b""))) == ["b1", "b2", "b3"]
        assert await reader.page(Owner("ann", ()), read_listing(b"")) == Page([], has_more=False)
        with pytest.raises(NotFound):
            await reader.completion(Owner("ann", ()), "a0")


async def test_of_two_cascades_with_one_id_the_newer_is_read_and_both_are_deleted(
    server: StoreServer,
) -> None:
    add(server, "a", stored("x", text="new", later=1))
    add(server, "b", stored("x", text="old"))
    async with reading(server.url) as reader:
        assert b'"new"' in bytes(await reader.completion(ANN, "x"))
        await reader.delete(ANN, "x", NOW)
        with pytest.raises(NotFound):
            await reader.completion(ANN, "x")
        add(server, "a", stored("x", text="new", later=1))  # as a journal may
        with pytest.raises(NotFound):
            await reader.delete(ANN, "x", NOW)


@pytest.mark.parametrize(("order", "walked"), [("asc", "xz"), ("desc", "zx")])
async def test_pages_come_to_an_end_though_two_cascades_have_one_id(
    server: StoreServer, order: str, walked: str
) -> None:
    add(server, "a", stored("x"), stored("z", later=2))
    add(server, "b", stored("x", later=1))
    async with reading(server.url) as reader:
        found, after = "", ""
        for _ in range(9):
            query = f"order={order}&limit=1{after}"
            page = await reader.page(ANN, read_listing(query.encode()))
            found += "".join(ids(page))
            if not page.has_more:
                break
            after = f"&after={found[-1]}"
        assert found == walked


async def test_a_filter_looks_at_so_many_and_says_where_to_go_on(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEP", 3)
    monkeypatch.setattr(module, "MOST_LOOKED_AT", 6)
    add(server, "a", *(stored(f"c{n}", later=n, metadata={"n": str(n // 7)}) for n in range(9)))
    async with reading(server.url) as reader:
        with pytest.raises(RequestError) as refused:
            await reader.page(ANN, read_listing(b"metadata[n]=1"))
        assert "after=c5" in refused.value.message
        assert refused.value.param == "after"
        page = await reader.page(ANN, read_listing(b"metadata[n]=1&after=c5"))
        assert (ids(page), page.has_more) == (["c7", "c8"], False)
        page = await reader.page(ANN, read_listing(b"metadata[n]=0&limit=100"))
        assert (ids(page), page.has_more) == ([f"c{n}" for n in range(6)], True)
        page = await reader.page(ANN, read_listing(b"metadata[n]=0&limit=3"))
        assert (ids(page), page.has_more) == (["c0", "c1", "c2"], True)
        both = read_listing(b"metadata[n]=1&metadata[other]=1&after=c6")
        assert ids(await reader.page(ANN, both)) == []


async def test_a_page_ends_before_it_is_too_large(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_BYTES", 2500)
    add(server, "a", *(stored(f"c{n}", later=n, text="x" * 1000) for n in range(5)))
    add(server, "a", stored("large", later=9, text="x" * 9000))
    async with reading(server.url) as reader:
        page = await reader.page(ANN, read_listing(b""))
        assert (ids(page), page.has_more) == (["c0", "c1"], True)
        page = await reader.page(ANN, read_listing(b"after=c4"))
        assert (ids(page), page.has_more) == (["large"], False)


async def test_what_goes_while_it_is_read_is_not_there(server: StoreServer) -> None:
    add(server, "a", stored("x"), stored("y", later=1))
    heads, answers, requests, *_ = completion_keys("a")
    with server.client() as client:
        client.hdel(answers, "ann/x")
        client.hdel(requests, "ann/x")
    async with reading(server.url) as reader:
        assert ids(await reader.page(ANN, read_listing(b""))) == ["y"]
        for attempt in (reader.completion, reader.messages):
            with pytest.raises(NotFound):
                await attempt(ANN, "x")
        with server.client() as client:
            client.hdel(heads, "ann/x")
        assert ids(await reader.page(ANN, read_listing(b""))) == ["y"]


async def test_sealed_completions_are_read_with_their_key_alone(server: StoreServer) -> None:
    key, other = (Sealer([Fernet.generate_key().decode()]) for _ in range(2))
    add(server, "a", stored("x", metadata={"a": "1"}, safekeeping=Safekeeping(sealer=key)))
    with server.client() as client:
        for heads in completion_keys("a")[:3]:
            (value,) = client.hvals(heads)
            assert b"Paris" not in value
            assert b"Capital" not in value
    async with reading(server.url, key) as reader:
        found = json.loads(bytes(await reader.completion(ANN, "x")))
        assert found["choices"][0]["message"]["content"] == "Paris."
        assert ids(await reader.page(ANN, read_listing(b"metadata[a]=1"))) == ["x"]
        ((message_id, _),) = await reader.messages(ANN, "x")
        assert message_id == "x-0"
        await reader.attach(ANN, "x", {"a": "2"}, lambda _: Safekeeping(sealer=key))
        assert ids(await reader.page(ANN, read_listing(b"metadata[a]=2"))) == ["x"]
    for keys in (None, other):
        async with reading(server.url, keys) as reader:
            with pytest.raises(Unreadable):
                await reader.completion(ANN, "x")
            with pytest.raises(Unreadable):
                await reader.page(ANN, read_listing(b""))


async def test_metadata_that_cannot_be_redacted_is_refused(server: StoreServer) -> None:
    def broken(_: str) -> str:
        raise ValueError

    add(server, "a", stored("x", metadata={"a": "1"}))
    async with reading(server.url) as reader:
        keeper = Safekeeping(Redactor("mine", broken))
        with pytest.raises(RequestError) as refused:
            await reader.attach(ANN, "x", {"a": "2"}, lambda _: keeper)
        assert refused.value.param == "metadata"
        assert ids(await reader.page(ANN, read_listing(b"metadata[a]=1"))) == ["x"]


async def test_an_update_that_others_overtake_is_tried_again(server: StoreServer) -> None:
    add(server, "a", stored("x"))
    overtaken: list[int] = []

    def keeper(_: str) -> Safekeeping:
        """Between the reading and the writing, a newer completion takes the place, twice."""
        if len(overtaken) < most:
            overtaken.append(1)
            add(server, "a", stored("x", later=len(overtaken), text="newer"))
        return IN_CLEAR

    async with reading(server.url) as reader:
        most = 2
        await reader.attach(ANN, "x", {"a": "1"}, keeper)
        found = json.loads(bytes(await reader.completion(ANN, "x")))
        assert (found["metadata"], len(overtaken)) == ({"a": "1"}, 2)
        most = 100
        with pytest.raises(StoreUnavailable):
            await reader.attach(ANN, "x", {"a": "2"}, keeper)


async def test_without_a_store_reading_says_so() -> None:
    async def failures(reader: StoredReader) -> list[type[GatewayError]]:
        found = []
        for attempt in (
            reader.page(ANN, read_listing(b"")),
            reader.completion(ANN, "x"),
            reader.messages(ANN, "x"),
            reader.attach(ANN, "x", {}, lambda _: IN_CLEAR),
            reader.delete(ANN, "x", NOW),
        ):
            with pytest.raises(GatewayError) as failed:
                await attempt
            found.append(type(failed.value))
        return found

    told: list[tuple[str, Trouble]] = []
    without = stored_reader(None, None, lambda *failure: told.append(failure))
    assert await failures(without) == [StoreUnavailable] * 5
    assert told == []
    url = parse_store_url(f"redis://127.0.0.1:{free_port()}/0")
    reader = stored_reader(url, None, lambda *failure: told.append(failure))
    assert await failures(reader) == [StoreUnavailable] * 5
    await reader.close()
    assert len(told) == 5
    kind, trouble = told[0]
    assert kind.startswith("ConnectionError")
    assert trouble.place.startswith("127.0.0.1:")


async def test_what_a_later_release_says_of_a_stored_completion_is_left_out(
    server: StoreServer,
) -> None:
    add(server, "a", stored("x"))
    with server.client() as client:
        for key in completion_keys("a")[:3]:
            (value,) = client.hvals(key)
            client.hset(key, "ann/x", value.replace(b"{", b'{"later":{"a":[1]},', 1))
    async with reading(server.url) as reader:
        found = json.loads(bytes(await reader.completion(ANN, "x")))
        assert (found["id"], "later" in found) == ("x", False)
        assert len(await reader.messages(ANN, "x")) == 1
