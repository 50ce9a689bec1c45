"""However often the student changes, no answer is one student's by the other's policy."""

import itertools
import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway import registry
from gateway.stores.redis_keys import generations_key
from routing.rollout_file import policy_version
from tests.fakes.generations import generation, rollout, state
from tests.fakes.pair_schema import valid_pair
from tests.fakes.script import whole
from tests.fakes.serving import Stage, serving, stage, wait_until
from tests.fakes.upstream import SURE, UNSURE, Reply, ScriptedModel, completion
from tests.fakes.valkey import store_server

READ_SECONDS = 0.01
CHANGES = 24  # six of each kind
CLIENTS = 6
LENGTH = 30
HARD, EASY = "hard", "easy"
CASCADE: dict[str, Any] = {"objective": None, "audit": {"complete_drafts": 1.0}}


def signing(number: int) -> ScriptedModel:
    """A student that signs all it writes, and writes slowly where it streams."""

    def reply(request: Mapping[str, Any]) -> Reply:
        logprob = UNSURE if request["messages"][0]["content"] == HARD else SURE
        texts = [f"By-{number} "] * LENGTH
        steps = whole(texts, logprob, seconds_each=0.002)
        assert request["model"] == f"model-g{number}"
        return Reply(body=completion("".join(texts), logprob), steps=steps)

    model = ScriptedModel()
    model.reply = reply
    return model


def signatures(text: str) -> set[int]:
    return {number for number in (1, 2) if f"By-{number}" in text}


def states(one: dict[str, Any], two: dict[str, Any]) -> list[bytes]:
    """Either of them alone, and either as a candidate beside the other."""
    settings = itertools.cycle(
        [
            (one, None),
            (one, rollout(two, share=0.5, holdout=0.2)),
            (two, None),
            (two, rollout(one, stage="shadow", share=0.5, holdout=0.2)),
        ]
    )
    return [state(number, *next(settings)) for number in range(1, CHANGES)]


class Clients:
    """They ask without a pause, streams among them, and remember what they got."""

    def __init__(self, scene: Stage) -> None:
        self._scene = scene
        self._is_over = threading.Event()
        self._numbers = itertools.count()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._asking = [self._pool.submit(self._ask) for _ in range(CLIENTS)]

    def end(self) -> Sequence[tuple[str, Mapping[str, str]]]:
        """All answers: the text, and the headers."""
        self._is_over.set()
        self._pool.shutdown()
        return [answer for each in self._asking for answer in each.result()]

    def _ask(self) -> list[tuple[str, Mapping[str, str]]]:
        found: list[tuple[str, Mapping[str, str]]] = []
        while not self._is_over.is_set():
            number = next(self._numbers)
            said = {"role": "user", "content": HARD if number % 3 == 0 else EASY}
            response = self._scene.ask(
                messages=[said], stream=number % 2 == 0, user=f"user-{number}"
            )
            assert response.status_code == 200, response.text
            assert '"error"' not in response.text
            found.append((response.text, response.headers))
        return found


def test_every_answer_is_of_one_student_by_its_own_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "READ_SECONDS", READ_SECONDS)
    (tmp_path / "store").mkdir()
    models = {number: signing(number) for number in (1, 2)}
    with (
        store_server(tmp_path / "store") as store,
        store.client() as redis,
        serving(models[1]) as url_of_one,
        serving(models[2]) as url_of_two,
    ):
        both = {1: generation(1, url_of_one), 2: generation(2, url_of_two)}
        documents = states(both[1], both[2])
        redis.set(generations_key("assistant"), documents[0])
        settings = {"redis_url": store.url}
        with stage(tmp_path, cascade=CASCADE, settings=settings) as scene:
            scene.teacher.reply = Reply(body=completion("By the teacher."))
            clients = Clients(scene)
            succession = scene.gateway.successions["assistant"]
            for number, document in enumerate(documents[1:], 2):
                redis.set(generations_key("assistant"), document)
                wait_until(lambda number=number: succession.revision == number)  # type: ignore[misc]
            answers = clients.end()
            context = scene.gateway.context
            wait_until(lambda: not (context.open_requests or context.background))
            wait_until(lambda: set(succession.heartbeat().open.values()) == {0})
            wait_until(lambda: len(succession.students) <= 2)
            pairs = [valid_pair(line) for line in scene.pairs()]
            assert scene.metric("understudy_generations_refused", cascade="assistant") == 0
    policies = {number: policy_version(one["policy"]) for number, one in both.items()}
    found = set()
    for text, headers in answers:
        by_student = headers["x-understudy-served-by"] == "student"
        signed = signatures(text)
        assert len(signed) == by_student
        for number in signed:
            assert headers["x-understudy-policy"] == policies[number]
            found.add(number)
    drafted = set()
    for pair in pairs:
        (number,) = signatures(json.dumps(pair["content"]["draft"]))
        assert pair["student_version"] == f"student-g{number}"
        assert pair["policy_version"] == policies[number]
        drafted.add((number, pair["completes"] is not None))
    assert found == {1, 2}
    assert drafted == {(1, False), (1, True), (2, False), (2, True)}
    assert len(answers) > CHANGES
