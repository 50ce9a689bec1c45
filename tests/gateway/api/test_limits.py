"""What a client sees of its key's limits."""

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from gateway.app import create_app
from gateway.drawing import Drawing, OwnBooks
from gateway.limiting import Limiter
from routing.vocabulary import WhenStoreDown
from tests.fakes.observer import RememberingObserver
from tests.fakes.script import payloads
from tests.fakes.serving import (
    Stage,
    cascade_document,
    load_gateway,
    serving,
    stage,
    told_first,
    wait_until,
)
from tests.fakes.trial import UNSURE, words
from tests.fakes.upstream import Reply, ScriptedModel, completion, saying
from tests.fakes.valkey import store_server

# Of the scripted models, which read 100 tokens and write 10.
STUDENT_USD, TEACHER_USD = 0.000_002_6, 0.000_084
KEYS: Mapping[str, Mapping[str, float]] = {
    "free": {},
    "few": {"requests_per_minute": 2},
    "short": {"tokens_per_minute": 500},
    "poor": {"usd_per_day": 0.002},
    "broke": {"usd_per_day": 0.000_000_1},
    "strict": {"usd_per_day": 0.000_000_1},
    "official": {"requests_per_minute": 1},
    "passing": {"requests_per_minute": 5, "tokens_per_minute": 100, "usd_per_day": 1},
    "flowing": {"requests_per_minute": 5, "tokens_per_minute": 10_000},
}


def entry(name: str, limits: Mapping[str, float]) -> dict[str, Any]:
    """A key of the file, which is its name."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return {"name": name, "sha256": digest, "limits": dict(limits)}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A gateway whose minute does not end, with a key of each kind."""
    folder = tmp_path_factory.mktemp("limits")
    path = folder / "keys.yaml"
    entries = [entry(name, limits) for name, limits in KEYS.items()]
    path.write_text(yaml.safe_dump({"keys": entries}))
    student, teacher = ScriptedModel(), ScriptedModel()
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(serving(model)) for model in (student, teacher)]
        document = cascade_document(*urls)
        strict = cascade_document(*urls, degraded="refuse")
        model = {"base_url": urls[1] + "/v1", "model": "e", "price": {"input": 0.1}}
        models = {"emb": model | {"serves": ["embeddings", "tokenize"]}}
        gateway = load_gateway(folder, document, {"keys_file": path}, {"strict": strict}, models)
        observer = gateway.context.observer
        drawing = Drawing(OwnBooks(lambda: 0.0), time.monotonic, observer, observer.drawing_failed)
        gateway.context.limiter = Limiter(drawing, time.monotonic, observer, WhenStoreDown.DEGRADE)
        url = stack.enter_context(serving(told_first(create_app(gateway))))
        client = stack.enter_context(httpx.Client(base_url=url, timeout=20, trust_env=False))
        yield Stage(client, url, gateway, folder, student, teacher)


@pytest.fixture(autouse=True)
def models_as_ever(scene: Stage) -> None:
    scene.student.reply, scene.teacher.reply = Reply(), Reply()


def ask(scene: Stage, key: str, **changes: Any) -> httpx.Response:
    return scene.client.post(
        "/v1/chat/completions",
        json=scene.question | changes,
        headers={"authorization": f"Bearer {key}"},
    )


def limit_headers(response: httpx.Response) -> dict[str, str]:
    return {
        name.removeprefix("x-ratelimit-"): value
        for name, value in response.headers.items()
        if name.startswith("x-ratelimit-")
    }


def test_a_key_without_limits_is_told_of_none(scene: Stage) -> None:
    assert limit_headers(ask(scene, "free")) == {}


