"""The route that counts: what it lets in, and how it fails.  Clients are in tests/contract."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.counting import CountingServer
from tests.fakes.serving import Stage, serving, stage
from tests.fakes.upstream import Reply

PATH = "/v1/messages/count_tokens"
ASKED = {"model": "assistant", "messages": [{"role": "user", "content": "Hi."}]}


@pytest.fixture(scope="module")
def counting() -> CountingServer:
    return CountingServer({})


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, counting: CountingServer) -> Iterator[Stage]:
    with serving(counting) as url:
        settings = {"max_body_bytes": 1000, "max_open_requests": 1}
        folder = tmp_path_factory.mktemp("counting")
        with stage(folder, student_url=url, settings=settings) as built:
            yield built


def failed(response: Any, status: int, kind: str) -> str:
    assert response.status_code == status
    said = response.json()
    assert said["type"] == "error"
    assert said["error"]["type"] == kind
    assert said["request_id"] == response.headers["request-id"]
    message: str = said["error"]["message"]
    return message


def test_a_count(scene: Stage, counting: CountingServer) -> None:
    counting.replies = {"/tokenize": (200, {"count": 7})}
    response = scene.client.post(PATH, json=ASKED, headers={"x-request-id": "r1"})
    assert (response.status_code, response.json()) == (200, {"input_tokens": 7})
    assert response.headers["x-request-id"] == response.headers["request-id"] == "r1"


def test_a_student_that_does_not_count(scene: Stage, counting: CountingServer) -> None:
    counting.replies = {}
    message = failed(scene.client.post(PATH, json=ASKED), 404, "not_found_error")
    assert message == "The model's server has no route that counts tokens."


def test_a_count_is_told_of_as_a_tokenizer_s_work(scene: Stage, counting: CountingServer) -> None:
    counting.replies = {"/tokenize": (200, {"count": 7})}

    def told(outcome: str, model: str = "assistant") -> float:
        name, labels = "understudy_passed_requests_total", {"route": "tokenize", "model": model}
        return scene.metric(name, outcome=outcome, **labels)

    before = [told("passed"), told("rejected", "other")]
    scene.client.post(PATH, json=ASKED)
    scene.client.post(PATH, json=ASKED | {"model": "nobody"})
    assert [told("passed"), told("rejected", "other")] == [count + 1 for count in before]
    assert scene.metric("understudy_requests_total", cascade="assistant") == 0


def test_the_teacher_counts_where_it_is_to_answer(scene: Stage, counting: CountingServer) -> None:
    counting.replies = {"/tokenize": (200, {"count": 7})}
    scene.teacher.reply = Reply(body={"count": 9})
    counts = [
        scene.client.post(PATH, json=ASKED | changes, headers=headers).json()["input_tokens"]
        for changes, headers in (
            ({"model": "assistant:teacher"}, {}),
            ({}, {"x-understudy-route": "teacher"}),
            ({"model": "assistant:student"}, {}),
        )
    ]
    assert counts == [9, 9, 7]


def test_an_address_that_is_not_allowed_is_named_as_the_client_does(scene: Stage) -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://10.0.0.1/a.png"}}
    asked = ASKED | {"system": "Be brief.", "messages": [{"role": "user", "content": [image]}]}
    message = failed(scene.client.post(PATH, json=asked), 400, "invalid_request_error")
    assert "messages.0.content.0.source" in message
    assert "image_url" not in message


def test_a_body_is_bounded(scene: Stage) -> None:
    long = ASKED | {"system": "x" * 1000}
    failed(scene.client.post(PATH, json=long), 413, "request_too_large")


def test_a_body_has_to_be_declared_as_json(scene: Stage) -> None:
    response = scene.client.post(PATH, content=json.dumps(ASKED))
    failed(response, 415, "invalid_request_error")


def test_open_requests_are_bounded(scene: Stage) -> None:
    scene.gateway.context.open_requests += 1
    try:
        failed(scene.client.post(PATH, json=ASKED), 503, "overloaded_error")
    finally:
        scene.gateway.context.open_requests -= 1
    assert scene.gateway.context.open_requests == 0


def test_a_bug_says_nothing(scene: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("gateway.api.count_tokens.parse_request", broken)
    message = failed(scene.client.post(PATH, json=ASKED), 500, "api_error")
    assert message == "Internal error."
