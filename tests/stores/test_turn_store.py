"""What replicas tell each other of turns, through a real store."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.conversations.memory import Known
from gateway.conversations.talks import Heard
from gateway.stores.redis_keys import turns_key
from gateway.stores.store import StoreFailed
from gateway.stores.store_url import parse_store_url
from gateway.stores.turn_store import PAGE, TurnStore, packed, unpacked
from routing.conversation import ID_BYTES, MOST_TOKENS, MOST_TURNS, Talk
from tests.fakes.serving import closed_port_url
from tests.fakes.valkey import StoreServer

IDS = st.binary(min_size=ID_BYTES, max_size=ID_BYTES)
COUNTS, TOKENS = st.integers(0, MOST_TURNS), st.integers(0, MOST_TOKENS)
TALKS = st.builds(Talk, COUNTS, COUNTS, COUNTS, st.integers(0, 1000), TOKENS, TOKENS)
NAMES = st.none() | IDS.filter(any)
TURNS = st.lists(st.builds(Heard, IDS, st.builds(Known, NAMES, TALKS)), max_size=4)


@given(TURNS)
def test_turns_come_out_as_they_went_in(turns: list[Heard]) -> None:
    assert list(unpacked(packed(turns))) == turns


@given(TURNS.filter(bool), st.integers(1, 40))
def test_half_a_turn_says_nothing(turns: list[Heard], cut: int) -> None:
    assert list(unpacked(packed(turns)[:-cut])) == []


def turn(number: int) -> Heard:
    return Heard(bytes([number]) * ID_BYTES, Known(None, Talk(turns=number)))


def store_of(server: StoreServer, replica: str) -> TurnStore:
    return TurnStore(parse_store_url(server.url), replica)


async def test_a_replica_reads_what_others_told_and_where_to_go_on(store: StoreServer) -> None:
    here, there = store_of(store, "here"), store_of(store, "there")
    began = b"%d" % (time.time() * 1000.0 - 60_000.0)
    empty = await here.read("assistant", began)
    assert (empty.turns, empty.last, empty.is_full) == ([], began, False)
    await there.tell("assistant", [turn(1), turn(2)])
    await here.tell("assistant", [turn(3)])
    await there.tell("coder", [turn(4)])
    page = await here.read("assistant", began)
    assert page.turns == [turn(1), turn(2)]
    assert (await here.read("assistant", page.last)).turns == []
    await there.tell("assistant", [turn(5)])
    assert (await here.read("assistant", page.last)).turns == [turn(5)]
    later = b"%d" % (time.time() * 1000.0 + 60_000.0)
    assert (await here.read("assistant", later)).turns == []
    for each in (here, there):
        await each.close()


async def test_pages_follow_each_other_and_what_is_not_understood_is_passed_over(
    store: StoreServer,
) -> None:
    here, there = store_of(store, "here"), store_of(store, "there")
    with store.client() as client:
        key = turns_key("assistant")
        client.xadd(key, {"x": "y"})
        client.xadd(key, {"replica": "z", "version": "2", "turns": packed([turn(9)])})
    for number in range(PAGE - 1):
        await there.tell("assistant", [turn(number)])
    first = await here.read("assistant", b"0")
    assert (len(first.turns), first.is_full) == (PAGE - 2, True)
    second = await here.read("assistant", first.last)
    assert (second.turns, second.is_full) == ([turn(PAGE - 2)], False)
    for each in (here, there):
        await each.close()


async def test_store_that_is_away_is_an_error_of_its_own() -> None:
    url = closed_port_url().replace("http://", "redis://")
    away = TurnStore(parse_store_url(url), "here")
    with pytest.raises(StoreFailed):
        await away.tell("assistant", [turn(1)])
    with pytest.raises(StoreFailed):
        await away.read("assistant", b"0")
    await away.close()
