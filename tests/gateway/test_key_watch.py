"""Keys that change while a gateway runs: who gets in, who no longer does, and what goes on."""

import asyncio
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import key_watch
from gateway.errors import KeysNotKnownYet, Unauthorized
from gateway.key_watch import KeyWatch
from gateway.keys import Keys, Tenant
from gateway.stores.redis_keys import KEYS_KEY, KEYS_REVISION
from gateway.telemetry.observer import Observer
from tests.fakes.script import Until, Words, finish
from tests.fakes.serving import Stage, cascade_document, load_gateway, stage, wait_until
from tests.fakes.upstream import Reply
from tests.fakes.valkey import StoreServer, store_server


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty times a second, so that no test waits for long."""
    monkeypatch.setattr(key_watch, "READ_SECONDS", 0.02)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


def entry(name: str) -> dict[str, str]:
    return {"name": name, "sha256": hashlib.sha256(f"key-of-{name}".encode()).hexdigest()}


def write(path: Path, *names: str) -> Path:
    draft = path.with_name("draft")
    draft.write_text(yaml.safe_dump({"keys": [entry(name) for name in names]}))
    return draft.rename(path)


def put(server: StoreServer, *names: str) -> None:
    with server.client() as client, client.pipeline(transaction=True) as steps:
        steps.hincrby(KEYS_KEY, KEYS_REVISION, 1)
        for name in names:
            steps.hset(KEYS_KEY, name, json.dumps(entry(name)))
        steps.execute()


@contextmanager
def gateway(folder: Path, **settings: Any) -> Iterator[Stage]:
    with stage(folder, settings=settings) as scene:
        yield scene


def status(scene: Stage, name: str) -> int:
    headers = {"authorization": f"Bearer key-of-{name}"}
    return scene.client.get("/v1/models", headers=headers).status_code


def test_a_key_in_the_file_comes_and_goes_and_an_open_stream_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "keys.yaml", "ann")
    goes_on = threading.Event()
    with gateway(tmp_path, keys_file=path) as scene, ThreadPoolExecutor(1) as pool:
        scene.student.reply = Reply(steps=[Words(["w "] * 20), Until(goes_on), *finish()])
        scene.client.headers["authorization"] = "Bearer key-of-ann"
        answer = pool.submit(scene.ask, stream=True)
        wait_until(lambda: scene.student.requests)
        write(path, "bob")
        wait_until(lambda: status(scene, "ann") == 401)
        assert status(scene, "bob") == 200
        goes_on.set()
        assert answer.result(10).text.endswith("data: [DONE]\n\n")
        assert scene.ask().status_code == 401


def test_keys_in_redis_come_and_go_beside_those_of_the_file(
    tmp_path: Path, server: StoreServer
) -> None:
    path = write(tmp_path / "keys.yaml", "ann")
    put(server, "bob")
    with gateway(tmp_path, keys_file=path, keys_in_redis=True, redis_url=server.url) as scene:
        assert [status(scene, name) for name in ("ann", "bob", "eve")] == [200, 200, 401]
        put(server, "eve")
        wait_until(lambda: status(scene, "eve") == 200)
        with server.client() as client:
            client.hdel(KEYS_KEY, "bob")
        wait_until(lambda: status(scene, "bob") == 401)
        assert [status(scene, name) for name in ("ann", "eve")] == [200, 200]


def test_a_gateway_whose_redis_holds_no_keys_lets_nobody_in(
    tmp_path: Path, server: StoreServer
) -> None:
    with server.client() as client:
        client.flushall()
    with gateway(tmp_path, keys_in_redis=True, redis_url=server.url) as scene:
        assert scene.client.get("/v1/models").status_code == 401
        assert scene.ask().status_code == 401
        assert status(scene, "ann") == 401
        put(server, "ann")
        wait_until(lambda: status(scene, "ann") == 200)


def test_while_redis_was_never_there_a_strange_key_is_told_to_come_again(tmp_path: Path) -> None:
    path = write(tmp_path / "keys.yaml", "ann")
    url = "redis://127.0.0.1:1/0"
    with gateway(tmp_path, keys_file=path, keys_in_redis=True, redis_url=url) as scene:
        assert status(scene, "ann") == 200
        response = scene.client.get("/v1/models", headers={"x-api-key": "key-of-bob"})
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        assert response.json()["error"]["code"] == "keys_not_known_yet"
        assert scene.client.get("/v1/models").status_code == 401


async def test_a_start_does_not_wait_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that takes connections and says nothing is worse than one that is away."""
    monkeypatch.setattr(key_watch, "START_SECONDS", 0.1)
    document = cascade_document("http://student", "http://teacher")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        built = load_gateway(tmp_path, document, {"redis_url": url, "keys_in_redis": True})
        began = time.monotonic()
        async with built.keys.running():
            await built.keys.wait_known()
            assert 0.1 <= time.monotonic() - began < 0.5
        assert time.monotonic() - began < 1


class Source:
    """Keys that the test sets, and says when they are read."""

    def __init__(self, *tenants: Tenant) -> None:
        self.tenants: Mapping[bytes, Tenant] = {digest(each.key): each for each in tenants}
        self.is_known = False
        self.fails = 0
        self.looks = 0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def look(self) -> None:
        self.looks += 1
        await self.may_go_on.wait()
        if self.fails:
            self.fails -= 1
            raise RuntimeError
        self.is_known = True

    async def close(self) -> None:
        pass


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


@pytest.fixture
def observer(tmp_path: Path) -> Observer:
    document = cascade_document("http://student", "http://teacher")
    return load_gateway(tmp_path, document, {"log_level": "error"}).context.observer


async def until(is_true: Any) -> None:
    async with asyncio.timeout(5):
        while not is_true():  # noqa: ASYNC110 - what it waits for sets no event
            await asyncio.sleep(0)


async def test_a_slow_source_does_not_hold_up_the_other(observer: Observer) -> None:
    slow, quick = Source(), Source(Tenant("ann", key="ann"))
    slow.may_go_on.clear()
    keys = Keys({}, is_open=False)
    async with KeyWatch(keys, [slow, quick], observer).running():
        await until(lambda: quick.looks > 1)
        assert keys.tenant(b"Bearer ann") == Tenant("ann", key="ann")
        with pytest.raises(KeysNotKnownYet):
            keys.tenant(b"Bearer bob")
        slow.may_go_on.set()
        await until(lambda: not keys.is_waiting)
        with pytest.raises(Unauthorized):
            keys.tenant(b"Bearer bob")


async def test_a_bug_in_a_source_does_not_end_the_watch(observer: Observer) -> None:
    source = Source(Tenant("ann", key="ann"))
    source.fails = 2
    watch = KeyWatch(keys := Keys({}, is_open=False), [source], observer)
    async with watch.running():
        await watch.wait_known()
        await until(lambda: source.looks > 2)
    assert not keys.is_waiting


async def test_of_two_keys_of_one_name_and_of_one_key_twice_the_first_source_has_it(
    observer: Observer,
) -> None:
    first = Source(Tenant("file", key="ann"))
    second = Source()
    second.tenants = {
        digest("other"): Tenant("redis", key="ann"),
        digest("ann"): Tenant("redis", key="bob"),
        digest("eve"): Tenant("redis", key="eve"),
    }
    keys = Keys({}, is_open=False)
    KeyWatch(keys, [first, second], observer)
    assert keys.tenants == {
        digest("ann"): Tenant("file", key="ann"),
        digest("eve"): Tenant("redis", key="eve"),
    }
