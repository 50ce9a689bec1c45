"""Live streams of a real small model: SmolLM2 behind llama.cpp's own server."""

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
import yaml

from evaluation.records import draft_of, read_records
from routing import signals_of
from tests.fakes.arrivals import arrivals
from tests.fakes.listener import PatientListener
from tests.fakes.real_student import real_student
from tests.fakes.script import ROLE, Step, Until, Words, whole
from tests.fakes.serving import (
    PLAIN_HTTP,
    Stage,
    cascade_document,
    serving,
    stage,
    wait_until,
)
from tests.fakes.upstream import Reply, completion
from tests.wire_server.process import get
from understudy.demo.teacher import create_teacher
from understudy.demo.teacher_wire import MODEL
from understudy.demo.workload import generate, solve
from understudy.record.command import record

HOLD_TOKENS = 16
TRIALS = 5
# Two processes on a busy machine: what the gateway itself may add to the window.
SLACK_SECONDS = 0.15
STORY = {
    "model": "assistant",
    "messages": [{"role": "user", "content": "Tell me a long story about a lighthouse."}],
    "temperature": 0,
    "max_tokens": 48,
    "stream": True,
}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
    "additionalProperties": False,
}
JSON = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
# What the gateway does is the same for both; the scripted models of tests/contract try each.
BOTH_CLIENTS = pytest.mark.parametrize(
    "is_async", [False, pytest.param(True, marks=pytest.mark.full)], ids=["sync", "async"]
)


@pytest.fixture(scope="module")
def student_url() -> Iterator[str]:
    with real_student() as url:
        yield url


def scene_of(folder: Path, student_url: str, at_least: float) -> Any:
    cascade = {
        "objective": {"kind": "confidence", "at_least": at_least},
        "streaming": {"hold_tokens": HOLD_TOKENS},
        "student": {
            "base_url": student_url + "/v1",
            "extra_body": {"timings_per_token": True},
        },
        "audit": {"complete_drafts": 0},
    }
    return stage(folder, cascade=cascade)


@pytest.mark.full
def test_the_first_token_comes_no_later_than_the_window_ends(
    tmp_path: Path, student_url: str
) -> None:
    direct_url = student_url + "/v1/chat/completions"
    with scene_of(tmp_path, student_url, at_least=0) as scene:
        live_url = scene.url + "/v1/chat/completions"
        _, expected = arrivals(direct_url, STORY)
        directs, lives = [], []
        for _ in range(TRIALS):
            direct, _ = arrivals(direct_url, STORY)
            live, text = arrivals(live_url, STORY)
            assert text == expected
            directs.append(direct)
            lives.append(live)
        # What else runs on a machine only adds time: the quickest of each is nearest to the truth.
        first, last = (min(live[place] for live in lives) for place in (0, -1))
        assert first - min(direct[HOLD_TOKENS - 1] for direct in directs) < SLACK_SECONDS
        assert first < 0.7 * last  # it did stream


def test_an_aborted_draft_frees_its_slot_and_is_billed(tmp_path: Path, student_url: str) -> None:
    with scene_of(tmp_path, student_url, at_least=1) as scene:
        scene.teacher.reply = Reply(body=completion("Once, and no more."))
        _, text = arrivals(scene.url + "/v1/chat/completions", STORY | {"max_tokens": 400})
        assert text == "Once, and no more."
        wait_until(lambda: not is_busy(student_url), seconds=1)
        assert scene.metric("understudy_drafts_aborted_total", cascade="assistant") == 1
        (pair,) = [json.loads(line)["pair"] for line in scene.pairs()]
        student, _ = pair["legs"]
        assert student["error"] == "aborted"
        assert 8 <= student["output_tokens"] < 400
        assert student["cost_usd"] is not None
        assert pair["draft_complete"] is False


def test_a_client_that_leaves_frees_the_slot(tmp_path: Path, student_url: str) -> None:
    with scene_of(tmp_path, student_url, at_least=0) as scene:
        question = STORY | {"max_tokens": 1000}
        with scene.client.stream("POST", "/v1/chat/completions", json=question) as response:
            lines = response.iter_lines()
            next(lines)
            assert is_busy(student_url)
        wait_until(lambda: not is_busy(student_url), seconds=1)
        wait_until(lambda: cancelled(scene) == 1, seconds=1)


@BOTH_CLIENTS
def test_it_goes_on_with_a_draft_that_fell_into_doubt(
    tmp_path: Path, student_url: str, is_async: bool
) -> None:
    counted, doubted = ["1", ",", " 2", ",", " 3", ",", " 4", ","], [" 5", ","] * 4
    cascade = {
        "streaming": {"hold_tokens": 8, "handover": "continue"},
        "teacher": {"base_url": student_url + "/v1"},
    }
    with stage(tmp_path, cascade=cascade) as scene:
        name = "understudy_teacher_continues"
        wait_until(lambda: scene.metric(name, cascade="assistant") == 1)
        steps: list[Step] = [ROLE, Words(counted), Words(doubted, -6.0), Until(Event())]
        scene.student.reply = Reply(steps=steps)
        message = {"role": "user", "content": "Count from 1 to 20, separated by commas."}
        question = STORY | {"messages": [message], "max_tokens": 30}
        listener = PatientListener(scene.url, question, is_async=is_async).whole()
        (pair,) = [json.loads(line)["pair"] for line in scene.pairs()]
        released = pair["content"]["released"]
        continued = pair["content"]["answer"]["choices"][0]["message"]["content"]
        assert released == "".join(counted + doubted)
        assert continued
        assert not continued.startswith(counted[0])
        assert listener.text == released + continued
        assert listener.said["handover"]["kind"] == "continue"


