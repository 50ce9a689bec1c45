"""Requests that pass to named models and to tokenizers, over real sockets."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from routing.ledger import Sums, decode
from tests.fakes.journals import named_postings
from tests.fakes.serving import Stage, closed_port_url, stage, wait_until
from tests.fakes.upstream import Reply

FOUR_KEYS = {"message", "type", "param", "code"}
ALL = ["embeddings", "tokenize", "detokenize", "score", "rerank"]
PRICE = {"input": 0.1}
ANSWER = {"id": "embd-1", "model": "upstream-emb", "data": [], "usage": {"prompt_tokens": 7}}
PATHS = {
    "/v1/embeddings": b"/v1/embeddings",
    "/tokenize": b"/tokenize",
    "/detokenize": b"/detokenize",
    "/score": b"/v1/score",
    "/v1/score": b"/v1/score",
    "/rerank": b"/v1/rerank",
    "/v1/rerank": b"/v1/rerank",
    "/v2/rerank": b"/v1/rerank",
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    models: dict[str, dict[str, Any]] = {
        "emb": {"serves": ALL, "price": PRICE, "api_key_env": "MODEL_KEY"},
        "tokens": {"serves": ["tokenize"], "media": {"hosts": ["images.example.com"]}},
        "away": {"serves": ["embeddings"], "base_url": closed_port_url() + "/v1"},
        "slow": {"serves": ["embeddings"], "timeout_seconds": 0.05, "price": PRICE},
        "busy": {"serves": ["embeddings"], "max_concurrent": 1},
    }
    settings = {"max_body_bytes": 10_000, "max_body_members": 500}
    folder = tmp_path_factory.mktemp("passing")
    with stage(folder, models=models, settings=settings) as built:
        yield built


@pytest.fixture(autouse=True)
def _answering(scene: Stage) -> None:
    scene.student.reply = scene.teacher.reply = Reply(body=ANSWER)


def ask(scene: Stage, path: str = "/v1/embeddings", **fields: Any) -> httpx.Response:
    return scene.client.post(path, json={"model": "emb", "input": "a", **fields})


def books_of(scene: Stage, model: str) -> dict[tuple[str, ...], int]:
    """What has been posted of a model, which may take a second."""
    found: Sums = decode(
        amount
        for name, posting in named_postings(scene.folder / "state")
        if name == model
        for amount in posting.amounts.items()
    )
    return dict(found.amounts)


@pytest.mark.parametrize(("path", "upstream"), PATHS.items())
def test_a_request_passes_with_its_model_put_in_place_and_back(
    scene: Stage, path: str, upstream: bytes
) -> None:
    fields = {"input": ["a", "b"], "user": "ann", "dimensions": 3, "whatever": {"x": [1.0, None]}}
    answer = ask(scene, path, **fields)
    assert answer.status_code == 200
    assert answer.json() == ANSWER | {"model": "emb"}
    assert scene.teacher.paths[-1] == upstream
    assert scene.teacher.requests[-1] == {"model": "upstream-emb", **fields}
    assert scene.teacher.headers[-1]["authorization"] == "Bearer model-secret"
    assert scene.teacher.headers[-1].keys() == {
        *("host", "accept-encoding", "content-type", "content-length", "authorization")
    }
    assert answer.headers["x-request-id"]


def test_what_a_client_says_in_its_head_stays_here_but_for_its_trace(scene: Stage) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {
        "traceparent": trace,
        "x-request-id": "mine",
        "x-understudy-cost-usd": "0",
        "authorization": "Bearer of-the-client",
        "connection": "keep-alive, x-hop",
        "x-hop": "1",
    }
    body = {"model": "emb", "input": "a"}
    answer = scene.client.post("/v1/embeddings", json=body, headers=headers)
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers.get_list("x-understudy-cost-usd") == ["0.0000007"]
    sent = scene.teacher.headers[-1]
    assert sent["traceparent"] == trace
    assert sent["authorization"] == "Bearer model-secret"
    assert not {"x-hop", "x-request-id", "x-understudy-cost-usd"} & sent.keys()


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("assistant", "student"),
        ("assistant:student", "student"),
        ("assistant:teacher", "teacher"),
    ],
)
def test_a_cascades_name_is_that_of_its_students_tokenizer(
    scene: Stage, name: str, asked: str
) -> None:
    model = scene.student if asked == "student" else scene.teacher
    model.reply = Reply(body={"count": 1, "tokens": [5], "max_model_len": 2048})
    answer = scene.client.post("/tokenize", json={"model": name, "prompt": "a"})
    assert answer.json() == {"count": 1, "tokens": [5], "max_model_len": 2048}
    assert model.paths[-1] == b"/tokenize"
    assert model.requests[-1] == {"model": f"upstream-{asked}", "prompt": "a"}
    assert "x-understudy-cost-usd" not in answer.headers


@pytest.mark.parametrize(
    ("path", "fields", "status", "code", "param"),
    [
        ("/v1/embeddings", {"model": "nope"}, 404, "model_not_found", "model"),
        ("/v1/embeddings", {"model": "x" * 5000}, 404, "model_not_found", "model"),
        ("/v1/embeddings", {"model": "emb:student"}, 404, "model_not_found", "model"),
        ("/v1/embeddings", {"model": "assistant"}, 404, "model_not_supported", "model"),
        ("/tokenize", {"model": "assistant:"}, 404, "model_not_found", "model"),
        ("/tokenize", {"model": "assistant:other"}, 404, "model_not_found", "model"),
        ("/v1/score", {"model": "tokens"}, 404, "model_not_supported", "model"),
        ("/v1/chat/completions", {"messages": [{"role": "u"}]}, 404, "model_not_found", "model"),
        ("/v1/embeddings", {"model": 5}, 400, "invalid_request", "model"),
        ("/v1/embeddings", {"priority": 1}, 400, "invalid_request", "priority"),
        ("/tokenize", {"chat_template": "x"}, 400, "invalid_request", "chat_template"),
        (
            "/tokenize",
            {"chat_template_kwargs": {"chat_template": "x"}},
            400,
            "invalid_request",
            "chat_template_kwargs.chat_template",
        ),
        ("/v1/embeddings", {"encoding_format": "bytes"}, 400, "invalid_request", "encoding_format"),
        ("/v1/embeddings", {"input": "x" * 10_000}, 413, "request_too_large", None),
        ("/v1/embeddings", {"input": [[]] * 500}, 413, "request_too_large", None),
        (
            "/tokenize",
            {"messages": [{"role": "u", "content": [{"image_url": "file:///a"}]}]},
            400,
            "media_not_allowed",
            "messages[0].content[0].image_url",
        ),
        (
            "/score",
            {"data_1": "a", "data_2": {"content": [{"image_url": {"url": "http://10.0.0.1/"}}]}},
            400,
            "media_not_allowed",
            "data_2.content[0].image_url.url",
        ),
        (
            "/rerank",
            {"documents": ["a", [{"image": "/etc/passwd"}]]},
            400,
            "media_not_allowed",
            "documents[1][0].image",
        ),
        ("/v1/embeddings", {"image": "/etc/passwd"}, 400, "media_not_allowed", "image"),
        ("/v1/embeddings", {"image_url": ["http://a"]}, 400, "media_not_allowed", "image_url[0]"),
    ],
)
def test_what_does_not_pass_is_told_in_openais_form(
    scene: Stage, path: str, fields: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    asked = len(scene.teacher.requests)
    answer = ask(scene, path, **fields)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == FOUR_KEYS
    assert (error["code"], error["param"]) == (code, param)
    assert len(answer.content) < 500
    assert answer.headers["x-request-id"]
    assert len(scene.teacher.requests) == asked


DEEP = b'{"model":"emb","x":' + b"[" * 480 + b"]" * 480 + b"}"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"model":"emb","x":"\xff"}', 400),
        (b'{"model":"emb","x":[{"y":1e999}]}', 400),
        (DEEP, 200),
    ],
)
def test_a_body_must_be_an_object_that_names_a_model(
    scene: Stage, content: bytes, status: int
) -> None:
    headers = {"content-type": "application/json"}
    answer = scene.client.post("/v1/embeddings", content=content, headers=headers)
    assert answer.status_code == status
    plain = scene.client.post("/v1/embeddings", content=content)
    assert plain.status_code == 415


def test_texts_that_look_like_urls_and_pictures_that_are_allowed_pass(scene: Stage) -> None:
    texts = ["https://evil.example", "file:///etc/passwd", "data:,x"]
    assert ask(scene, input=texts).status_code == 200
    assert ask(scene, "/rerank", query=texts[0], documents=[{"text": texts[0]}]).status_code == 200
    part = {"type": "image_url", "image_url": {"url": "https://images.example.com/a.png"}}
    messages = [{"role": "user", "content": [part]}]
    assert ask(scene, "/tokenize", model="tokens", messages=messages).status_code == 200
    assert ask(scene, "/tokenize", model="emb", messages=messages).status_code == 400


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (Reply(status=400, body={"error": {"message": "too long", "param": "input"}}), 400, None),
        (Reply(status=422, body={"detail": "no"}), 422, None),
        (Reply(status=404, body={"detail": "Not Found"}), 502, "upstream_misconfigured"),
        (Reply(status=401, body={}), 502, "upstream_misconfigured"),
        (Reply(status=429, body={}), 503, "upstream_busy"),
        (Reply(status=500, body=b"Traceback: http://10.0.0.7"), 502, "upstream_failed"),
        (Reply(status=503, body={}), 503, "upstream_unavailable"),
        (Reply(body=b"no JSON"), 502, "upstream_malformed"),
        (Reply(body=[1]), 502, "upstream_malformed"),
        (Reply(body={}, is_broken_off=True), 503, "upstream_unavailable"),
    ],
)
def test_a_servers_failure_is_told_as_chats_are(
    scene: Stage, reply: Reply, status: int, code: str | None
) -> None:
    scene.teacher.reply = reply
    answer = ask(scene)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == FOUR_KEYS
    assert code is None or error["code"] == code
    assert "10.0.0.7" not in answer.text
    scene.teacher.reply = Reply(body=ANSWER)
    assert ask(scene).status_code == 200


def test_a_server_that_is_away_is_left_alone_after_a_while(scene: Stage) -> None:
    for _ in range(5):
        assert ask(scene, model="away").json()["error"]["code"] == "upstream_unavailable"
    assert scene.metric("understudy_passed_breaker_open", model="away") == 1
    calls = scene.metric("understudy_passed_seconds_count", model="away")
    answer = ask(scene, model="away")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "left alone" in answer.json()["error"]["message"]
    assert scene.metric("understudy_passed_seconds_count", model="away") == calls


def test_a_call_that_takes_too_long_is_a_timeout_with_an_unknown_bill(scene: Stage) -> None:
    scene.teacher.reply = Reply(body=ANSWER, delay_seconds=30)
    assert ask(scene, model="slow").status_code == 504
    unknown = {"model": "slow", "cause": "usage"}
    assert scene.metric("understudy_passed_cost_unknown_total", **unknown) == 1


def test_calls_beyond_the_limit_are_refused_and_a_client_that_leaves_frees_its_place(
    scene: Stage,
) -> None:
    scene.teacher.reply = Reply(body=ANSWER, delay_seconds=30)
    before, left = len(scene.teacher.requests), scene.teacher.disconnects
    with httpx.Client(base_url=scene.url, timeout=0.3, trust_env=False) as leaving:
        with pytest.raises(httpx.ReadTimeout):
            leaving.post("/v1/embeddings", json={"model": "busy", "input": "a"})
        wait_until(lambda: len(scene.teacher.requests) > before)
    wait_until(lambda: scene.teacher.disconnects > left)
    cancelled = {"model": "busy", "route": "embeddings", "outcome": "cancelled"}
    wait_until(lambda: scene.metric("understudy_passed_requests_total", **cancelled) == 1)
    scene.gateway.context.named["busy"].model.open_calls += 1  # type: ignore[attr-defined]
    answer = ask(scene, model="busy")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_busy")
    scene.gateway.context.named["busy"].model.open_calls -= 1  # type: ignore[attr-defined]
    scene.teacher.reply = Reply(body=ANSWER)
    assert ask(scene, model="busy").status_code == 200


def test_header_metrics_and_books_have_one_bill(scene: Stage) -> None:
    """Of all that was asked in this module so far."""
    served = ("-", "model", "served")
    labels = {"model": "emb", "kind": "served"}
    scene.teacher.reply = Reply(body=ANSWER | {"usage": {"total_tokens": 2_000_000}})
    assert ask(scene, "/rerank").headers["x-understudy-cost-usd"] == "0.2"
    # Tokenizers cost nothing, and are not in the books.
    billed = {"model": "emb", "outcome": "passed"}
    passed = sum(
        scene.metric("understudy_passed_requests_total", route=route, **billed)
        for route in ("embeddings", "score", "rerank")
    )

    def is_posted() -> bool:
        return books_of(scene, "emb").get(("-", "requests", "passed")) == passed

    wait_until(is_posted)
    books = books_of(scene, "emb")
    cost = books[*served, "cost_pico"] / 10**12
    assert cost == pytest.approx(scene.metric("understudy_passed_cost_usd_total", **labels))
    tokens = {"model": "emb", "type": "input"}
    read = scene.metric("understudy_passed_tokens_total", **tokens)
    assert books[*served, "input"] == read >= 2_000_000
    assert books[*served, "calls"] == passed
    assert not books_of(scene, "assistant")


def test_models_are_listed_beside_the_cascades(scene: Stage) -> None:
    names = [model["id"] for model in scene.client.get("/v1/models").json()["data"]]
    assert names == ["assistant", "away", "busy", "emb", "slow", "tokens"]
    assert scene.client.get("/v1/models/emb").json()["id"] == "emb"


def test_a_key_asks_for_its_own_models_alone(tmp_path: Path) -> None:
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "bob", "kim")}
    keys = tmp_path / "keys.yaml"
    document = [
        {"name": "ann", "sha256": digests["ann"], "models": ["emb"]},
        {"name": "bob", "sha256": digests["bob"], "models": ["assistant"]},
        {"name": "kim", "sha256": digests["kim"], "may_escalate": False},
    ]
    keys.write_text(yaml.safe_dump({"keys": document}))
    models = {"emb": {"serves": ALL}}
    with stage(tmp_path, models=models, settings={"keys_file": keys}) as scene:
        scene.student.reply = scene.teacher.reply = Reply(body=ANSWER)

        def status(key: str, path: str, model: str) -> int:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            body = {"model": model, "input": "a"}
            return scene.client.post(path, json=body, headers=headers).status_code

        assert status("ann", "/v1/embeddings", "emb") == 200
        assert status("bob", "/v1/embeddings", "emb") == 404
        assert status("bob", "/tokenize", "assistant:teacher") == 200
        assert status("kim", "/tokenize", "assistant:student") == 200
        assert status("kim", "/tokenize", "assistant:teacher") == 403
        assert status("ann", "/tokenize", "assistant") == 404
        assert status("", "/v1/embeddings", "emb") == 401
        assert status("eve", "/v1/embeddings", "emb") == 401
