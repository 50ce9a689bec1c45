"""The keys file and Redis, looked at by hand: what is taken up, and what changes nothing."""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway import key_sources
from gateway.key_entries import load_keys
from gateway.key_sources import FileKeys, StoredKeys
from gateway.ledger import Ledger
from gateway.stores.key_store import KeyStore, SavedKeys
from gateway.stores.redis_keys import KEYS_KEY, KEYS_REVISION
from gateway.stores.store_url import parse_store_url
from gateway.telemetry.log import new_log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.observer import Observer
from tests.fakes.valkey import StoreServer, cluster, store_server


def sha256(name: str) -> str:
    return hashlib.sha256(f"key-of-{name}".encode()).hexdigest()


def document(*names: str) -> str:
    return "keys:" + ("".join(f"\n- {{name: {n}, sha256: '{sha256(n)}'}}" for n in names) or " []")


class Listener:
    """What is told, and a clock that stands still."""

    def __init__(self) -> None:
        self._written = io.BytesIO()
        self.metrics = Metrics(version="0", calibrated={})
        log = new_log("info", self._written)
        self.observer = Observer(self.metrics, log, Ledger("here", lambda: 0.0))
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    def told(self) -> list[dict[str, Any]]:
        """What was logged since the last time somebody asked."""
        lines = [json.loads(line) for line in self._written.getvalue().splitlines()]
        self._written.seek(0)
        self._written.truncate()
        return lines

    def events(self) -> list[str]:
        return [line["event"] for line in self.told()]

    def metric(self, name: str, source: str) -> float | None:
        found: float | None = self.metrics.registry.get_sample_value(name, {"source": source})
        return found


@pytest.fixture
def listener() -> Listener:
    return Listener()


def names(source: FileKeys | StoredKeys) -> list[str]:
    return sorted(tenant.key for tenant in source.tenants.values())


# The file.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    path.write_text(document("ann"))
    return path


@pytest.fixture
def file(path: Path, listener: Listener) -> FileKeys:
    return FileKeys(path, load_keys(path).tenants, listener.observer, listener.clock)


async def test_a_changed_file_is_taken_up(file: FileKeys, path: Path, listener: Listener) -> None:
    await file.look()
    path.write_text(document("bob", "eve"))
    await file.look()
    assert names(file) == ["bob", "eve"]
    first, second = listener.told()
    assert (first["event"], first["source"], first["added"]) == ("keys", "file", ["ann"])
    assert (second["added"], second["removed"]) == (["bob", "eve"], ["ann"])
    assert listener.metric("understudy_keys", "file") == 2


async def test_a_file_of_the_same_size_and_time_is_taken_up(file: FileKeys, path: Path) -> None:
    await file.look()
    before = path.stat()
    path.write_text(document("bob"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    await file.look()
    assert names(file) == ["bob"]


async def test_a_mounted_secret_that_is_swapped_is_taken_up(
    tmp_path: Path, listener: Listener
) -> None:
    """Kubernetes writes a new folder, and then renames a link to it over the old one."""
    mount = tmp_path / "mount"
    for number, name in enumerate(("ann", "bob")):
        (mount / f"..{number}").mkdir(parents=True)
        (mount / f"..{number}" / "keys.yaml").write_text(document(name))
    (mount / "..data").symlink_to("..0")
    path = mount / "keys.yaml"
    path.symlink_to("..data/keys.yaml")
    file = FileKeys(path, load_keys(path).tenants, listener.observer, listener.clock)
    await file.look()
    assert names(file) == ["ann"]
    (mount / "..data_tmp").symlink_to("..1")
    (mount / "..data_tmp").rename(mount / "..data")
    await file.look()
    assert names(file) == ["bob"]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("", "must hold keys and values"),
        ("keys:", "keys"),
        ("keys: [", "not valid YAML"),
        (document("bob") + "\n- {name: bob, sha256: 'x'}", "sha256"),
        (None, "cannot be read"),
    ],
)
async def test_a_broken_file_changes_nothing_and_is_told_once(
    file: FileKeys, path: Path, listener: Listener, broken: str | None, why: str
) -> None:
    await file.look()
    listener.told()
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    listener.now += 5
    for _ in range(2):
        await file.look()
    assert names(file) == ["ann"]
    (told,) = listener.told()
    assert told["event"] == "keys_refused"
    assert why in told["why"]
    assert listener.metric("understudy_keys_read_failures_total", "file") == 2
    assert listener.metric("understudy_keys_read_age_seconds", "file") == 5
    path.write_text(document("ann", "bob"))
    await file.look()
    assert names(file) == ["ann", "bob"]
    assert listener.events() == ["keys_back", "keys"]
    assert listener.metric("understudy_keys_read_age_seconds", "file") == 0


