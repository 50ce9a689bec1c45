"""Requests that say who is to answer, and how sure a draft must be; and what keys allow of that."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
import yaml

from tests.fakes.chunks import chunk
from tests.fakes.script import Raw
from tests.fakes.serving import Stage, stage
from tests.fakes.upstream import UNSURE, Reply, saying

KEYS = {"plain": {}, "free": {"may_pin": True, "dial": [0.5, 0.9]}}
PLACES = ["name", "header", "body"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("wishes")
    others: dict[str, dict[str, Any]] = {
        "twins": {"same_tokenizer": True},
        "held": {"audit": {"holdout": 0.5}},
    }
    with stage(folder, others=others) as built:
        yield built


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("locked")
    entries = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest()} | rights
        for name, rights in (KEYS | {"bound": {"may_pin": True, "may_escalate": False}}).items()
    ]
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": entries}))
    with stage(folder, settings={"keys_file": folder / "keys.yaml"}) as built:
        yield built


def ask(scene: Stage, route: str, place: str = "body", **changes: Any) -> httpx.Response:
    """Ask for somebody's answer, in one of three places."""
    body, headers = scene.question | changes, {}
    if place == "name":
        body |= {"model": f"{body['model']}:{route}"}
    elif place == "header":
        headers = {"x-understudy-route": route}
    else:
        body |= {"understudy": {"route": route}}
    return scene.client.post("/v1/chat/completions", json=body, headers=headers)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_the_student_answers_whatever_its_draft_is(
    scene: Stage, place: str, is_stream: bool
) -> None:
    scene.student.reply, before = saying(["Rome?"], UNSURE), len(scene.teacher.requests)
    response = ask(scene, "student", place, stream=is_stream)
    assert response.headers["x-understudy-served-by"] == "student"
    assert response.headers["x-understudy-reason"] == "pinned"
    assert "x-understudy-degraded" not in response.headers
    assert "Rome?" in response.text
    assert len(scene.teacher.requests) == before


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_the_teacher_answers_and_no_draft_is_paid_for(
    scene: Stage, place: str, is_stream: bool
) -> None:
    scene.teacher.reply, before = saying(["Paris."]), len(scene.student.requests)
    pairs = len(scene.pairs())
    response = ask(scene, "teacher", place, stream=is_stream)
    assert response.headers["x-understudy-served-by"] == "teacher"
    assert response.headers["x-understudy-reason"] == "pinned"
    assert len(scene.student.requests) == before
    (written,) = [json.loads(line)["pair"] for line in scene.pairs()[pairs:]]
    assert (written["reason"], written["content"]["draft"]) == ("pinned", None)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("route", ["student", "teacher"])
def test_the_other_model_does_not_step_in(scene: Stage, route: str, is_stream: bool) -> None:
    scene.student.reply = scene.teacher.reply = Reply(status=500)
    response = ask(scene, route, stream=is_stream)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "teacher_unavailable"
    for model in scene.gateway.models:
        model.breaker.succeeded()


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("route", ["student", "teacher"])
def test_a_refusal_of_the_one_that_was_asked_for_is_the_client_s(
    scene: Stage, route: str, is_stream: bool
) -> None:
    refusal = {"error": {"message": "temperature must be low", "type": "x", "param": "temperature"}}
    scene.student.reply = scene.teacher.reply = Reply(status=400, body=refusal)
    response = ask(scene, route, stream=is_stream)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "temperature"


def test_a_stream_of_the_student_alone_waits_for_no_window(scene: Stage) -> None:
    word = Raw(chunk({"role": "assistant", "content": "Rome?"}))
    scene.student.reply = Reply(steps=[word, Raw(chunk({}, choice={"finish_reason": "stop"}))])
    response = ask(scene, "student", stream=True)
    *_, last, _ = response.text.split("\n\n")[:-1]
    assert json.loads(last.removeprefix("data: "))["understudy"]["reason"] == "pinned"


@pytest.mark.parametrize(
    ("place", "at_least", "served_by"),
    [("body", 0.2, "student"), ("header", 0.2, "student"), ("body", 0.99, "teacher")],
)
def test_a_request_says_how_sure_a_draft_must_be(
    scene: Stage, place: str, at_least: float, served_by: str
) -> None:
    scene.student.reply, scene.teacher.reply = saying(["Rome."], -0.5), saying(["Paris."])
    headers = {"x-understudy-min-confidence": str(at_least)} if place == "header" else {}
    body = scene.question
    if place == "body":
        body = body | {"understudy": {"min_confidence": at_least}}
    response = scene.client.post("/v1/chat/completions", json=body, headers=headers)
    assert response.headers["x-understudy-served-by"] == served_by


