"""Postings are in the books once, whatever becomes of them on their way."""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ports import StreamKind
from gateway.stores.posting import SCHEMA_VERSION, Posting, command_of, encode_posting
from gateway.stores.redis_keys import (
    LEDGER_DAYS,
    ORIGIN_DAYS,
    deletions_key,
    ledger_key,
    ledger_origin_key,
)
from routing.ledger import decode
from tests.fakes.valkey import StoreServer, store_server
from tests.stores.opening import record
from tests.stores.shipping import Shipping, shipping, stored

DAY = "2099-11-30"
DAY_SECONDS = 86_400
FIELD = "student:served:cost_pico:t"


def posting(
    number: int, amounts: dict[str, int] | None = None, origin: str = "o", day: str = DAY
) -> bytes:
    amounts = {FIELD: 1} if amounts is None else amounts
    return encode_posting(Posting(SCHEMA_VERSION, 1000.0, origin, number, day, amounts))


def apply(client: Any, *records: bytes, cascade: str = "a") -> list[Any]:
    """What the server says of each."""
    pipeline = client.pipeline(transaction=False)
    for each in records:
        command = command_of(cascade, each)
        assert not isinstance(command, Exception)
        pipeline.execute_command(*command)
    replies: list[Any] = pipeline.execute(raise_on_error=False)
    return replies


def books(server: StoreServer, cascade: str = "a", day: str = DAY) -> dict[str, int]:
    with server.client() as client:
        found: Any = client.hgetall(ledger_key(cascade, day))
    return {field.decode(): int(amount) for field, amount in found.items()}


def post(one: Shipping, *numbers: int, cascade: str = "a") -> None:
    """A posting each, with one pico-dollar and its number's bit in the tokens."""
    for number in numbers:
        data = posting(number, {FIELD: 1, "student:served:input:t": 2**number})
        assert one.journal.append(cascade, data, kind=StreamKind.LEDGER)


def is_each_once(server: StoreServer, numbers: Sequence[int], cascade: str = "a") -> bool:
    bits = sum(2**number for number in numbers)
    return books(server, cascade) == {FIELD: len(numbers), "student:served:input:t": bits}


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("lasting")) as server:
        yield server


@given(st.randoms(use_true_random=False))
def test_any_order_with_any_doubles_and_gaps_gives_the_same_books(
    lasting: StoreServer, dice: random.Random
) -> None:
    numbers = [dice.randint(1, 30) for _ in range(dice.randint(1, 60))]
    with lasting.client() as client:
        client.flushall()
        apply(client, *(posting(each, {FIELD: 1, "x:n:t": 2**each}) for each in numbers))
        assert books(lasting) == {
            FIELD: len(set(numbers)),
            "x:n:t": sum(2**each for each in set(numbers)),
        }
        origin: Any = client.hgetall(ledger_origin_key("a", "o"))
    highest = max(numbers)
    missing = {
        number
        for range_ in origin[b"missing"].decode().split()
        for first, last in [map(int, range_.split("-"))]
        for number in range(first, last + 1)
    }
    assert int(origin[b"top"]) == highest
    assert missing == set(range(1, highest)) - set(numbers)


async def test_postings_reach_the_books_and_pairs_their_stream(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store.url, tmp_path) as one:
        for number in range(1, 5):
            post(one, number)
            one.journal.append("a", record(number))
        post(one, 1, cascade="b")
        await one.rounds(3)
        assert is_each_once(store, [1, 2, 3, 4])
        assert is_each_once(store, [1], "b")
        assert stored(store.client()) == [1, 2, 3, 4]
        assert one.events.shipped == ["a"] * 4
        assert one.events.written == ["a"] * 4
        assert (one.events.postings_written, one.events.postings_shipped) == (5, 5)
        assert one.holdings.unshipped_bytes == 0


async def test_a_user_without_the_rights_of_the_ledger_ships_pairs_and_the_rest_is_named(
    store: StoreServer, tmp_path: Path
) -> None:
    """The rights of a release before the ledger."""
    rights = "on >s3cret ~understudy:* +@all -eval"
    with store.client() as client:
        client.execute_command("ACL", "SETUSER", "pairs", *rights.split())
    url = f"redis://pairs:s3cret@127.0.0.1:{store.port}/0"
    async with shipping(url, tmp_path) as one:
        post(one, 1)
        one.journal.append("a", record(1))
        await one.rounds(3)
        assert stored(store.client()) == [1]
        assert one.holdings.unshipped_bytes > 0
        assert set(one.events.failed_records) == {StreamKind.LEDGER}
    async with shipping(store.url, tmp_path) as one:
        await one.rounds(3)
        assert is_each_once(store, [1])


