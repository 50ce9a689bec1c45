"""The routes around the life of a request, over real sockets: keys, limits, errors, streams."""

import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gateway.app import create_ops_app
from tests.fakes.serving import Stage, serving, stage, wait_until
from tests.fakes.upstream import UNSURE, Reply, completion

JSON = {"content-type": "application/json"}
FOUR_KEYS = {"message", "type", "param", "code"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    settings = {"max_body_bytes": 10_000}
    with stage(tmp_path_factory.mktemp("api"), settings=settings) as built:
        yield built


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Stage]:
    keys = tmp_path / "keys.yaml"
    digest = hashlib.sha256(b"key-of-ann").hexdigest()
    keys.write_text(yaml.safe_dump({"keys": [{"name": "ann", "sha256": digest}]}))
    changes = {"teacher": {"api_key_env": "TEACHER_KEY"}}
    with stage(tmp_path, cascade=changes, settings={"keys_file": keys}) as built:
        yield built


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("POST", "/v1/chat/completions", b"{", 400, "invalid_request"),
        ("POST", "/v1/chat/completions", b'{"model": 5}', 400, "invalid_request"),
        ("POST", "/v1/chat/completions", b"x" * 10_001, 413, "request_too_large"),
        ("PUT", "/v1/chat/completions", b"", 405, "method_not_allowed"),
        ("POST", "/v1/models", b"", 405, "method_not_allowed"),
        ("GET", "/v1/nope", b"", 404, "not_found"),
        ("GET", "/", b"", 404, "not_found"),
        ("GET", "/docs", b"", 404, "not_found"),
    ],
)
def test_bad_input_gets_the_right_status_and_all_four_keys(
    scene: Stage, method: str, path: str, content: bytes, status: int, code: str
) -> None:
    response = scene.client.request(method, path, content=content, headers=JSON)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()["error"]) == FOUR_KEYS
    assert response.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/chat/completions", "GET, HEAD, POST"),
        ("/v1/chat/completions/chatcmpl-1", "DELETE, GET, HEAD, POST"),
        ("/v1/responses", "POST"),
        ("/v1/models/assistant", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_all_the_right_ones(scene: Stage, path: str, methods: str) -> None:
    response = scene.client.put(path, content=b"", headers=JSON)
    assert response.status_code == 405
    assert response.headers["allow"] == methods


def test_a_body_at_the_limit_passes(scene: Stage) -> None:
    body = json.dumps(scene.question).encode()
    padded = body[:-1] + b" " * (10_000 - len(body)) + b"}"
    response = scene.client.post("/v1/chat/completions", content=padded, headers=JSON)
    assert response.status_code == 200


def test_a_chunked_body_over_the_limit_is_refused(scene: Stage) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b"x" * 1_000] * 11

    response = scene.client.post("/v1/chat/completions", content=chunks(), headers=JSON)
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("declared", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        (None, 415),
        ("", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
def test_a_body_declared_as_something_else_is_refused(
    scene: Stage, declared: str | None, status: int
) -> None:
    headers = {} if declared is None else {"content-type": declared}
    body = json.dumps(scene.question).encode()
    response = scene.client.post("/v1/chat/completions", content=body, headers=headers)
    assert response.status_code == status
    if status == 415:
        assert response.json()["error"]["code"] == "unsupported_media_type"


def test_an_unknown_model_is_named(scene: Stage) -> None:
    response = scene.ask(model="gpt-5")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
    assert "gpt-5" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/chat/completions", "The base URL of OpenAI's clients ends in /v1."),
        ("/embeddings", "The base URL of OpenAI's clients ends in /v1."),
        ("/v1/v1/messages", "Anthropic's clients want a base URL without /v1"),
        ("/v1/nowhere", "There is no route /v1/nowhere."),
    ],
)
def test_a_path_that_is_none_says_what_may_be_wrong_with_the_base_url(
    scene: Stage, path: str, said: str
) -> None:
    response = scene.client.post(path, json={})
    assert response.status_code == 404
    assert said in response.json()["error"]["message"]


def test_a_long_model_name_is_not_echoed_whole(scene: Stage) -> None:
    assert len(scene.ask(model="x" * 5_000).content) < 500


def test_junk_model_names_make_no_series(scene: Stage) -> None:
    before = scene.gateway.context.observer.metrics.exposition().count(b"\n")
    for number in range(200):
        scene.ask(model=f"junk-{number}")
    after = scene.gateway.context.observer.metrics.exposition().count(b"\n")
    assert after - before < 40


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [("abc-123_x.y:z", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("", False)],
)
def test_a_request_id_is_kept_where_it_is_harmless(
    scene: Stage, given: str, is_taken: bool
) -> None:
    for question in (scene.question, scene.question | {"model": "nope"}):
        response = scene.client.post(
            "/v1/chat/completions", json=question, headers={"x-request-id": given}
        )
        assert (response.headers["x-request-id"] == given) is is_taken
        assert response.headers["x-request-id"]


def test_models_are_the_cascades(scene: Stage) -> None:
    listed = scene.client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["assistant"]


def test_a_model_is_described_as_in_the_list(scene: Stage) -> None:
    (listed,) = scene.client.get("/v1/models").json()["data"]
    assert scene.client.get("/v1/models/assistant").json() == listed
    assert scene.client.get("/v1/models/assistant:student").json()["id"] == "assistant:student"
    for name in ("writer", "assistant:nobody", "assistant/1", ""):
        response = scene.client.get(f"/v1/models/{name}")
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "model_not_found"


