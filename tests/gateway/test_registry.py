"""What a gateway does with a real store: reads it, goes on without it, and says how it stands."""

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import registry
from gateway.app import create_ops_app
from gateway.stores.generation_store import SavedGenerations
from gateway.stores.redis_keys import generations_key, replicas_key
from gateway.telemetry.log import new_log
from routing.rollout_file import policy_version
from routing.tally import Heartbeat, heartbeat_from_document
from tests.fakes.generations import generation, rollout, state
from tests.fakes.script import Until, Words, finish
from tests.fakes.serving import (
    Stage,
    cascade_document,
    closed_port_url,
    load_gateway,
    serving,
    stage,
    wait_until,
)
from tests.fakes.upstream import Reply, ScriptedModel
from tests.fakes.valkey import StoreServer, store_server

KEY, REPLICAS = generations_key("assistant"), replicas_key("assistant")
CASCADE: dict[str, Any] = {"objective": None, "audit": {"complete_drafts": 0}}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times a second, so that no test waits for long."""
    monkeypatch.setattr(registry, "READ_SECONDS", 0.1)


@pytest.fixture
def store(shared: StoreServer) -> StoreServer:
    if shared.process is None:
        shared.start()
    with shared.client() as client:
        client.flushall()
    return shared


@contextmanager
def gateway(folder: Path, url: str) -> Iterator[Stage]:
    with stage(folder, cascade=CASCADE, settings={"redis_url": url}) as scene:
        yield scene


def put(store: StoreServer, document: bytes) -> None:
    with store.client() as client:
        client.set(KEY, document)


def heartbeats(store: StoreServer) -> list[Heartbeat]:
    with store.client() as client:
        found: Any = client.hvals(REPLICAS)
    return [heartbeat_from_document(json.loads(each)) for each in found]


def version_at(scene: Stage) -> str:
    version: str = scene.gateway.context.served["assistant"].standing.version
    return version


def wait_for(scene: Stage, version: str) -> None:
    wait_until(lambda: version_at(scene) == version)


def listening(scene: Stage) -> io.BytesIO:
    """What the gateway says from now on."""
    written = io.BytesIO()
    scene.gateway.context.observer.log = new_log("info", written)
    return written


def events(written: io.BytesIO) -> list[str]:
    told = [json.loads(line)["event"] for line in written.getvalue().splitlines()]
    return [event for event in told if event.startswith(("registry", "generations"))]


ELSEWHERE = "http://elsewhere"


def test_what_is_in_force_is_known_before_the_gateway_is_ready(
    store: StoreServer, tmp_path: Path
) -> None:
    put(store, state(3, generation(1, ELSEWHERE)))
    with gateway(tmp_path, store.url) as scene:  # its lifespan has begun, and no more
        assert version_at(scene) == "student-g1"
        assert scene.client.get("/readyz").json() == {"status": "ready"}


async def test_a_start_does_not_wait_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that takes connections and says nothing is worse than one that is away."""
    monkeypatch.setattr(registry, "START_SECONDS", 0.1)
    monkeypatch.setattr(registry, "END_SECONDS", 0.1)
    document = cascade_document("http://student", "http://teacher")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        built = load_gateway(tmp_path, document, {"redis_url": url})
        began = time.monotonic()
        async with built.registry.running():
            assert 0.1 <= time.monotonic() - began < 0.5
            assert not built.context.is_starting
        assert time.monotonic() - began < 1


async def test_a_gateway_that_does_not_know_yet_is_not_ready(tmp_path: Path) -> None:
    document = cascade_document("http://student", "http://teacher")
    built = load_gateway(tmp_path, document, {"redis_url": "redis://127.0.0.1:1/0"})
    transport = httpx.ASGITransport(create_ops_app(built))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.get("/readyz")
    assert (response.status_code, response.json()) == (503, {"status": "starting"})