async def test_a_reply_that_is_lost_counts_nothing_twice(
    store: StoreServer, tmp_path: Path
) -> None:
    """The same segments once more, as after a connection that broke once the script had run."""
    async with shipping(store.url, tmp_path / "journal") as one:
        post(one, 1, 2, 3)
        shutil.copytree(one.holdings.own.path, tmp_path / "again" / "journals" / "copy")
        await one.rounds(2)
    async with shipping(store.url, tmp_path / "again") as one:
        await one.rounds(3)
        assert one.events.postings_shipped == 3
        assert is_each_once(store, [1, 2, 3])


async def test_a_store_that_is_away_for_a_while_gets_all_of_it_once(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store.url, tmp_path) as one:
        post(one, 1, 2)
        await one.rounds(2)
        store.stop(is_killed=True)
        post(one, 3, 4)
        await one.rounds(3)
        post(one, 5)
        store.start()
        await one.rounds(20)
        assert is_each_once(store, [1, 2, 3, 4, 5])


async def test_an_older_copy_of_the_store_gets_what_it_lacks_and_that_once(
    tmp_path: Path,
) -> None:
    """A posting that comes before the missing ones does not shut them out."""
    (tmp_path / "store").mkdir()
    with store_server(tmp_path / "store") as store:
        store.options = {"appendonly": "no", "save": ""}
        store.stop()
        store.start()
        async with shipping(store.url, tmp_path / "journal") as one:
            post(one, 1, 2)
            await one.rounds(2)
            with store.client() as client:
                client.save()
            post(one, 3, 4)
            await one.rounds(2)
            assert is_each_once(store, [1, 2, 3, 4])
            store.stop(is_killed=True)
            store.start()  # with what it had saved
            assert is_each_once(store, [1, 2])
            post(one, 5)
            await one.rounds(20)
            assert is_each_once(store, [1, 2, 3, 4, 5])


async def test_books_that_cannot_be_written_hold_up_no_pairs_and_wait(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.set(ledger_key("a", DAY), "no hash")
    async with shipping(store.url, tmp_path) as one:
        post(one, 1, 2)
        one.journal.append("a", record(1))
        post(one, 1, cascade="b")
        await one.rounds(3)
        assert stored(store.client()) == [1]
        assert is_each_once(store, [1], "b")
        assert set(one.events.failures) == {"ResponseError (WRONGTYPE)"}
        assert set(one.events.failed_cascades) == {"a"}
        with store.client() as client:
            client.delete(ledger_key("a", DAY))
        await one.rounds(4)
        assert is_each_once(store, [1, 2])
        assert one.holdings.unshipped_bytes == 0


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"{}", id="no posting"),
        pytest.param(posting(1, {}), id="nothing in it"),
        pytest.param(posting(1, day="yesterday"), id="no day"),
        pytest.param(
            encode_posting(Posting(SCHEMA_VERSION + 1, 0.0, "o", 1, DAY, {FIELD: 1})), id="later"
        ),
    ],
)
async def test_a_posting_that_nobody_understands_waits_and_holds_up_no_pairs(
    lasting: StoreServer, tmp_path: Path, data: bytes
) -> None:
    with lasting.client() as client:
        client.flushall()
    async with shipping(lasting.url, tmp_path) as one:
        one.journal.append("a", data, kind=StreamKind.LEDGER)
        one.journal.append("a", record(1))
        await one.rounds(3)
        assert stored(lasting.client()) == [1]
        assert set(one.events.failures) == {"ResponseError (UNREADABLE)"}
        assert one.holdings.unshipped_bytes > 0


def deny(*commands: str) -> Callable[[Any], None]:
    def set_user(client: Any) -> None:
        denied = [f"-{command}" for command in commands]
        client.execute_command("ACL", "SETUSER", "u", "reset", "on", ">p", "~understudy:*", "+@all",
                               *denied)  # fmt: skip

    return set_user


@pytest.mark.parametrize("command", ["eval", "hget", "hset", "hincrby"])
async def test_a_user_without_the_right_to_it_changes_nothing(
    lasting: StoreServer, tmp_path: Path, command: str
) -> None:
    with lasting.client() as client:
        client.flushall()
        deny(command)(client)
        url = lasting.url.replace("redis://", "redis://u:p@")
        async with shipping(url, tmp_path) as one:
            post(one, 1, 2)
            one.journal.append("a", record(1))
            await one.rounds(3)
            assert stored(lasting.client()) == [1]
            assert sum(books(lasting).values()) == 0
            deny()(client)
            await one.rounds(4)
        assert {name: each for name, each in books(lasting).items() if each} == {
            FIELD: 2,
            "student:served:input:t": 6,
        }