def test_liveness_and_readiness(scene: Stage) -> None:
    assert scene.client.get("/health").status_code == 200
    assert scene.client.get("/readyz").status_code == 200
    scene.gateway.context.is_draining = True
    try:
        assert scene.client.get("/readyz").status_code == 503
        assert scene.client.get("/health").status_code == 200
    finally:
        scene.gateway.context.is_draining = False


def test_a_stream_is_whole_and_marked(scene: Stage) -> None:
    response = scene.ask(stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-understudy-served-by"] == "student"
    assert response.text.endswith("data: [DONE]\n\n")


def test_too_many_open_requests_are_refused_at_once(tmp_path: Path) -> None:
    with stage(tmp_path, settings={"max_open_requests": 1}) as scene:
        assert scene.ask().status_code == 200
        scene.gateway.context.open_requests = 1
        response = scene.ask()
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert response.json()["error"]["code"] == "overloaded"


def test_a_key_is_asked_for_and_never_goes_upstream(locked: Stage) -> None:
    for path in ("/v1/chat/completions", "/v1/models"):
        method = "POST" if "chat" in path else "GET"
        response = locked.client.request(method, path, json=locked.question)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert set(response.json()["error"]) == FOUR_KEYS
    locked.student.reply = Reply(body=completion(logprob=UNSURE))
    locked.client.headers["authorization"] = "Bearer key-of-ann"
    assert locked.client.get("/v1/models").status_code == 200
    assert locked.ask().status_code == 200
    assert "authorization" not in locked.student.headers[0]
    assert locked.teacher.headers[0]["authorization"] == "Bearer teacher-secret"
    assert "key-of-ann" not in json.dumps(locked.student.headers + locked.teacher.headers)
    assert json.loads(locked.pairs()[0])["pair"]["tenant"] == "ann"
    assert b"key-of-ann" not in locked.pairs()[0]


def test_health_needs_no_key(locked: Stage) -> None:
    assert locked.client.get("/health").status_code == 200


def test_metrics_are_on_the_main_port_of_loopback_alone(tmp_path: Path, scene: Stage) -> None:
    assert "understudy_build_info" in scene.client.get("/metrics").text
    with stage(tmp_path, settings={"ops_port": 9}) as apart:
        assert apart.client.get("/metrics").status_code == 404
        with serving(create_ops_app(apart.gateway)) as url:
            assert "understudy_build_info" in httpx.get(url + "/metrics", trust_env=False).text
            assert httpx.get(url + "/readyz", trust_env=False).status_code == 200
            assert httpx.get(url + "/v1/models", trust_env=False).status_code == 404


def test_a_client_that_leaves_while_it_sends_its_body_is_forgotten(scene: Stage) -> None:
    port = httpx.URL(scene.url).port or 0
    name = "understudy_requests_total"
    before = scene.metric(name, cascade="other", outcome="cancelled")
    with contextlib.closing(socket.create_connection(("127.0.0.1", port))) as connection:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n"
        connection.sendall(head + b"content-type: application/json\r\n\r\n{")
        wait_until(lambda: scene.gateway.context.open_requests == 1)
    wait_until(lambda: scene.metric(name, cascade="other", outcome="cancelled") == before + 1)


@pytest.mark.parametrize("group", ["", "a b", "x" * 65, "a/b"])
def test_a_group_that_can_be_none_is_refused_by_its_header(scene: Stage, group: str) -> None:
    headers = {"x-understudy-group": group}
    response = scene.client.post("/v1/chat/completions", json=scene.question, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "x-understudy-group"


def test_a_bug_is_an_internal_error_that_says_nothing(
    scene: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(scene.gateway.context, "served", {"assistant": None})
    monkeypatch.setattr("gateway.wire.chat_wire.parse_chat", broken)
    response = scene.ask()
    assert response.status_code == 500
    assert response.json()["error"]["message"] == "Internal error."
    assert "secret" not in response.text


def test_a_request_can_opt_out_of_storage(tmp_path: Path) -> None:
    with stage(tmp_path) as scene:
        scene.student.reply = Reply(body=completion(logprob=UNSURE))
        assert scene.ask(store=False).headers["x-understudy-served-by"] == "teacher"
        assert scene.pairs() == []
        assert scene.ask(store=True).status_code == 200
        assert len(scene.pairs()) == 1


def test_a_pair_tells_the_group_and_the_merit(tmp_path: Path) -> None:
    with stage(tmp_path) as scene:
        scene.student.reply = Reply(body=completion(logprob=UNSURE))
        for headers in ({}, {"x-understudy-group": "mmlu:law"}):
            scene.client.post("/v1/chat/completions", json=scene.question, headers=headers)
        bare, named = (json.loads(line)["pair"] for line in scene.pairs())
        assert (bare["group"], named["group"]) == (None, "mmlu:law")
        assert named["merit"] == named["confidence"] > 0
        names = [
            sample.name
            for each in scene.gateway.context.observer.metrics.registry.collect()
            for sample in each.samples
            if "mmlu:law" in sample.labels.values()
        ]
        assert names == []


def test_a_cascade_can_be_told_not_to_store(tmp_path: Path) -> None:
    with stage(tmp_path, cascade={"pairs": {"store": False}}) as scene:
        scene.student.reply = Reply(body=completion(logprob=UNSURE))
        assert scene.ask().headers["x-understudy-served-by"] == "teacher"
        assert scene.pairs() == []
