"""What the manifests say is what the program does: the overlay `dev`, as processes of this machine.

Replicas run with exactly the command, environment and configuration that is rendered; a fake of a
kubelet asks their probes, and a fake of kube-proxy sends clients to those that are ready.
tests/deploy/mounting.py says what of a manifest is changed for that.
"""

import asyncio
import contextlib
import copy
import functools
import hashlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy import callers
from tests.deploy.callers import Callers
from tests.deploy.mounting import Here
from tests.deploy.pods import Pod
from tests.deploy.rendering import KUSTOMIZE, Manifest, render
from tests.fakes.balancer import Balancer
from tests.fakes.serving import closed_port_url, free_port, serving
from tests.fakes.upstream import ScriptedModel
from tests.fakes.valkey import StoreServer, store_server
from understudy.demo.workload import Task, generate

CASCADE = "demo"
KEY = "a key that nobody else has"
REPLICAS = 2
STREAMS, OTHERS = 24, 3
PACE = 0.1  # seconds of this machine for one of the manifests, but where all take their time
ROUNDS_IN_FULL = 2
TASKS_IN_FULL = 24
PATIENCE_SECONDS = 20.0

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="pods need addresses of their own"),
    pytest.mark.timeout(120),
]


def located(manifests: Sequence[Manifest], store_port: int, models: Sequence[str]) -> Here:
    """These manifests with what a cluster has beside them: Secrets, and addresses of Services."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    keys = {"keys": [{"name": "search-team", "sha256": digest}]}
    student, teacher = (url.removeprefix("http://") for url in models)
    return Here(
        manifests=manifests,
        services={
            "student:8000": student,
            "teacher:8000": teacher,
            "valkey:6379": f"127.0.0.1:{store_port}",
        },
        secrets={
            "gateway-keys": {"keys.yaml": yaml.safe_dump(keys)},
            "redis": {"url": "redis://valkey:6379/0"},
        },
        pace=PACE,
    )


@pytest.fixture
def dev() -> tuple[Manifest, ...]:
    return render(KUSTOMIZE / "overlays/dev")


@dataclass
class Cluster:
    """The replicas behind their Service, and where clients ask for it."""

    pods: Sequence[Pod]
    balancer: Balancer
    url: str
    pace: float

    def callers(self) -> Callers:
        return Callers(self.url, KEY, CASCADE, self.pace)

    async def start(self) -> None:
        await asyncio.gather(*(pod.start() for pod in self.pods))
        await until(lambda: len(self.balancer.pods) == len(self.pods))

    async def roll_out(self, *, has_streams: bool) -> None:
        """What a StatefulSet does when its template changes: from the highest number down.

        Streams outlast the delay: for a while nobody takes a connection any more.
        """
        for pod in reversed(self.pods):
            assert await pod.delete() == 0
            check_probes(pod)
            if has_streams:
                assert pod.statuses("readinessProbe", is_ending=True)[-1] is None
            await pod.start()

    async def end(self) -> None:
        for pod in self.pods:
            assert await pod.delete() == 0


@contextlib.asynccontextmanager
async def cluster(folder: Path, here: Here, replicas: int = REPLICAS) -> AsyncIterator[Cluster]:
    balancer, workload = Balancer(), here.one("StatefulSet", "gateway")
    pods = [Pod(workload, number, here, folder, balancer) for number in range(replicas)]
    async with balancer.serving() as url, contextlib.AsyncExitStack() as stack:
        for pod in pods:
            stack.push_async_callback(pod.close)
        yield Cluster(pods, balancer, url, here.pace)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreServer]:
    (tmp_path / "store").mkdir()
    with store_server(tmp_path / "store") as server:
        yield server


@contextlib.contextmanager
def scripted_models(pace: float) -> Iterator[tuple[str, str]]:
    """Student and teacher, who do as the callers' questions say."""
    student, teacher = ScriptedModel(), ScriptedModel()
    student.reply = functools.partial(callers.student, pace)
    teacher.reply = functools.partial(callers.teacher, pace)
    with serving(student) as student_url, serving(teacher) as teacher_url:
        yield student_url, teacher_url