async def test_a_file_that_is_broken_at_first_look_leaves_the_keys_of_the_start(
    file: FileKeys, path: Path
) -> None:
    path.write_text("keys: [")
    await file.look()
    assert names(file) == ["ann"]


async def test_a_list_without_a_key_is_nobody(file: FileKeys, path: Path) -> None:
    path.write_text("keys: []")
    await file.look()
    assert names(file) == []


async def test_the_order_of_the_file_is_no_news(path: Path, listener: Listener) -> None:
    path.write_text(document("ann", "bob"))
    file = FileKeys(path, load_keys(path).tenants, listener.observer, listener.clock)
    path.write_text("# ours\n" + document("bob", "ann"))
    await file.look()
    assert listener.events() == ["keys"]


# Redis.


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def server(shared: StoreServer) -> StoreServer:
    if shared.process is None:
        shared.start()
    with shared.client() as client:
        client.flushall()
    return shared


def put(server: StoreServer, *names: str, revision: int, **more: str) -> None:
    """Have these keys and no others in the store."""
    entries = {name: json.dumps({"name": name, "sha256": sha256(name)}) for name in names}
    with server.client() as client, client.pipeline(transaction=True) as steps:
        steps.delete(KEYS_KEY)
        steps.hset(KEYS_KEY, mapping={**entries, **more, KEYS_REVISION: str(revision)})
        steps.execute()


def stored(server: StoreServer, listener: Listener, folder: Path) -> StoredKeys:
    store = KeyStore(parse_store_url(server.url))
    return StoredKeys(store, SavedKeys(folder), listener.observer, listener.clock)


async def test_redis_is_read_where_it_has_changed(
    server: StoreServer, listener: Listener, tmp_path: Path
) -> None:
    keys = stored(server, listener, tmp_path)
    await keys.look()
    assert (names(keys), keys.is_known) == ([], True)
    put(server, "ann", revision=1)
    await keys.look()
    assert names(keys) == ["ann"]
    put(server, revision=2)  # the last one was revoked
    await keys.look()
    assert names(keys) == []
    assert listener.metric("understudy_keys", "redis") == 0
    await keys.close()


async def test_what_was_done_by_hand_is_seen_too(
    server: StoreServer, listener: Listener, tmp_path: Path
) -> None:
    keys = stored(server, listener, tmp_path)
    put(server, "ann", "bob", revision=1)
    await keys.look()
    with server.client() as client:
        client.hdel(KEYS_KEY, "ann")
        await keys.look()
        assert names(keys) == ["bob"]
        other = {"name": "bob", "sha256": sha256("other"), "tenant": "search"}
        client.hset(KEYS_KEY, "bob", json.dumps(other))
    await keys.look()
    listener.now += key_sources.REREAD_SECONDS
    await keys.look()
    assert [tenant.name for tenant in keys.tenants.values()] == ["search"]
    await keys.close()


