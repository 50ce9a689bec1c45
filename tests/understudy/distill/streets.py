"""Gateways with a Valkey, a student's server that takes adapters, a teacher, and steady traffic."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml

from gateway.app import create_app
from tests.fakes.adapters import AdapterServer
from tests.fakes.serving import (
    PLAIN_HTTP,
    cascade_document,
    load_gateway,
    serving,
    told_first,
    wait_until,
)
from tests.fakes.upstream import SURE, UNSURE, Reply, ScriptedModel, completion
from tests.fakes.valkey import StoreServer
from tests.understudy.distill.proposal import ANSWER

G1, G2 = "small-g1", "small-g2"
PATHS = {G1: "/adapters/g1", G2: "/adapters/g2"}
# What the incumbent is unsure of: one question in so many.
HARD_EACH = 4


def asked(request: Mapping[str, Any]) -> str:
    return str(request["messages"][-1]["content"])


def good(_: Mapping[str, Any]) -> Reply:
    """Right, and sure of it, whatever is asked."""
    return Reply(body=completion(ANSWER, SURE))


def usual(request: Mapping[str, Any]) -> Reply:
    """Right and sure where it is easy, unsure where it is not."""
    is_hard = asked(request).startswith("hard")
    return Reply(body=completion("Lyon." if is_hard else ANSWER, UNSURE if is_hard else SURE))


def wrong(_: Mapping[str, Any]) -> Reply:
    """Wrong, and sure of it."""
    return Reply(body=completion("Rome.", SURE))


def failing(_: Mapping[str, Any]) -> Reply:
    return Reply(body={"error": {"message": "out of memory"}}, status=500)


@dataclass(frozen=True)
class Answer:
    """What a client got."""

    status: int
    served_by: str | None
    policy: str | None
    text: str | None
    question: str


@dataclass
class Street:
    """All of it, and what the clients got so far."""

    store: StoreServer
    urls: list[str]
    config: Path
    student: AdapterServer
    student_url: str
    teacher: ScriptedModel
    answers: list[Answer] = field(default_factory=list)

    @contextlib.contextmanager
    def traffic(self, clients: int = 4) -> Iterator[None]:
        """Clients that ask all the time, each of the gateways in turn, a new session a question."""
        stopped, numbers = threading.Event(), count()
        threads = [
            threading.Thread(target=self._ask, args=(place, stopped, numbers), daemon=True)
            for place in range(clients)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopped.set()
            for thread in threads:
                thread.join(20)
                assert not thread.is_alive()

    def wait_for_answers(self, more: int) -> None:
        """Until so many more have come."""
        until = len(self.answers) + more
        wait_until(lambda: len(self.answers) >= until, seconds=30)

    def _ask(self, place: int, stopped: threading.Event, numbers: "count[int]") -> None:
        url = self.urls[place % len(self.urls)]
        with httpx.Client(base_url=url, timeout=20, trust_env=False, verify=PLAIN_HTTP) as client:
            while not stopped.is_set():
                number = next(numbers)
                question = f"{'easy' if number % HARD_EACH else 'hard'} {number}"
                response = client.post(
                    "/v1/chat/completions",
                    json={
                        "model": "assistant",
                        "messages": [{"role": "user", "content": question}],
                        "temperature": 0,
                    },
                )
                self.answers.append(_answer(response, question))


def _answer(response: httpx.Response, question: str) -> Answer:
    headers = response.headers
    is_answer = response.status_code == 200
    return Answer(
        response.status_code,
        headers.get("x-understudy-served-by"),
        headers.get("x-understudy-policy"),
        response.json()["choices"][0]["message"]["content"] if is_answer else None,
        question,
    )


@contextlib.contextmanager
def street(store: StoreServer, folder: Path, gateways: int = 2) -> Iterator[Street]:
    """Serve everything; all ends with the block."""
    running: list[uvicorn.Server] = []
    student, teacher = AdapterServer(), ScriptedModel()
    teacher.reply = good
    student.paths = set(PATHS.values())
    student.replies[student.base] = usual
    with contextlib.ExitStack() as stack:
        student_url = stack.enter_context(serving(student, running))
        teacher_url = stack.enter_context(serving(teacher, running))
        document = cascade_document(student_url, teacher_url)
        urls = []
        for number in range(gateways):
            place = folder / f"gateway-{number}"
            place.mkdir(parents=True)
            gateway = load_gateway(place, document, {"redis_url": store.url})
            urls.append(stack.enter_context(serving(told_first(create_app(gateway)), running)))
        folder.mkdir(exist_ok=True)
        config = folder / "cascades.yaml"
        config.write_text(yaml.safe_dump({"cascades": {"assistant": document}}))
        try:
            yield Street(store, urls, config, student, f"{student_url}/v1", teacher)
        finally:
            for server in running:
                server.should_exit = True
