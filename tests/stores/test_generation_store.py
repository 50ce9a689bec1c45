from pathlib import Path

import pytest

from gateway.stores.generation_store import GenerationStore, SavedGenerations
from gateway.stores.redis_keys import generations_key, replicas_key
from gateway.stores.store import StoreFailed
from gateway.stores.store_url import parse_store_url
from tests.fakes.valkey import StoreServer


async def test_a_state_is_read_as_it_was_written_and_a_heartbeat_there(store: StoreServer) -> None:
    there = GenerationStore(parse_store_url(store.url))
    assert await there.read("assistant") is None
    with store.client() as client:
        client.set(generations_key("assistant"), b"\xffstate")
        assert await there.read("assistant") == b"\xffstate"
        assert await there.read("other") is None
        for heartbeat in (b"first", b"second"):
            await there.tell("assistant", "replica-1", heartbeat)
        assert client.hgetall(replicas_key("assistant")) == {b"replica-1": b"second"}
        await there.forget("assistant", "replica-1")
        assert client.exists(replicas_key("assistant")) == 0
    await there.close()


async def test_a_store_that_is_away_has_failed_and_is_found_again(store: StoreServer) -> None:
    there = GenerationStore(parse_store_url(store.url))
    await there.tell("assistant", "replica-1", b"first")
    store.stop()
    with pytest.raises(StoreFailed):
        await there.read("assistant")
    store.start()
    assert await there.read("assistant") is None
    await there.close()


def test_a_state_is_saved_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    saved = SavedGenerations(tmp_path)
    assert saved.read("assistant") is None
    for state in (b"a longer one", b"short"):
        saved.write("assistant", state)
        assert saved.read("assistant") == state
    assert saved.read("other") is None
    assert [path.name for path in tmp_path.iterdir()] == ["generations-assistant.json"]


def test_a_state_that_cannot_be_saved_leaves_the_one_before(tmp_path: Path) -> None:
    saved = SavedGenerations(tmp_path)
    saved.path_of("assistant").mkdir()
    with pytest.raises(OSError, match="generations-assistant"):
        saved.write("assistant", b"state")
    assert [path.name for path in tmp_path.iterdir()] == ["generations-assistant.json"]
