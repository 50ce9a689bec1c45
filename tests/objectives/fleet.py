"""Replicas of one steered cascade as processes that agree in a real store, and their clients."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.serving import PLAIN_HTTP, serving, wait_until
from tests.fakes.upstream import SURE, UNSURE, Reply, ScriptedModel, completion
from tests.fakes.valkey import StoreServer, store_server
from tests.wire_server.process import GatewayProcess, gateway_process, get

NAMES = ("one", "two", "three")
CASCADE = "assistant"
KEEPS_NOTHING = math.inf
MOST_REQUESTS = 20_000  # of one load, whatever happens
WORKERS_EACH = 2
# A page of metrics costs a gateway some milliseconds: to ask all the time would be load too.
PAUSE_SECONDS = 0.1
PATIENCE_SECONDS = 30.0


def question(number: int) -> dict[str, Any]:
    """One of many questions; the student is unsure of every fourth, and then it is wrong."""
    return {"messages": [{"role": "user", "content": f"What is item {number} called?"}]}


def number_of(request: Mapping[str, Any]) -> int:
    """The number of the question that a model is asked."""
    return int(request["messages"][-1]["content"].split()[3])


@dataclass
class Student:
    """Right where it is sure, until it is ``worse``: then it is wrong, and as sure as before.

    What it is unsure of differs by ``spread``: with one, a threshold may lie in between.
    """

    is_worse: bool = False
    spread: float = 0.0

    def __call__(self, request: Mapping[str, Any]) -> Reply:
        number = number_of(request)
        is_hard = number % 4 == 0
        is_wrong = is_hard or self.is_worse
        said = "Nobody has named it." if is_wrong else f"It is called item {number}."
        unsure = UNSURE + self.spread * (number * 7 % 101) / 101
        return Reply(body=completion(said, unsure if is_hard else SURE))


@dataclass
class Teacher:
    """Always right, unless it is away."""

    is_away: bool = False

    def __call__(self, request: Mapping[str, Any]) -> Reply:
        if self.is_away:
            return Reply(status=503, body={"error": {"message": "away", "code": 503}})
        return Reply(body=completion(f"It is called item {number_of(request)}."))


@dataclass(frozen=True)
class Answer:
    """What one client was given, by which gateway, and when, by the steady clock."""

    gateway: str
    status: int
    served_by: str | None
    degraded: str | None
    at: float = field(default_factory=time.monotonic)


@dataclass
class Replica:
    """One gateway."""

    name: str
    process: GatewayProcess
    client: httpx.Client
    is_alive: bool = True
    last: dict[tuple[str, ...], float] = field(default_factory=dict)

    def samples(self) -> dict[tuple[str, ...], float]:
        """All that its ``/metrics`` says of the cascade: name and values of labels.

        Of one that was killed what it said at the end.
        """
        if not self.is_alive:
            return self.last
        found = {}
        for family in text_string_to_metric_families(get(self.process.url + "/metrics").text):
            for sample in family.samples:
                labels = dict(sample.labels)
                if labels.pop("cascade", None) == CASCADE:
                    found[sample.name, *labels.values()] = sample.value
        return found

    def metric(self, name: str, *labels: str) -> float:
        """One sample; 0 where there is none."""
        return self.samples().get((f"understudy_{name}", *labels), 0.0)

    def total(self, name: str, *labels: str) -> float:
        """The sum of those that have these values of labels."""
        wanted = (f"understudy_{name}", *labels)
        return sum(v for key, v in self.samples().items() if set(wanted) <= set(key))

    def kill(self) -> None:
        """End it without a word."""
        self.last = self.samples()
        self.is_alive = False
        self.process.process.kill()
        self.process.process.wait(10)

    def ask(self, question: Mapping[str, Any]) -> Answer:
        """Post one question; a gateway that is gone gives status 0."""
        try:
            response = self.client.post("/v1/chat/completions", json={"model": CASCADE, **question})
        except httpx.TransportError:
            return Answer(self.name, 0, None, None)
        told = response.headers
        return Answer(
            self.name,
            response.status_code,
            told.get("x-understudy-served-by"),
            told.get("x-understudy-degraded"),
        )


@dataclass
class Fleet:
    """Replicas, their store, the threads of their clients, and what these ask.

    ``student`` and ``teacher`` are scripts, where the models are scripted.
    """

    replicas: Sequence[Replica]
    store: StoreServer
    pool: ThreadPoolExecutor
    asking: Callable[[int], Mapping[str, Any]] = question
    student: Student = field(default_factory=Student)
    teacher: Teacher = field(default_factory=Teacher)
    _asked: int = 0
    _lock: Lock = field(default_factory=Lock)

    @property
    def alive(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.is_alive]

    @property
    def controllers(self) -> list[Replica]:
        """Those that say that they steer."""
        return [each for each in self.alive if each.metric("objective_controller")]

    def wait_for_controller(self, seconds: float = PATIENCE_SECONDS) -> Replica:
        """The one replica that steers, as soon as there is one."""
        self.wait(lambda: len(self.controllers) == 1, seconds)
        (found,) = self.controllers
        return found

    def wait(self, is_true: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until it holds, and look seldom enough."""
        wait_until(is_true, seconds, PAUSE_SECONDS)

    def wait_for_all(self, name: str, value: float, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until a metric has this value in every replica."""
        self.wait(lambda: {each.metric(name) for each in self.alive} == {value}, seconds)

    def wait_for_state(self, state: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until every replica shows that the objective stands so."""
        self.wait(
            lambda: all(each.metric("objective_state", state) for each in self.alive), seconds
        )

    def ask(self, count: int) -> list[Answer]:
        """Ask so many different questions, of all replicas in turn."""
        alive = self.alive
        numbers = [self._next() for _ in range(count)]
        asked = zip(numbers, alive * (count // len(alive) + 1), strict=False)
        return list(self.pool.map(lambda each: each[1].ask(self.asking(each[0])), asked))

    @contextlib.contextmanager
    def under_load(self) -> Iterator[list[Answer]]:
        """Ask all replicas for as long as the block runs; the answers are whole after it."""
        stop, answers = Event(), list[Answer]()

        def work(replica: Replica) -> None:
            for _ in range(MOST_REQUESTS):
                if stop.is_set() or not replica.is_alive:
                    return
                answers.append(replica.ask(self.asking(self._next())))

        workers: list[Future[None]] = [
            self.pool.submit(work, replica) for replica in self.alive * WORKERS_EACH
        ]
        try:
            yield answers
        finally:
            stop.set()
            for worker in workers:
                worker.result(timeout=PATIENCE_SECONDS)

    def _next(self) -> int:
        with self._lock:
            self._asked += 1
            return self._asked


@contextlib.contextmanager
def fleet(folder: Path, changes: Mapping[str, Any]) -> Iterator[Fleet]:
    """Three replicas between two scripted models; ``changes`` are those of the cascade."""
    student, teacher = ScriptedModel(), ScriptedModel()
    with (
        serving(student) as student_url,
        serving(teacher) as teacher_url,
        fleet_between(folder, student_url, teacher_url, changes) as running,
    ):
        student.reply, teacher.reply = running.student, running.teacher
        yield running


@contextlib.contextmanager
def fleet_between(
    folder: Path, student_url: str, teacher_url: str, changes: Mapping[str, Any]
) -> Iterator[Fleet]:
    """Three replicas between two models that are up."""
    with contextlib.ExitStack() as stack:
        (folder / "store").mkdir()
        store = stack.enter_context(store_server(folder / "store"))
        replicas = []
        for name in NAMES:
            (folder / name).mkdir()
            begun = gateway_process(
                folder / name, student_url, teacher_url, changes, UNDERSTUDY_REDIS_URL=store.url
            )
            process = stack.enter_context(begun)
            client = httpx.Client(
                base_url=process.url, timeout=60, trust_env=False, verify=PLAIN_HTTP
            )
            replicas.append(Replica(name, process, stack.enter_context(client)))
        pool = stack.enter_context(ThreadPoolExecutor(len(NAMES) * WORKERS_EACH))
        yield Fleet(replicas, store, pool)