async def until(is_true: Callable[[], object]) -> None:
    """Wait for what happens in other processes."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_true():  # noqa: ASYNC110  # they set no event
            await asyncio.sleep(0.01)


def check_probes(pod: Pod) -> None:
    """Starting, ready, draining, gone: what the manifest's probes saw of a pod that has ended."""
    *starting, started = pod.statuses("startupProbe", is_ending=False)
    assert started == 200
    assert set(starting) <= {None, 503}
    assert set(pod.statuses("readinessProbe", is_ending=False)) == {200}
    assert set(pod.statuses("livenessProbe", is_ending=False)) == {200}
    ending = pod.statuses("readinessProbe", is_ending=True)
    if ending[0] == 200:  # answered while the signal was on its way
        del ending[0]
    draining = ending.count(503)
    assert draining > 0
    assert ending == [503] * draining + [None] * (len(ending) - draining)


def pairs_in(store: StoreServer) -> Counter[str]:
    """How many pairs the store has of each request; two entries with one id are one pair.

    A draft that was finished afterwards is a record more, and says so.
    """
    with store.client() as client:
        entries: Any = client.xrange(f"understudy:{{{CASCADE}}}:pairs")
    found = [json.loads(fields[b"pair"]) for _, fields in entries]
    return Counter(
        {each["id"]: each["request_id"] for each in found if each["completes"] is None}.values()
    )


async def test_a_rolling_restart_under_streams_loses_no_request_and_no_pair(
    tmp_path: Path, dev: tuple[Manifest, ...], store: StoreServer
) -> None:
    with scripted_models(PACE) as models:
        async with cluster(tmp_path, located(dev, store.port, models)) as one:
            await one.start()
            calls = one.callers()
            async with calls.calling(STREAMS, OTHERS) as told:
                await until(lambda: calls.open_streams == STREAMS)
                await one.roll_out(has_streams=True)
            await one.end()
            drained = [line for pod in one.pods for line in pod.lines("drained")]
            draining = [line for pod in one.pods for line in pod.lines("draining")]
    assert told.lost == []
    assert one.balancer.refused == 0
    assert [line["cut"] for line in drained] == [0] * 2 * REPLICAS
    assert min(pod.lines("draining")[0]["open"] for pod in one.pods) >= STREAMS // 4
    assert len(draining) == 2 * REPLICAS
    assert told.streams >= 2 * STREAMS
    assert told.by_student
    assert pairs_in(store) == Counter(told.by_teacher)


async def test_no_probe_minds_that_the_store_and_the_models_are_away(
    tmp_path: Path, dev: tuple[Manifest, ...]
) -> None:
    nowhere = (closed_port_url(), closed_port_url())
    async with cluster(tmp_path, located(dev, free_port(), nowhere), replicas=1) as one:
        await one.start()
        (pod,) = one.pods
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}"}) as client:
            question = {"model": CASCADE, "messages": [{"role": "user", "content": "x"}]}
            answer = await client.post(one.url + "/v1/chat/completions", json=question)
        # A clear word, and no connection that is refused by a Service without pods.
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "teacher_unavailable"
        await until(lambda: len(pod.statuses("livenessProbe", is_ending=False)) >= 3)
        await one.end()
        check_probes(pod)


def changed(manifests: tuple[Manifest, ...], variable: str, value: str) -> tuple[Manifest, ...]:
    """The same manifests with another value of one of the gateway's variables."""
    found = copy.deepcopy(manifests)
    for each in found:
        if (each["kind"], each["metadata"]["name"]) == ("StatefulSet", "gateway"):
            (container,) = each["spec"]["template"]["spec"]["containers"]
            (place,) = (one for one in container["env"] if one["name"] == variable)
            place["value"] = value
    return found


