"""The books of limits in a real Redis: they say what the ones in Python say, whatever is asked."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ports import DrawFailed, Order
from gateway.stores.lease_script import MOST, command_of, drawn_of
from gateway.stores.lease_store import LeaseStore
from gateway.stores.redis_keys import LIMITS_SECONDS, limits_key
from gateway.stores.store_url import parse_store_url
from routing.lease import WINDOW_SECONDS, Ask, Books, Drawn
from routing.vocabulary import Limit
from tests.fakes.serving import free_port
from tests.fakes.valkey import StoreServer, cluster, store_server

ALL = Ask(limit=10, window=0, owed=0, needed=10, wanted=0)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("lasting")) as server:
        yield server


def draw(client: Any, asks: dict[Limit, Ask], key: str = "k") -> dict[Limit, Drawn]:
    return dict(drawn_of(asks, client.execute_command(*command_of(key, asks))))


@given(st.integers(0, 2**32))
def test_the_script_says_what_the_books_in_python_say(lasting: StoreServer, seed: int) -> None:
    dice = random.Random(seed)
    books = {limit: Books() for limit in Limit}
    with lasting.client() as client:
        client.flushall()
        window = dict.fromkeys(Limit, 0)
        for _ in range(8):
            asks = {}
            for limit in dice.sample(list(Limit), dice.randint(1, 3)):
                most = 10 ** dice.randint(0, 15)
                owed, needed, wanted = (dice.randint(-most, most) for _ in range(3))
                of = window[limit] + dice.choice([0, 0, 0, -1])
                asks[limit] = Ask(most, of, owed, max(0, needed), max(0, wanted))
            told = draw(client, asks)
            for limit, ask in asks.items():
                length, drawn = WINDOW_SECONDS[limit], told[limit]
                epoch = (drawn.window + 1) * length - drawn.seconds_left
                ours = books[limit].draw(ask, length, epoch)
                assert (ours.window, ours.granted, ours.free) == (
                    drawn.window,
                    drawn.granted,
                    drawn.free,
                )
                window[limit] = drawn.window


def test_windows_are_those_of_the_servers_clock(lasting: StoreServer) -> None:
    with lasting.client() as client:
        client.flushall()
        seconds, microseconds = client.time()
        told = draw(client, {Limit.TOKENS: ALL, Limit.SPEND: ALL})
    minute, day = told[Limit.TOKENS], told[Limit.SPEND]
    assert minute.window - seconds // 60 in (0, 1)
    end = (minute.window + 1) * 60
    assert end - minute.seconds_left == pytest.approx(seconds + microseconds / 1e6, abs=1)
    assert day.window == seconds // 86_400


@pytest.mark.parametrize("ahead", [1, 2, 1000])
def test_a_clock_that_is_set_back_gives_no_window_twice(lasting: StoreServer, ahead: int) -> None:
    with lasting.client() as client:
        client.flushall()
        today = int(client.time()[0]) // 86_400
        client.hset(limits_key("k"), "spend", f"{today + ahead} 10")
        told = draw(client, {Limit.SPEND: ALL})[Limit.SPEND]
    if ahead == 1:
        assert (told.window, told.granted) == (today + 1, 0)
        assert told.seconds_left > 86_400
    else:  # it was wrong before
        assert (told.window, told.granted) == (today, 10)


def test_what_somebody_else_wrote_there_is_taken_for_nothing(lasting: StoreServer) -> None:
    with lasting.client() as client:
        client.flushall()
        client.hset(limits_key("k"), "requests", "what?")
        assert draw(client, {Limit.REQUESTS: ALL})[Limit.REQUESTS].granted == 10


def test_a_limit_beyond_what_a_server_counts_is_as_good_as_none(lasting: StoreServer) -> None:
    huge = Ask(10**30, 0, owed=0, needed=10**30, wanted=0)
    with lasting.client() as client:
        client.flushall()
        assert draw(client, {Limit.SPEND: huge})[Limit.SPEND].granted == MOST


def test_the_books_expire_once_nobody_draws_any_more(lasting: StoreServer) -> None:
    with lasting.client() as client:
        client.flushall()
        draw(client, {Limit.REQUESTS: ALL})
        assert 0 < client.ttl(limits_key("k")) <= LIMITS_SECONDS


def test_the_script_does_on_redis_what_it_does_on_valkey(store: StoreServer) -> None:
    with store.client() as client:
        first = draw(client, {Limit.SPEND: Ask(10, 0, owed=1, needed=3, wanted=0)})
        told = draw(client, {Limit.SPEND: ALL})[Limit.SPEND]
    assert first[Limit.SPEND].free == 6
    assert (told.granted, told.free) == (6, 0)


# --- the way there ---


async def test_orders_of_several_keys_are_booked_apart(lasting: StoreServer) -> None:
    with lasting.client() as client:
        client.flushall()
    books = LeaseStore(parse_store_url(lasting.url))
    orders = [Order(key, {Limit.SPEND: ALL}) for key in ("ann", "bob")]
    told = [*await books.draw(orders), *await books.draw(orders[:1])]
    await books.close()
    assert not any(isinstance(each, DrawFailed) for each in told)
    granted = [each[Limit.SPEND].granted for each in told if not isinstance(each, DrawFailed)]
    assert granted == [10, 10, 0]


async def test_one_key_that_is_refused_holds_up_no_other(lasting: StoreServer) -> None:
    with lasting.client() as client:
        client.flushall()
        client.set(limits_key("ann"), "no hash")
    books = LeaseStore(parse_store_url(lasting.url))
    ann, bob = await books.draw([Order(key, {Limit.TOKENS: ALL}) for key in ("ann", "bob")])
    await books.close()
    assert isinstance(ann, DrawFailed)
    assert ann.error == "ResponseError (WRONGTYPE)"
    assert not isinstance(bob, DrawFailed)


async def test_a_user_without_the_right_is_told_of_and_nothing_raised(lasting: StoreServer) -> None:
    with lasting.client() as client:
        client.execute_command("ACL", "SETUSER", "poor", "on", ">p", "~*", "+@all", "-eval")
    books = LeaseStore(parse_store_url(f"redis://poor:p@127.0.0.1:{lasting.port}/0"))
    (told,) = await books.draw([Order("ann", {Limit.TOKENS: ALL})])
    await books.close()
    assert isinstance(told, DrawFailed)
    assert told.error == "NoPermissionError"


async def test_the_documented_rights_are_enough(lasting: StoreServer) -> None:
    rights = ["+eval", "+hget", "+hset", "+expire", "+time"]
    with lasting.client() as client:
        client.flushall()
        client.execute_command("ACL", "SETUSER", "u", "on", ">p", "~understudy:*", *rights)
    books = LeaseStore(parse_store_url(f"redis://u:p@127.0.0.1:{lasting.port}/0"))
    (told,) = await books.draw([Order("ann", {Limit.TOKENS: ALL})])
    await books.close()
    assert not isinstance(told, DrawFailed), told


async def test_a_server_that_is_not_there_is_a_value_too() -> None:
    books = LeaseStore(parse_store_url(f"redis://127.0.0.1:{free_port()}/0"))
    (told,) = await books.draw([Order("ann", {Limit.TOKENS: ALL})])
    await books.close()
    assert isinstance(told, DrawFailed)
    assert told.error.startswith("ConnectionError")


async def test_in_a_cluster_each_key_is_where_its_slot_is(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    orders = [Order(f"key-{number}", dict.fromkeys(Limit, ALL)) for number in range(12)]
    with cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        books = LeaseStore(parse_store_url(nodes[0].url))
        told = await books.draw(orders)
        again = await books.draw(orders)
        await books.close()
        held = []
        for node in nodes:
            with node.client() as client:
                held.append(client.dbsize())
    assert not any(isinstance(each, DrawFailed) for each in (*told, *again))
    assert sum(held) == len(orders)
    assert all(held)