def test_a_replica_says_which_revision_is_in_force_and_what_is_under_way(
    store: StoreServer, tmp_path: Path
) -> None:
    goes_on = threading.Event()
    with gateway(tmp_path, store.url) as scene, ThreadPoolExecutor(1) as pool:
        assert [each.revision for each in heartbeats(store)] == [0]
        scene.student.reply = Reply(steps=[Words(["w "] * 20), Until(goes_on), *finish()])
        answer = pool.submit(scene.ask, stream=True)
        wait_until(lambda: scene.student.requests)
        put(store, state(3, generation(1, ELSEWHERE)))
        wait_until(lambda: heartbeats(store)[0].revision == 3)
        assert heartbeats(store)[0].open == {"student-1": 1, "student-g1": 0}
        goes_on.set()
        assert answer.result().status_code == 200
        wait_until(lambda: heartbeats(store)[0].open == {"student-g1": 0})
    assert heartbeats(store) == []  # it counted nothing that anybody may want


def test_what_a_replica_counted_stays_when_it_is_gone(store: StoreServer, tmp_path: Path) -> None:
    candidate = ScriptedModel()
    with serving(candidate) as url:
        put(store, state(3, None, rollout(generation(2, url))))
        with gateway(tmp_path, store.url) as scene:
            scene.ask()
            wait_until(lambda: heartbeats(store)[0].tallies.candidate.drafts == 1)
    (left,) = heartbeats(store)
    assert (left.rollout, left.tallies.candidate.drafts) == ("r-1", 1)


def test_a_state_for_another_student_never_serves(store: StoreServer, tmp_path: Path) -> None:
    candidate = ScriptedModel()
    with serving(candidate) as url, gateway(tmp_path, store.url) as scene:
        stale = generation(2, url, student_version="student-1")
        put(store, state(3, None, rollout(stale)))
        wait_until(lambda: heartbeats(store)[0].refused is not None)
        assert scene.ask().headers["x-understudy-policy"] == "uncalibrated"
        assert candidate.requests == []
        assert scene.metric("understudy_generations_refused", cascade="assistant") == 1
        assert heartbeats(store)[0].revision == 0


def test_an_outage_changes_nothing_and_is_told_twice(store: StoreServer, tmp_path: Path) -> None:
    student = ScriptedModel()
    with serving(student) as url, gateway(tmp_path, store.url) as scene:
        put(store, state(3, generation(1, url)))
        wait_for(scene, "student-g1")
        written = listening(scene)
        store.stop()
        wait_until(lambda: events(written))
        for _ in range(3):
            assert scene.ask().elapsed.total_seconds() < 1
        age = "understudy_generations_read_age_seconds"
        wait_until(lambda: scene.metric(age, cascade="assistant") > 0.5)
        assert len(student.requests) == 3
        store.start()
        wait_until(lambda: "registry_back" in events(written))
        assert events(written) == ["registry_away", "registry_back"]
        assert scene.metric(age, cascade="assistant") < 0.5


def test_a_restart_while_the_store_is_away_keeps_the_generation(
    store: StoreServer, tmp_path: Path
) -> None:
    student = ScriptedModel()
    with serving(student) as url:
        put(store, state(3, generation(1, url)))
        with gateway(tmp_path, store.url):
            pass
        saved = SavedGenerations(tmp_path / "state")
        wait_until(lambda: saved.read("assistant"))
        with gateway(tmp_path, closed_port_url().replace("http", "redis")) as scene:
            response = scene.ask()
            policy = generation(1, url)["policy"]
            assert response.headers["x-understudy-policy"] == policy_version(policy)
            assert len(student.requests) == 1
            steps = "understudy_rollout_steps_total"
            assert scene.metric(steps, cascade="assistant", action="promoted") == 0


def test_an_emptied_store_says_nothing(store: StoreServer, tmp_path: Path) -> None:
    put(store, state(3, generation(1, ELSEWHERE)))
    with gateway(tmp_path, store.url) as scene:
        written = listening(scene)
        with store.client() as client:
            client.flushall()
        wait_until(lambda: events(written))
        wait_until(lambda: heartbeats(store))
        assert version_at(scene) == "student-g1"
        put(store, state(1, generation(2, ELSEWHERE)))  # whoever writes next begins anew
        wait_for(scene, "student-g2")
        wait_until(lambda: len(events(written)) == 3)
        with store.client() as client:
            client.flushall()
        wait_until(lambda: len(events(written)) == 4)
        lost, found = "generations_lost", "generations_found"
        assert events(written) == [lost, found, "generations", lost]