async def test_the_rights_that_are_documented_are_enough(
    lasting: StoreServer, tmp_path: Path
) -> None:
    root = Path(__file__).resolve().parents[2]
    (line,) = [
        each
        for each in (root / "docs/operating.md").read_text().splitlines()
        if each.startswith("ACL SETUSER")
    ]
    with lasting.client() as client:
        client.flushall()
        client.execute_command(*line.replace("PASSWORD", "p").split())
    url = lasting.url.replace("redis://", "redis://understudy:p@")
    async with shipping(url, tmp_path) as one:
        post(one, 1, 2)
        one.journal.append("a", record(1))
        await one.rounds(3)
        assert one.events.failures == []
    assert is_each_once(lasting, [1, 2])


async def test_a_full_store_takes_nothing_and_later_all_of_it(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store.url, tmp_path) as one:
        post(one, 1)
        await one.rounds(2)
        with store.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)
            post(one, 2, 3)
            await one.rounds(3)
            assert is_each_once(store, [1])
            client.config_set("maxmemory", 0)
        await one.rounds(20)
        assert is_each_once(store, [1, 2, 3])


def test_a_field_that_is_full_hands_on_to_the_one_above(store: StoreServer) -> None:
    fields = [FIELD, "baseline:measured_e12:t"]
    before = dict.fromkeys(fields, 2**63 - 2)
    with store.client() as client:
        client.hset(ledger_key("a", DAY), mapping=before)
        assert apply(client, posting(1, dict.fromkeys(fields, 10**12 - 1))) == [b"applied"]
    added = dict.fromkeys(fields, 10**12 - 1)
    expected = decode([*before.items(), *added.items()])
    assert decode(books(store).items()).amounts == expected.amounts
    assert "student:served:cost_pico_e12:t" in books(store)
    assert "baseline:measured_e24:t" in books(store)


def test_a_field_with_something_else_in_it_costs_no_other_field(store: StoreServer) -> None:
    with store.client() as client:
        client.hset(ledger_key("a", DAY), "x:n:t", "scribble")
        told, again = apply(client, *[posting(1, {FIELD: 1, "x:n:t": 1, "y:n:t": 1})] * 2)
        assert isinstance(told, Exception)
        assert again == b"known"
        assert client.hmget(ledger_key("a", DAY), FIELD, "y:n:t") == [b"1", b"1"]


def test_books_and_origins_expire(store: StoreServer) -> None:
    with store.client() as client:
        apply(client, posting(1, day="2999-12-31"))
        until: Any = client.execute_command("EXPIRETIME", ledger_key("a", "2999-12-31"))
        assert until == 32_503_680_000 + LEDGER_DAYS * DAY_SECONDS
        left: Any = client.ttl(ledger_origin_key("a", "o"))
        assert ORIGIN_DAYS * DAY_SECONDS - 10 < left <= ORIGIN_DAYS * DAY_SECONDS
        apply(client, posting(2, day="2001-01-01"))
        assert not client.exists(ledger_key("a", "2001-01-01"))


async def test_a_tenant_s_deletion_leaves_the_books_alone(
    store: StoreServer, tmp_path: Path
) -> None:
    async with shipping(store.url, tmp_path) as one:
        with store.client() as client:
            client.xadd(deletions_key("a"), {"time": "9e9", "tenant": "t"})
        post(one, 1)
        one.journal.append("a", record(1, tenant="t", time=1.0))
        await one.rounds(4)
        assert is_each_once(store, [1])
        assert stored(store.client()) == []


def test_a_day_of_a_hundred_tenants_is_small(store: StoreServer) -> None:
    """The bound of docs/decisions/0014."""
    measures = ("calls", "input", "output", "cached_input", "cost_pico", "estimated_pico")
    calls = ("student:served", "student:wasted", "teacher:served")
    words = [f"{call}:{measure}" for call in calls for measure in measures]
    words += [f"requests:{ending}" for ending in ("kept", "escalated", "degraded", "failed")]
    words += [f"baseline:{basis}" for basis in ("known", "measured", "sample", "escalations")]
    words += ["correction:up"]
    assert len(words) == 27
    dice = random.Random(1)
    amounts = {
        f"{word}:tenant-{tenant:03}": dice.randrange(10**12)
        for word in words
        for tenant in range(100)
    }
    with store.client() as client:
        apply(client, posting(1, amounts, origin="many"), cascade="many")
        assert client.memory_usage(ledger_key("many", DAY), samples=0) < 256 * 1024