async def test_a_redis_that_is_away_changes_nothing_over_a_restart_too(
    server: StoreServer, listener: Listener, tmp_path: Path
) -> None:
    put(server, "ann", revision=1)
    keys = stored(server, listener, tmp_path)
    await keys.look()
    server.stop(is_killed=True)
    listener.told()
    for _ in range(2):
        await keys.look()
    assert names(keys) == ["ann"]
    assert listener.events() == ["keys_away"]
    assert listener.metric("understudy_keys_read_failures_total", "redis") == 2
    again = stored(server, Listener(), tmp_path)
    await again.look()
    assert (names(again), again.is_known) == (["ann"], False)
    server.start()
    put(server, "bob", revision=2)
    for each in (keys, again):
        await each.look()
        assert (names(each), each.is_known) == (["bob"], True)
        await each.close()
    assert listener.events() == ["keys", "keys_back"]


async def test_a_redis_that_lost_everything_changes_nothing(
    server: StoreServer, listener: Listener, tmp_path: Path
) -> None:
    put(server, "ann", revision=7)
    keys = stored(server, listener, tmp_path)
    await keys.look()
    with server.client() as client:
        client.flushall()
    listener.told()
    for _ in range(2):
        await keys.look()
    assert names(keys) == ["ann"]
    (told,) = listener.told()
    assert told["event"] == "keys_refused"
    assert "no keys any more" in told["why"]
    again = stored(server, Listener(), tmp_path)
    await again.look()
    assert (names(again), again.is_known) == (["ann"], True)
    put(server, "bob", revision=1)
    await keys.look()
    assert names(keys) == ["bob"]
    assert listener.events() == ["keys_older", "keys", "keys_back"]
    for each in (keys, again):
        await each.close()


async def test_an_entry_that_cannot_be_read_is_no_key_and_the_others_are(
    server: StoreServer, listener: Listener, tmp_path: Path
) -> None:
    put(server, "ann", revision=1, bob="{", eve='{"name": "eve", "may_fly": true}')
    keys = stored(server, listener, tmp_path)
    await keys.look()
    assert names(keys) == ["ann"]
    refused = [line["key"] for line in listener.told() if line["event"] == "key_refused"]
    assert refused == ["bob", "eve"]
    await keys.close()


async def test_keys_that_cannot_be_saved_are_told_once_and_saved_later(
    server: StoreServer, listener: Listener, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    put(server, "ann", revision=1)
    keys = stored(server, listener, folder)
    for _ in range(2):
        await keys.look()
    assert listener.events() == ["keys", "keys_not_saved"]
    folder.mkdir()
    await keys.look()
    saved = SavedKeys(folder)
    kept = saved.read()
    assert kept is not None
    assert list(kept.entries) == ["ann"]
    assert saved.path.stat().st_mode & 0o077 == 0
    await keys.close()


def test_a_saved_file_that_cannot_be_read_is_told(listener: Listener, tmp_path: Path) -> None:
    (tmp_path / "keys.json").mkdir()
    store = KeyStore(parse_store_url("redis://127.0.0.1:1/0"))
    keys = StoredKeys(store, SavedKeys(tmp_path), listener.observer, listener.clock)
    assert names(keys) == []
    (told,) = listener.told()
    assert (told["event"], told["strerror"]) == ("keys_not_saved", "Is a directory")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"entries": 5, "revision": 1}'])
def test_a_saved_file_that_is_no_use_is_as_none(
    listener: Listener, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "keys.json").write_bytes(content)
    store = KeyStore(parse_store_url("redis://127.0.0.1:1/0"))
    keys = StoredKeys(store, SavedKeys(tmp_path), listener.observer, listener.clock)
    assert names(keys) == []


@pytest.mark.full
async def test_a_cluster_has_the_keys_in_one_place(listener: Listener, tmp_path: Path) -> None:
    with cluster(tmp_path / "cluster") as nodes:
        slot_owner = next(node for node in nodes if _takes(node, KEYS_KEY))
        put(slot_owner, "ann", revision=1)
        for number, node in enumerate(nodes):
            folder = tmp_path / str(number)
            folder.mkdir()
            keys = stored(node, listener, folder)
            await keys.look()
            assert names(keys) == ["ann"]
            await keys.close()


def _takes(node: StoreServer, key: str) -> bool:
    with node.client() as client:
        try:
            client.exists(key)
        except redis.ResponseError:  # MOVED
            return False
    return True