@pytest.mark.full
@pytest.mark.parametrize(
    ("variable", "loss"),
    [
        pytest.param("UNDERSTUDY_SHUTDOWN_DELAY_SECONDS", "ReadError", id="delay"),
        pytest.param("UNDERSTUDY_DRAIN_SECONDS", "shutting_down", id="drain"),
    ],
)
async def test_without_the_manifests_seconds_the_same_restart_loses_requests(
    tmp_path: Path, dev: tuple[Manifest, ...], store: StoreServer, variable: str, loss: str
) -> None:
    """The test above can fail."""
    with scripted_models(PACE) as models:
        here = located(changed(dev, variable, "0"), store.port, models)
        async with cluster(tmp_path, here) as one:
            await one.start()
            calls = one.callers()
            async with calls.calling(STREAMS, OTHERS) as told:
                await until(lambda: calls.open_streams == STREAMS)
                for pod in reversed(one.pods):
                    await pod.delete()
                    await pod.start()
    assert [each for each in told.lost if loss in each], told.lost


@pytest.mark.full
@pytest.mark.timeout(1200)
async def test_restarts_as_long_as_they_are_and_a_killed_pod_lose_nothing_that_was_delivered(
    tmp_path: Path, dev: tuple[Manifest, ...], store: StoreServer
) -> None:
    with scripted_models(1.0) as models:
        here = replace(located(dev, store.port, models), pace=1.0)
        async with cluster(tmp_path, here) as one:
            await one.start()
            calls = one.callers()
            async with calls.calling(STREAMS, OTHERS) as told:
                for _ in range(ROUNDS_IN_FULL):
                    await until(lambda: calls.open_streams == STREAMS)
                    await one.roll_out(has_streams=True)
                assert told.lost == []
                # What is not shipped when a pod is killed is on its volume, and comes back with it.
                store.stop()
                delivered = len(told.by_teacher)
                await until(lambda: len(told.by_teacher) > delivered + STREAMS // 2)
                told.is_broken = True
                # The one that was replaced first: who keeps a connection has been there since.
                killed = one.pods[-1]
                await killed.kill()
                await killed.start()
                store.start()
            assert told.broken
            (adopted,) = killed.lines("journal_adopted")[-1:]
            assert adopted["unshipped_bytes"] > 0
            await one.end()
    assert told.lost == []
    counts = pairs_in(store)
    assert not told.by_teacher - counts.keys(), "pairs are lost"
    assert set(counts.values()) == {1}


@pytest.mark.full
@pytest.mark.timeout(1200)
async def test_the_overlays_own_models_answer_through_a_rolling_restart(
    tmp_path: Path, dev: tuple[Manifest, ...], store: StoreServer
) -> None:
    """The demo's student and teacher, started by their own commands."""
    unlocated = located(dev, store.port, (closed_port_url(), closed_port_url()))
    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for name in ("student", "teacher"):
            model = Pod(unlocated.one("Deployment", name), 0, unlocated, tmp_path, Balancer())
            stack.push_async_callback(model.close)
            await model.start()
            addresses.append("http://{}:{}".format(*model.address))
        here = replace(located(dev, store.port, addresses), pace=1.0)  # a real model takes its time
        one = await stack.enter_async_context(cluster(tmp_path, here))
        await one.start()
        by_teacher = []

        async def ask_all(tasks: Iterator[Task]) -> None:
            headers = {"authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(headers=headers, timeout=120) as client:
                for task in tasks:
                    body = {
                        "model": CASCADE,
                        "messages": task.messages,
                        "max_tokens": task.max_tokens,
                        "temperature": 0,
                    }
                    answer = await client.post(one.url + "/v1/chat/completions", json=body)
                    assert answer.status_code == 200, answer.text
                    if answer.headers["x-understudy-served-by"] == "teacher":
                        by_teacher.append(answer.headers["x-request-id"])
                        text = answer.json()["choices"][0]["message"]["content"]
                        assert task.is_solved_by(text)

        tasks = iter(generate(1, TASKS_IN_FULL))
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(ask_all(tasks))
            group.create_task(one.roll_out(has_streams=False))
        await one.end()
    assert 0 < len(by_teacher) < TASKS_IN_FULL
    assert pairs_in(store) == Counter(by_teacher)