@BOTH_CLIENTS
def test_it_starts_again_for_a_client_that_wants_that(
    tmp_path: Path, student_url: str, is_async: bool
) -> None:
    out = [f"w{number} " for number in range(16)]
    cascade = {
        "streaming": {"hold_tokens": 8, "handover": "restart"},
        "teacher": {"base_url": student_url + "/v1"},
    }
    with stage(tmp_path, cascade=cascade) as scene:
        steps: list[Step] = [ROLE, Words(out[:8]), Words(out[8:], -6.0), Until(Event())]
        scene.student.reply = Reply(steps=steps)
        wanted, question = {"x-understudy-handover": "restart"}, STORY | {"max_tokens": 8}
        listener = PatientListener(scene.url, question, is_async=is_async, headers=wanted).whole()
        _, itself = arrivals(student_url + "/v1/chat/completions", question)
        assert listener.text == "".join(out) + itself


@BOTH_CLIENTS
@pytest.mark.parametrize(("most", "served_by"), [(60, "student"), (3, "teacher")])
def test_json_is_out_when_it_is_whole_and_never_half(
    tmp_path: Path, student_url: str, is_async: bool, most: int, served_by: str
) -> None:
    with scene_of(tmp_path, student_url, at_least=0) as scene:
        scene.teacher.reply = Reply(steps=whole(["{", "}"]))
        question = STORY | {"response_format": JSON, "max_tokens": most}
        listener = PatientListener(scene.url, question, is_async=is_async).whole()
        assert listener.headers["x-understudy-served-by"] == served_by
        assert set(json.loads(listener.text)) == ({"city"} if served_by == "student" else set())
        assert listener.heard_at[-1] - listener.heard_at[0] < 0.5


@BOTH_CLIENTS
def test_with_tools_it_is_asked_whole_and_streamed_then(
    tmp_path: Path, student_url: str, is_async: bool
) -> None:
    """It refuses to stream log-probabilities beside tools; this model calls none."""
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    with scene_of(tmp_path, student_url, at_least=0) as scene:
        question = STORY | {"tools": [tool], "max_tokens": 20}
        listener = PatientListener(scene.url, question, is_async=is_async).whole()
        _, itself = arrivals(student_url + "/v1/chat/completions", question)
        assert listener.text == itself
        assert listener.said["served_by"] == "student"
        assert scene.teacher.requests == []


def test_a_call_right_after_a_stream_finds_a_sound_connection(
    tmp_path: Path, student_url: str
) -> None:
    with scene_of(tmp_path, student_url, at_least=0) as scene:
        for _ in range(5):
            arrivals(scene.url + "/v1/chat/completions", STORY | {"max_tokens": 2})
            response = scene.ask(max_tokens=2)
            assert response.headers["x-understudy-served-by"] == "student"


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_a_response_says_what_its_own_would_say(
    tmp_path: Path, student_url: str, is_stream: bool
) -> None:
    asked = {
        "model": "assistant",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "Capital of France?"},
            {"type": "message", "role": "assistant", "content": "Paris."},
            {"role": "user", "content": [{"type": "input_text", "text": "Of Spain?"}]},
        ],
        "temperature": 0,
        "max_output_tokens": 24,
        "stream": is_stream,
    }
    with scene_of(tmp_path, student_url, at_least=0) as scene:
        with httpx.Client(trust_env=False, verify=PLAIN_HTTP) as client:
            own, ours = (
                last_response(client.post(f"{url}/v1/responses", json=asked).text)
                for url in (student_url, scene.url)
            )
        assert scene.teacher.requests == []
    (said,), (repeated,) = own.pop("output"), ours.pop("output")
    assert repeated["content"] == said["content"]
    assert ours["usage"]["output_tokens"] == own["usage"]["output_tokens"]
    assert own.keys() <= ours.keys()
    assert said.keys() == repeated.keys()


def last_response(answer: str) -> dict[str, Any]:
    """A response, or that of the last event."""
    if answer.startswith("{"):
        whole_response: dict[str, Any] = json.loads(answer)
        return whole_response
    data = [line for line in answer.splitlines() if line.startswith("data: ")]
    streamed: dict[str, Any] = json.loads(data[-1].removeprefix("data: "))["response"]
    return streamed


def test_records_of_it_hold_what_the_gateway_would_see(tmp_path: Path, student_url: str) -> None:
    lines = [
        {"id": task.id, "messages": task.messages, "group": task.family}
        for task in generate(seed=1, count=4)
    ]
    dataset, config, out = (tmp_path / name for name in ("d.jsonl", "c.yaml", "r.jsonl"))
    dataset.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with serving(create_teacher()) as teacher_url:
        cascade = cascade_document(student_url, teacher_url, teacher={"model": MODEL})
        config.write_text(yaml.safe_dump({"cascades": {"assistant": cascade}}))
        assert record(dataset=dataset, config=config, out=out, self_agreement=2) == 0
    records = list(read_records(out))
    assert len(records) == 4
    for each in records:
        (first, last), student = each.student.answer_span or (0, 0), each.student
        assert student.tokens is not None
        assert "".join(student.tokens[first:last]) == student.text
        assert student.finish_reason == "length" or student.tokens[last:] == ("",)
        assert set(signals_of(draft_of(student))) >= {"mean_probability", "min_margin"}
        assert (student.cost_usd or 0) > 0
        assert each.teacher.text == solve(each.request["messages"])
    again = [json.loads(line)["teacher"].get("again") for line in out.read_text().splitlines()]
    assert [told["agrees"] for told in again if told] == [True, True]


def cancelled(scene: Stage) -> float:
    return scene.metric("understudy_requests_total", cascade="assistant", outcome="cancelled")


def is_busy(student_url: str) -> bool:
    slots = get(student_url + "/slots").json()
    return any(slot["is_processing"] for slot in slots)