def test_no_draft_that_was_asked_for_is_held_out(scene: Stage) -> None:
    scene.student.reply = saying(["Rome?"])
    reasons = {ask(scene, "student", model="held").headers["x-understudy-reason"] for _ in range(8)}
    assert reasons == {"pinned"}


def test_two_places_may_say_the_same(scene: Stage) -> None:
    scene.student.reply = saying(["Rome?"])
    headers = {"x-understudy-route": "student"}
    body = scene.question | {"model": "assistant:student", "understudy": {"route": "student"}}
    response = scene.client.post("/v1/chat/completions", json=body, headers=headers)
    assert response.status_code == 200
    assert response.json()["model"] == "assistant:student"


@pytest.mark.parametrize(
    ("body", "headers", "param"),
    [
        ({"model": "assistant:student"}, {"x-understudy-route": "teacher"}, "understudy"),
        ({"understudy": {"route": "auto"}}, {"x-understudy-route": "teacher"}, "understudy"),
        (
            {"understudy": {"min_confidence": 0.5}},
            {"x-understudy-min-confidence": "0.6"},
            "understudy",
        ),
        ({"understudy": {"route": "both"}}, {}, "understudy.route"),
        ({"understudy": {"rout": "student"}}, {}, "understudy"),
        ({"understudy": {"min_confidence": 1.1}}, {}, "understudy.min_confidence"),
        ({"understudy": 5}, {}, "understudy"),
        ({}, {"x-understudy-route": "both"}, "x-understudy-route"),
        ({}, {"x-understudy-min-confidence": "high"}, "x-understudy-min-confidence"),
        ({}, {"x-understudy-min-confidence": "nan"}, "x-understudy-min-confidence"),
        ({}, {"x-understudy-min-confidence": "-0.1"}, "x-understudy-min-confidence"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    scene: Stage, body: dict[str, Any], headers: dict[str, str], param: str
) -> None:
    response = scene.client.post(
        "/v1/chat/completions", json=scene.question | body, headers=headers
    )
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("model", ["assistant:both", "nobody:student", ":student", "assistant:"])
def test_a_name_that_pins_nobody_does_not_exist(scene: Stage, model: str) -> None:
    response = scene.ask(model=model)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("name", ["logit_bias", "allowed_token_ids", "stop_token_ids"])
def test_token_ids_pass_where_they_can_mean_one_thing_alone(scene: Stage, name: str) -> None:
    scene.student.reply = saying(["Rome."])
    value: Any = {"42": 1} if name == "logit_bias" else [42]
    assert ask(scene, "student", **{name: value}).status_code == 200
    assert scene.ask(model="twins", **{name: value}).status_code == 200
    assert scene.ask(**{name: type(value)()}).status_code == 200
    assert scene.ask(**{name: value}).status_code == 400


@pytest.mark.parametrize("field", [{"route": "student"}, {"min_confidence": 0.7}])
def test_a_key_without_the_right_may_not(locked: Stage, field: dict[str, Any]) -> None:
    body = locked.question | {"understudy": field}
    for key, status in (("plain", 403), ("free", 200)):
        headers = {"authorization": f"Bearer {key}"}
        response = locked.client.post("/v1/chat/completions", json=body, headers=headers)
        assert response.status_code == status
    assert locked.client.post("/v1/chat/completions", json=body).status_code == 401


def test_every_key_may_ask_for_what_happens_anyway(locked: Stage) -> None:
    body = locked.question | {"understudy": {"route": "auto"}}
    headers = {"authorization": "Bearer plain"}
    assert locked.client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200


@pytest.mark.parametrize(("at_least", "status"), [(0.5, 200), (0.9, 200), (0.49, 403), (0.91, 403)])
def test_the_dial_ends_where_the_key_says(locked: Stage, at_least: float, status: int) -> None:
    headers = {"authorization": "Bearer free"}
    body = locked.question | {"understudy": {"min_confidence": at_least}}
    response = locked.client.post("/v1/chat/completions", json=body, headers=headers)
    assert response.status_code == status
    if status == 403:
        assert response.json()["error"]["code"] == "not_allowed"


def test_a_key_that_may_not_escalate_may_not_ask_for_the_teacher(locked: Stage) -> None:
    client = openai.OpenAI(base_url=locked.url + "/v1", api_key="bound", max_retries=0)
    with client, pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(
            model="assistant:teacher", messages=[{"role": "user", "content": "Hi"}]
        )
