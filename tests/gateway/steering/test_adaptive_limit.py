"""How many calls a teacher gets, as a gateway learns it, and what becomes of the other requests."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.upstream.openai import OpenAIModel
from gateway.upstream.pool import ServerPool
from routing.concurrency import FIRST_CALLS
from tests.fakes.serving import Stage, server_of, serving, stage, wait_until
from tests.fakes.upstream import UNSURE, Reply, ScriptedModel, completion

MOST = 40
QUEUE = {"max_concurrent": MOST, "queue": {"poll_seconds": 0.5, "adaptive_limit": True}}
IN_DOUBT = Reply(body=completion(logprob=UNSURE))


def page(waiting: float) -> bytes:
    return f'vllm:num_requests_waiting{{engine="0"}} {waiting}\n'.encode()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    teacher = ScriptedModel()
    with (
        serving(teacher) as url,
        stage(
            tmp_path_factory.mktemp("limit"),
            cascade={"teacher": QUEUE},
            others={"plain": {"teacher": {"max_concurrent": MOST}}},
            teacher_url=url,
        ) as built,
    ):
        built.teacher = teacher
        built.student.reply = IN_DOUBT
        yield built


def limit(scene: Stage, cascade: str = "assistant") -> float:
    return scene.metric("understudy_upstream_max_calls", cascade=cascade, role="teacher")


def teacher_of(scene: Stage) -> OpenAIModel:
    return server_of(scene.gateway.context.served["assistant"].cascade.teacher)


def test_a_limit_is_learnt_only_where_that_is_asked_for(scene: Stage) -> None:
    assert (limit(scene), limit(scene, "plain")) == (FIRST_CALLS, MOST)


def test_whole_and_streamed_answers_are_told_to_it(
    scene: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Any, ...]] = []
    learnt = type(teacher_of(scene).limit)
    monkeypatch.setattr(learnt, "first_byte", lambda _, *seen: told.append(seen))
    monkeypatch.setattr(learnt, "answered", lambda _, *seen: told.append(seen))
    assert scene.ask().headers["x-understudy-served-by"] == "teacher"
    assert scene.ask(stream=True).text
    (load, seconds, tokens, _), (first_load, first_seconds, _) = told
    assert (load, tokens, first_load) == (1, 10, 1)
    assert 0 < seconds < 5
    assert 0 < first_seconds < 5


def test_above_it_drafts_are_served_marked_busy(scene: Stage) -> None:
    teacher = teacher_of(scene)
    teacher.open_calls += FIRST_CALLS
    try:
        pool = scene.gateway.context.served["assistant"].cascade.teacher.chat
        assert not pool.has_spare_room
        answer = scene.ask()
        assert answer.headers["x-understudy-degraded"] == "teacher_busy"
        assert scene.ask(model="plain").headers["x-understudy-served-by"] == "teacher"
        teacher.open_calls -= 1
        assert scene.ask().headers["x-understudy-served-by"] == "teacher"
    finally:
        teacher.open_calls = 0


def test_what_had_no_room_presses_a_teacher_that_shows_no_queue(scene: Stage) -> None:
    pool = scene.gateway.context.served["assistant"].cascade.teacher.chat
    assert isinstance(pool, ServerPool)
    teacher_of(scene).open_calls += FIRST_CALLS
    try:
        pool.reserve()
        pressed = "understudy_teacher_pressure"
        wait_until(lambda: scene.metric(pressed, cascade="assistant") > 0.05)
    finally:
        teacher_of(scene).open_calls = 0


def test_a_server_that_says_it_has_too_much_to_do_gets_less(scene: Stage) -> None:
    before = limit(scene)
    scene.teacher.reply = Reply(status=429)
    try:
        wait_until(lambda: scene.ask().is_success and limit(scene) < before, 5, 0.2)
    finally:
        scene.teacher.reply = Reply()


class Kitchen:
    """A teacher's server with so many places: the others wait for theirs to be free."""

    def __init__(self, places: int) -> None:
        self.seconds = 0.1
        self.free_at = [0.0] * places
        self._lock = threading.Lock()

    def reply(self, _: Mapping[str, Any]) -> Reply:
        with self._lock:
            now = time.monotonic()
            place = min(range(len(self.free_at)), key=self.free_at.__getitem__)
            self.free_at[place] = max(now, self.free_at[place]) + self.seconds
            return Reply(delay_seconds=self.free_at[place] - now)


@pytest.mark.full
def test_it_falls_while_the_teacher_is_slow_and_rises_again(scene: Stage) -> None:
    kitchen = Kitchen(places=24)
    scene.teacher.reply = kitchen.reply
    over = threading.Event()
    how: Counter[str | None] = Counter()

    def keep_asking() -> None:
        while not over.is_set():
            how[scene.ask().headers.get("x-understudy-degraded")] += 1

    with ThreadPoolExecutor(MOST) as clients:
        for _ in range(30):
            clients.submit(keep_asking)
        try:
            wait_until(lambda: limit(scene) >= 18, 60, 0.1)
            kitchen.free_at = [0.0] * 4
            how.clear()
            wait_until(lambda: limit(scene) <= 9, 60, 0.1)
            assert how["teacher_busy"] > how[None] > 0
            assert set(how) == {"teacher_busy", None}
            kitchen.free_at = [0.0] * 24
            wait_until(lambda: limit(scene) >= 18, 60, 0.1)
        finally:
            over.set()
            scene.teacher.reply = Reply()