def test_an_older_state_is_followed_and_the_later_one_kept(
    store: StoreServer, tmp_path: Path
) -> None:
    later, saved = state(3, generation(2, ELSEWHERE)), SavedGenerations(tmp_path / "state")
    put(store, later)
    with gateway(tmp_path, store.url) as scene:
        wait_until(lambda: saved.read("assistant") == later)
        put(store, state(1, generation(1, ELSEWHERE)))  # as a store has it that was restored
        wait_for(scene, "student-g1")
        wait_until(lambda: saved.read("assistant") != later)
    assert saved.later_path_of("assistant").read_bytes() == later


def test_a_state_that_is_lost_is_shown_until_it_is_put_back(
    store: StoreServer, tmp_path: Path
) -> None:
    refused = "understudy_generations_refused"
    put(store, state(3, generation(1, ELSEWHERE)))
    with gateway(tmp_path, store.url) as scene:
        written = listening(scene)

        def is_shown() -> bool:
            return scene.metric(refused, cascade="assistant") == 1

        with store.client() as client:
            client.delete(KEY)
        wait_until(is_shown)
        saved = SavedGenerations(tmp_path / "state").read("assistant")
        assert saved is not None
        put(store, saved)
        wait_until(lambda: not is_shown())
        put(store, b"{")
        wait_until(is_shown)
        with store.client() as client:
            client.delete(KEY)
        wait_until(lambda: events(written).count("generations_lost") == 2)
        put(store, b"{")  # the one that was refused before
        wait_until(lambda: events(written).count("generations_found") == 2)
        assert is_shown()


def test_a_saved_state_that_is_no_use_does_not_keep_a_gateway_from_starting(
    store: StoreServer, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    SavedGenerations(tmp_path / "state").write("assistant", b"{")
    put(store, state(3, generation(1, ELSEWHERE)))
    with gateway(tmp_path, store.url) as scene:
        assert version_at(scene) == "student-g1"
    read = SavedGenerations(tmp_path / "state").read("assistant")
    assert read == state(3, generation(1, ELSEWHERE))


def test_a_state_that_cannot_be_saved_is_in_force_all_the_same(
    store: StoreServer, tmp_path: Path
) -> None:
    (tmp_path / "state" / "generations-assistant.json").mkdir(parents=True)
    put(store, state(3, generation(1, ELSEWHERE)))
    with gateway(tmp_path, store.url) as scene:
        assert version_at(scene) == "student-g1"
        assert [each.revision for each in heartbeats(store)] == [3]
    assert list((tmp_path / "state").glob("*.tmp")) == []


def test_what_could_not_be_saved_is_tried_again(store: StoreServer, tmp_path: Path) -> None:
    """An older file would be gone by after a restart without the store."""
    place = tmp_path / "state" / "generations-assistant.json"
    with gateway(tmp_path, store.url) as scene:
        written = listening(scene)
        place.mkdir()
        put(store, state(3, generation(1, ELSEWHERE)))
        wait_until(lambda: "generations_not_saved" in events(written))
        place.rmdir()
        wait_until(place.exists)
        assert place.read_bytes() == state(3, generation(1, ELSEWHERE))
        assert events(written).count("generations_not_saved") == 1


def test_without_a_store_there_are_no_generations(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    saved = SavedGenerations(tmp_path / "state")
    saved.write("assistant", state(3, generation(1, ELSEWHERE)))
    with stage(tmp_path, cascade=CASCADE) as scene:
        assert version_at(scene) == "student-1"
        shown = scene.gateway.context.observer.metrics.exposition()
        assert b'understudy_generations_read_age_seconds{cascade="assistant"}' not in shown
