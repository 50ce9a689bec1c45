"""The failure table of the design, row by row, over real sockets."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.stores.shipper import Shipper
from tests.fakes.serving import (
    Stage,
    cascade_document,
    closed_port_url,
    load_gateway,
    stage,
    wait_until,
)
from tests.fakes.upstream import SURE, UNSURE, Reply, completion, tokens

FAILURES = {
    "500": Reply(status=500, body={"error": {"message": "EngineCore encountered an issue"}}),
    "503": Reply(status=503, body=b"loading"),
    "hangs": Reply(delay_seconds=30),
    "breaks off": Reply(is_broken_off=True),
    "no JSON": Reply(body=b"<html>"),
    "no UTF-8": Reply(body=json.dumps(completion()).encode()[:-1] + b',"z":"\xff"}'),
    "no completion": Reply(body={"object": "list"}),
    "no choices": Reply(body=completion() | {"choices": []}),
    "wrong key": Reply(status=401, body={"error": "Unauthorized"}),
    "wrong model": Reply(status=404, body={"detail": "Not Found"}),
    "busy": Reply(status=429, body=b""),
}
SHORT = {"timeout_seconds": 0.5}
SURE_REPLY = Reply(body=completion("Paris.", SURE))
UNSURE_REPLY = Reply(body=completion("Rome?", UNSURE))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path, cascade={"student": SHORT, "teacher": SHORT}) as built:
        yield built


def text_of(response: Any) -> str:
    content: str = response.json()["choices"][0]["message"]["content"]
    return content


def test_a_sure_draft_is_kept_and_the_teacher_not_asked(scene: Stage) -> None:
    scene.student.reply = SURE_REPLY
    response = scene.ask()
    assert response.status_code == 200
    assert text_of(response) == "Paris."
    assert response.headers["x-understudy-served-by"] == "student"
    assert response.headers["x-understudy-reason"] == "confident"
    assert response.headers["x-understudy-cascade"] == "assistant"
    assert response.headers["x-understudy-policy"] == "uncalibrated"
    assert 0.8 < float(response.headers["x-understudy-confidence"]) <= 1
    assert (
        response.headers["x-understudy-cost-usd"] == "0.0000026"
    )  # 100 * 0.02 + 10 * 0.06 millionths
    assert "x-understudy-degraded" not in response.headers
    assert response.json()["model"] == "assistant"
    assert scene.teacher.requests == []
    assert scene.pairs() == []
    assert scene.metric("understudy_requests_total", cascade="assistant", outcome="kept") == 1


def test_an_unsure_draft_is_escalated_and_recorded(scene: Stage) -> None:
    scene.student.reply = UNSURE_REPLY
    response = scene.ask()
    assert text_of(response) == "Paris."
    assert response.headers["x-understudy-served-by"] == "teacher"
    assert response.headers["x-understudy-reason"] == "low_confidence"
    assert response.headers["x-understudy-cost-usd"] == "0.0000866"
    (line,) = scene.pairs()
    record = json.loads(line)
    assert record["cascade"] == "assistant"
    pair = record["pair"]
    assert pair["content"]["request"] == scene.question
    assert pair["content"]["draft"]["choices"][0]["message"]["content"] == "Rome?"
    assert pair["content"]["answer"]["choices"][0]["message"]["content"] == "Paris."
    assert pair["reason"] == "low_confidence"
    assert pair["request_id"] == response.headers["x-request-id"]
    assert pair["student_version"] == "student-1"
    assert pair["teacher_version"] == "upstream-teacher"
    assert pair["consent"] == {"tenant_may_train": True, "teacher_outputs_may_train": True}
    assert [leg["cost_usd"] for leg in pair["legs"]] == ["0.0000026", "0.000084"]
    assert set(pair["signals"]) >= {"mean_probability", "min_margin"}
    cost = "understudy_cost_usd_total"
    assert scene.metric(cost, cascade="assistant", role="student", kind="wasted") == 0.0000026
    assert scene.metric(cost, cascade="assistant", role="teacher", kind="served") == 0.000084
    measured = {"cascade": "assistant", "basis": "measured"}
    assert scene.metric("understudy_baseline_usd_total", **measured) == 0.000084


def test_a_draft_without_log_probabilities_is_deferred_for_want_of_a_signal(scene: Stage) -> None:
    scene.student.reply = Reply(body=completion(choice={"logprobs": None}))
    response = scene.ask()
    assert response.headers["x-understudy-reason"] == "no_signal"
    assert "x-understudy-confidence" not in response.headers


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
def test_where_the_student_fails_the_teacher_answers(scene: Stage, failure: Reply) -> None:
    scene.student.reply = failure
    response = scene.ask()
    assert response.status_code == 200
    assert text_of(response) == "Paris."
    assert response.headers["x-understudy-served-by"] == "teacher"
    assert response.headers["x-understudy-reason"] == "student_failed"
    pair = json.loads(scene.pairs()[0])["pair"]
    assert pair["content"]["draft"] is None


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
def test_where_the_teacher_fails_the_draft_is_served_and_marked(
    scene: Stage, failure: Reply
) -> None:
    scene.student.reply = UNSURE_REPLY
    scene.teacher.reply = failure
    response = scene.ask()
    assert response.status_code == 200
    assert text_of(response) == "Rome?"
    assert response.headers["x-understudy-served-by"] == "student"
    assert response.headers["x-understudy-reason"] == "low_confidence"
    why = "teacher_busy" if failure.status == 429 else "teacher_failed"
    assert response.headers["x-understudy-degraded"] == why
    assert scene.pairs() == []
    assert scene.metric("understudy_degraded_total", cascade="assistant", degraded=why) == 1
    assert scene.metric("understudy_requests_total", cascade="assistant", outcome="degraded") == 1


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
def test_where_both_fail_the_client_gets_503_and_when_to_come_back(
    scene: Stage, failure: Reply
) -> None:
    scene.student.reply = scene.teacher.reply = failure
    response = scene.ask()
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert response.json()["error"]["code"] == "teacher_unavailable"
    assert scene.metric("understudy_requests_total", cascade="assistant", outcome="failed") == 1


def test_servers_that_are_not_there_count_as_failed(tmp_path: Path) -> None:
    with stage(tmp_path, student_url=closed_port_url()) as scene:
        assert scene.ask().headers["x-understudy-reason"] == "student_failed"
    with stage(tmp_path, teacher_url=closed_port_url()) as scene:
        scene.student.reply = UNSURE_REPLY
        response = scene.ask()
        assert response.headers["x-understudy-degraded"] == "teacher_failed"
        # Nothing was asked of the teacher, so the bill is known.
        assert response.headers["x-understudy-cost-usd"] == "0.0000026"


def test_a_cascade_that_refuses_degraded_answers_gives_503(tmp_path: Path) -> None:
    with stage(tmp_path, cascade={"degraded": "refuse"}, teacher_url=closed_port_url()) as scene:
        scene.student.reply = UNSURE_REPLY
        assert scene.ask().status_code == 503
        labels = {"cascade": "assistant", "reason": "low_confidence"}
        assert scene.metric("understudy_deferrals_total", **labels) == 1
        scene.student.reply = SURE_REPLY
        assert scene.ask().status_code == 200


def test_a_teacher_that_times_out_leaves_the_cost_unknown_and_says_so(scene: Stage) -> None:
    scene.student.reply = UNSURE_REPLY
    scene.teacher.reply = FAILURES["hangs"]
    response = scene.ask()
    assert "x-understudy-cost-usd" not in response.headers
    labels = {"cascade": "assistant", "role": "teacher", "cause": "usage"}
    assert scene.metric("understudy_cost_unknown_total", **labels) == 1


def test_a_model_without_a_price_leaves_the_cost_unknown(tmp_path: Path) -> None:
    with stage(tmp_path, cascade={"student": {"price": None}}) as scene:
        assert "x-understudy-cost-usd" not in scene.ask().headers
        labels = {"cascade": "assistant", "role": "student", "cause": "price"}
        assert scene.metric("understudy_cost_unknown_total", **labels) == 1


def test_a_full_teacher_is_not_asked(tmp_path: Path) -> None:
    with stage(tmp_path, cascade={"teacher": {"max_concurrent": 1}}) as scene:
        scene.student.reply = UNSURE_REPLY
        scene.gateway.models[1].open_calls = 1
        response = scene.ask()
        assert response.headers["x-understudy-degraded"] == "teacher_busy"
        assert scene.teacher.requests == []
        scene.gateway.models[1].open_calls = 0
        assert scene.ask().headers["x-understudy-served-by"] == "teacher"


def test_a_failing_teacher_is_left_alone_after_five_failures(scene: Stage) -> None:
    scene.student.reply = UNSURE_REPLY
    scene.teacher.reply = FAILURES["503"]
    labels = {"cascade": "assistant", "role": "teacher"}
    for _ in range(8):
        assert scene.ask().headers["x-understudy-degraded"] == "teacher_failed"
    assert len(scene.teacher.requests) == 5
    assert scene.metric("understudy_breaker_open", **labels) == 1
    scene.teacher.reply = Reply()
    scene.gateway.models[1].breaker.opened_at = 0.0
    assert scene.ask().headers["x-understudy-served-by"] == "teacher"
    assert scene.metric("understudy_breaker_open", **labels) == 0


def test_a_failing_student_is_left_alone_after_five_failures(scene: Stage) -> None:
    scene.student.reply = FAILURES["503"]
    for _ in range(8):
        assert scene.ask().headers["x-understudy-reason"] == "student_failed"
    assert len(scene.student.requests) == 5


@pytest.mark.parametrize("failure", ["500", "no JSON", "busy", "wrong model"])
def test_what_one_client_can_provoke_does_not_shut_the_student_for_all(
    scene: Stage, failure: str
) -> None:
    scene.student.reply = FAILURES[failure]
    for _ in range(8):
        assert scene.ask().headers["x-understudy-reason"] == "student_failed"
    scene.student.reply = SURE_REPLY
    assert scene.ask().headers["x-understudy-served-by"] == "student"


def test_a_teacher_that_hangs_longer_than_clients_wait_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.upstream.openai.PATIENCE_SECONDS", 0.1)
    with stage(tmp_path) as scene:
        scene.student.reply = UNSURE_REPLY
        scene.teacher.reply = Reply(delay_seconds=20)
        for _ in range(5):
            with pytest.raises(httpx.ReadTimeout):
                scene.client.post("/v1/chat/completions", json=scene.question, timeout=0.3)
        wait_until(lambda: scene.gateway.context.open_requests == 0)
        assert scene.ask().headers["x-understudy-degraded"] == "teacher_failed"


def test_a_mistake_that_the_student_finds_goes_back_to_the_client(scene: Stage) -> None:
    body = {"error": {"message": "temperature must be ...", "param": "temperature", "code": 400}}
    scene.student.reply = Reply(status=400, body=body)
    response = scene.ask()
    assert response.status_code == 400
    assert response.json()["error"] == {
        "message": "temperature must be ...",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "invalid_request",
    }
    assert scene.teacher.requests == []
    assert scene.metric("understudy_requests_total", cascade="assistant", outcome="rejected") == 1


def test_a_prompt_too_long_for_the_student_goes_to_the_teacher(scene: Stage) -> None:
    message = "This model's maximum context length is 2048 tokens."
    too_long = Reply(status=400, body={"error": {"message": message, "param": "input_tokens"}})
    scene.student.reply = too_long
    assert scene.ask().headers["x-understudy-reason"] == "student_cannot"
    scene.teacher.reply = too_long
    response = scene.ask()
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


def test_what_the_student_cannot_do_goes_straight_to_the_teacher(tmp_path: Path) -> None:
    with stage(tmp_path, cascade={"student": {"cannot": ["vision", "tools"]}}) as scene:
        image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
        tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
        for changes in (
            {"messages": [{"role": "user", "content": image}]},
            {"tools": [tool]},
        ):
            assert scene.ask(**changes).headers["x-understudy-reason"] == "student_cannot"
        assert scene.student.requests == []
        assert scene.ask().headers["x-understudy-served-by"] == "student"


def test_invalid_structure_is_deferred_however_sure(scene: Stage) -> None:
    scene.student.reply = Reply(body=completion('{"a": '))
    response = scene.ask(response_format={"type": "json_object"})
    assert response.headers["x-understudy-reason"] == "invalid_structure"


def test_a_client_that_leaves_stops_both_models(scene: Stage) -> None:
    for model in (scene.student, scene.teacher):
        scene.student.reply = UNSURE_REPLY
        model.reply = Reply(delay_seconds=20)
        with pytest.raises(httpx.ReadTimeout):
            scene.client.post("/v1/chat/completions", json=scene.question, timeout=0.2)
        wait_until(lambda left=model: left.disconnects == 1, seconds=0.3)  # type: ignore[misc]
    wait_until(lambda: scene.gateway.context.open_requests == 0)
    assert scene.metric("understudy_requests_total", cascade="assistant", outcome="cancelled") == 2
    labels = {"cascade": "assistant", "role": "student", "cause": "usage"}
    assert scene.metric("understudy_cost_unknown_total", **labels) == 1


def test_an_end_token_does_not_lower_confidence(scene: Stage) -> None:
    sure, end = tokens("Paris."), tokens("<|im_end|>", logprob=-9.0)
    scene.student.reply = Reply(
        body=completion("Paris.", choice={"logprobs": {"content": sure + end}})
    )
    assert scene.ask().headers["x-understudy-reason"] == "confident"


async def test_a_shipper_that_ends_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.stores.pair_store.RESTART_SECONDS", 0.0)
    starts = asyncio.Event()
    attempts = 0

    async def broken(_: Shipper) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 3:
            starts.set()
        raise RuntimeError("a bug")

    monkeypatch.setattr(Shipper, "run", broken)
    settings = {"redis_url": closed_port_url().replace("http", "redis")}
    document = cascade_document("http://127.0.0.1:1", "http://127.0.0.1:1")
    gateway = load_gateway(tmp_path, document, settings)
    async with gateway.running(), asyncio.timeout(5):
        await starts.wait()