def test_a_key_is_answered_as_often_as_it_may_ask_and_then_told_to_wait(scene: Stage) -> None:
    left = []
    for _ in range(2):
        response = ask(scene, "few")
        assert response.status_code == 200
        left.append(limit_headers(response)["remaining-requests"])
    assert left == ["1", "0"]
    refusal = ask(scene, "few")
    assert refusal.status_code == 429
    error = refusal.json()["error"]
    seconds = int(refusal.headers["retry-after"])
    assert 50 <= seconds <= 60
    assert error == {
        "message": f"Rate limit reached for requests per minute: 2. Try again in {seconds} s.",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    told = limit_headers(refusal)
    assert told.pop("reset-requests").endswith("s")
    assert told == {"limit-requests": "2", "remaining-requests": "0"}


def test_requests_over_a_limit_are_counted_and_ask_no_model(scene: Stage) -> None:
    for _ in range(3):
        ask(scene, "few")
    asked = len(scene.student.requests)
    counted = scene.metric("understudy_limited_requests_total", limit="requests")
    rejected = scene.metric("understudy_requests_total", cascade="assistant", outcome="rejected")
    ask(scene, "few")
    assert len(scene.student.requests) == asked
    after = scene.metric("understudy_limited_requests_total", limit="requests")
    assert after == counted + 1
    later = scene.metric("understudy_requests_total", cascade="assistant", outcome="rejected")
    assert later == rejected + 1


def test_a_request_that_nobody_understands_counts_for_nothing(scene: Stage) -> None:
    assert ask(scene, "flowing", messages=[]).status_code == 400
    told = limit_headers(ask(scene, "flowing"))
    assert told["remaining-requests"] == "4"


def test_tokens_are_those_of_the_answers_bill(scene: Stage) -> None:
    left = [int(limit_headers(ask(scene, "short"))["remaining-tokens"]) for _ in range(3)]
    # Said while an answer's bill is reserved; the first guess is high, and then it is known.
    assert left[0] < 500 - 110 <= left[1] + 110 + 40
    refusals = [ask(scene, "short") for _ in range(4)]
    assert refusals[-1].status_code == 429
    assert refusals[-1].json()["error"]["type"] == "tokens"


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_streams_are_told_too(scene: Stage, is_stream: bool) -> None:
    told = limit_headers(ask(scene, "flowing", stream=is_stream))
    assert told["limit-requests"] == "5"
    assert told["limit-tokens"] == "10000"


def test_a_key_that_has_spent_its_budget_has_the_students_answer_marked(scene: Stage) -> None:
    scene.student.reply = Reply(body=completion("Rome?", UNSURE))
    served = []
    while "x-understudy-degraded" not in (response := ask(scene, "poor")).headers:
        served.append(response.headers["x-understudy-served-by"])
        assert len(served) < 50
    assert set(served) == {"teacher"}
    # It is never spent by more than the guess of what the last one costs was too low.
    assert 0.9 * 0.002 < len(served) * (STUDENT_USD + TEACHER_USD) < 1.05 * 0.002
    assert response.status_code == 200
    assert response.headers["x-understudy-served-by"] == "student"
    assert response.headers["x-understudy-degraded"] == "budget_spent"
    asked = len(scene.teacher.requests)
    streamed = ask(scene, "poor", stream=True)
    assert payloads(streamed.text)[-1]["understudy"]["degraded"] == "budget_spent"
    assert len(scene.teacher.requests) == asked


def test_what_the_budget_denied_is_in_the_log_of_denials(scene: Stage) -> None:
    context = scene.gateway.context
    real = context.observer
    observer = context.observer = RememberingObserver(real)
    try:
        scene.student.reply = saying(words(20), UNSURE)
        ask(scene, "broke")
    finally:
        context.observer = real
    (fact,) = observer.settled_facts
    assert [denial.cause for denial in fact.denials] == ["budget_spent"]


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_what_only_a_teacher_could_answer_is_refused_for_want_of_budget(
    scene: Stage, is_stream: bool
) -> None:
    scene.student.reply = saying(words(20), UNSURE)
    refusal = ask(scene, "strict", model="strict", stream=is_stream)
    assert refusal.status_code == 429
    error = refusal.json()["error"]
    assert error["code"] == error["type"] == "insufficient_quota"
    assert int(refusal.headers["retry-after"]) > 80_000


def test_a_student_that_fails_is_no_matter_of_the_budget(scene: Stage) -> None:
    scene.student.reply = Reply(body={}, status=500)
    refusal = ask(scene, "broke")
    assert refusal.status_code == 503
    assert refusal.json()["error"]["code"] == "teacher_unavailable"


def test_the_official_client_knows_what_it_is_told(scene: Stage) -> None:
    with openai.OpenAI(base_url=scene.url + "/v1", api_key="official", max_retries=0) as client:
        create = client.chat.completions.with_raw_response.create
        question: Any = scene.question
        assert create(**question).headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as caught:
            create(**question)
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.type == "requests"
    assert caught.value.response.headers["x-ratelimit-limit-requests"] == "1"


def embed(scene: Stage, key: str, path: str = "/v1/embeddings") -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return scene.client.post(path, json={"model": "emb", "input": "a"}, headers=headers)


def test_what_passes_to_a_model_counts_as_what_a_cascade_answers(scene: Stage) -> None:
    usage = {"prompt_tokens": 60, "total_tokens": 60}
    scene.teacher.reply = Reply(body={"data": [], "usage": usage})
    assert embed(scene, "passing", "/tokenize").status_code == 200
    told = limit_headers(embed(scene, "passing"))
    assert told["remaining-requests"] == "3"
    assert embed(scene, "passing").status_code == 200
    refusal = embed(scene, "passing")
    assert refusal.status_code == 429
    assert refusal.json()["error"]["type"] == "tokens"


def test_no_student_answers_for_a_model_that_the_budget_cannot_pay(scene: Stage) -> None:
    scene.teacher.reply = Reply(body={"data": [], "usage": {"prompt_tokens": 60}})
    refusal = embed(scene, "broke")
    assert refusal.status_code == 429
    assert refusal.json()["error"]["code"] == "insufficient_quota"
    assert embed(scene, "broke", "/tokenize").status_code == 200


@pytest.mark.parametrize(
    "when_down", [WhenStoreDown.DEGRADE, pytest.param(WhenStoreDown.ALLOW, marks=pytest.mark.full)]
)
def test_without_the_store_what_is_in_hand_is_spent_and_then_the_setting_holds(
    tmp_path: Path, when_down: WhenStoreDown
) -> None:
    keys, folder = tmp_path / "keys.yaml", tmp_path / "store"
    folder.mkdir()
    keys.write_text(yaml.safe_dump({"keys": [entry("ann", {"requests_per_minute": 1000})]}))
    with store_server(folder) as store:
        settings = {"keys_file": keys, "redis_url": store.url, "store_down": when_down}
        with stage(tmp_path, settings=settings) as scene:
            scene.student.reply = Reply(body=completion("Rome?", UNSURE))

            def degraded() -> str:
                response = ask(scene, "ann")
                assert response.status_code == 200
                return str(response.headers.get("x-understudy-degraded", "no"))

            assert [degraded() for _ in range(3)] == ["no"] * 3
            store.stop(is_killed=True)
            if when_down is WhenStoreDown.DEGRADE:
                wait_until(lambda: degraded() == "budget_spent")
            wait_until(lambda: scene.metric("understudy_limit_draws_failed_total"))
            expected = "budget_spent" if when_down is WhenStoreDown.DEGRADE else "no"
            assert [degraded() for _ in range(10)] == [expected] * 10
            store.start()
            wait_until(lambda: not scene.gateway.context.limiter.drawing.is_away)
            assert degraded() == "no"
