import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.stores.counting import count_pairs
from gateway.stores.deletions import Deletions
from gateway.stores.redis_keys import EXPORT_GROUP, pairs_key
from gateway.stores.servers import Servers
from gateway.stores.store import Store
from gateway.stores.store_url import parse_store_url
from tests.fakes.pair_events import RememberingEvents
from tests.fakes.serving import free_port
from tests.fakes.valkey import StoreServer, server_binaries, store_server

KEY = pairs_key("a")
OPERATING = Path(__file__).resolve().parents[2] / "docs" / "operating.md"


@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreServer]:
    binary = server_binaries()[request.param]
    if binary is None:
        pytest.skip("no redis-server here: the suite ran against Valkey alone")
    with store_server(tmp_path, binary) as server:
        yield server


async def counted(url: str, *cascades: str) -> list[tuple[str, int | None, int | None]]:
    events = RememberingEvents()
    store = Store(Servers(parse_store_url(url)), Deletions(), cascades)
    await count_pairs(store, events)
    await store.close()
    assert events.failures == []
    return events.counted


def fill(server: StoreServer, count: int) -> list[bytes]:
    with server.client() as client:
        return [client.xadd(KEY, {"pair": "{}"}) for _ in range(count)]


def export(server: StoreServer, given: int, finished: int, group: str = EXPORT_GROUP) -> None:
    """Have a group be given so many entries, and acknowledge so many of these."""
    with server.client() as client:
        client.xgroup_create(KEY, group, id="0")
        if given:
            ((_, entries),) = client.xreadgroup(group, "one", {KEY: ">"}, count=given)
            for entry_id, _ in entries[:finished]:
                client.xack(KEY, group, entry_id)


async def test_a_cascade_without_pairs_has_none_and_no_export(server: StoreServer) -> None:
    assert await counted(server.url, "a", "b") == [("a", 0, None), ("b", 0, None)]


async def test_the_rights_that_are_documented_are_enough(server: StoreServer) -> None:
    fill(server, 3)
    export(server, 1, 1)
    (line,) = re.findall("^ACL SETUSER .*$", OPERATING.read_text(), re.MULTILINE)
    rights = line.replace("PASSWORD", "p").replace("+waitaof", "")  # which Redis 7.0 lacks
    with server.client() as client:
        client.execute_command(*rights.split())
    url = server.url.replace("redis://", "redis://understudy:p@")
    assert await counted(url, "a") == [("a", 3, 2)]


async def test_without_an_export_nobody_knows_what_is_unread(server: StoreServer) -> None:
    fill(server, 7)
    export(server, 5, 5, group="another")
    assert await counted(server.url, "a") == [("a", 7, None)]


async def test_an_export_that_has_just_begun_has_all_before_it(server: StoreServer) -> None:
    fill(server, 7)
    export(server, 0, 0)
    assert await counted(server.url, "a") == [("a", 7, 7)]


async def test_what_an_exporter_has_in_hand_is_in_no_export(server: StoreServer) -> None:
    fill(server, 7)
    export(server, given=5, finished=3)
    assert await counted(server.url, "a") == [("a", 7, 4)]


async def test_a_stream_that_was_exported_and_emptied_has_nothing_unread(
    server: StoreServer,
) -> None:
    fill(server, 3)
    export(server, given=3, finished=3)
    with server.client() as client:
        client.xtrim(KEY, maxlen=0, approximate=False)
    assert await counted(server.url, "a") == [("a", 0, 0)]


async def test_after_a_deletion_among_the_unread_their_number_is_unknown(
    server: StoreServer,
) -> None:
    entries = fill(server, 7)
    export(server, given=2, finished=2)
    with server.client() as client:
        client.xdel(KEY, entries[4])
    assert await counted(server.url, "a") == [("a", 6, None)]


async def test_a_store_that_is_away_makes_everything_unknown() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    assert await counted(url, "a") == [("a", None, None)]
