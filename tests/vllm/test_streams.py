"""What official clients get of streams from a real vLLM, and that it works for nobody else."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import openai
import pytest

from tests.fakes.listener import PatientListener, whole_answer
from tests.fakes.script import ROLE, Queued, Step, Until, Words, whole
from tests.fakes.serving import Stage, stage, wait_until
from tests.fakes.upstream import Reply
from tests.vllm.server import Metrics

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

RUNNING = "vllm:num_requests_running"
STORY = {
    "messages": [{"role": "user", "content": "Tell me a long story about a lighthouse."}],
    "temperature": 0,
    "max_tokens": 48,
}
# So long that it cannot have ended by itself.
ENDLESS: dict[str, Any] = STORY | {"max_tokens": 1900, "extra_body": {"ignore_eos": True}}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
    "additionalProperties": False,
}
JSON = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
TAUGHT = ["Once, ", "and no more."]
PATIENCE_SECONDS = 2.0
HOLD_TOKENS = 16
TRIALS = 5
# Two processes on a busy machine: what the gateway itself may add to the window.
SLACK_SECONDS = 0.15


@dataclass
class Vllm:
    """The server, and whether the client that asks is the one that does not block."""

    url: str
    model: str
    metrics: Metrics
    is_async: bool

    @contextmanager
    def scene(self, folder: Path, at_least: float, **streaming: Any) -> Iterator[Stage]:
        """A gateway whose student it is."""
        cascade = {
            "objective": {"kind": "confidence", "at_least": at_least},
            "streaming": {"hold_tokens": HOLD_TOKENS} | streaming,
            "student": self.address,
            "audit": {"complete_drafts": 0},
        }
        with stage(folder, cascade=cascade) as scene:
            scene.teacher.reply = Reply(steps=whole(TAUGHT))
            yield scene

    @property
    def address(self) -> dict[str, Any]:
        return {"base_url": self.url + "/v1", "model": self.model, "running_usage": True}

    def ask(
        self, scene: Stage, question: dict[str, Any], patience: float = 20.0
    ) -> PatientListener:
        asked = question | {"model": "assistant"}
        return PatientListener(scene.url, asked, is_async=self.is_async, patience=patience)

    def arrivals(self, url: str, model: str) -> tuple[list[float], str]:
        """Seconds until each text of the story came, and all of it."""
        began = time.monotonic()
        listener = PatientListener(url, STORY | {"model": model}, is_async=self.is_async).whole()
        heard = zip(listener.heard, listener.heard_at, strict=True)
        texts = [at - began for each, at in heard if each.choices and each.choices[0].delta.content]
        return texts, listener.text

    def itself(self, **changes: Any) -> str:
        """What it answers without a gateway."""
        question = STORY | {"model": self.model} | changes
        answer = whole_answer(self.url, question, is_async=self.is_async)
        return answer.choices[0].message.content or ""

    def wait_idle(self) -> None:
        """Fail unless it works for nobody within a second."""
        wait_until(lambda: self.metrics()[RUNNING] == 0, seconds=1)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def vllm(
    vllm_url: str, vllm_model: str, vllm_metrics: Metrics, request: pytest.FixtureRequest
) -> Vllm:
    return Vllm(vllm_url, vllm_model, vllm_metrics, request.param)


def test_the_first_token_comes_no_later_than_the_window_ends(tmp_path: Path, vllm: Vllm) -> None:
    with vllm.scene(tmp_path, at_least=0) as scene:
        expected = vllm.itself()
        directs, lives = [], []
        for _ in range(TRIALS):
            direct, _ = vllm.arrivals(vllm.url, vllm.model)
            live, text = vllm.arrivals(scene.url, "assistant")
            assert text == expected
            directs.append(direct)
            lives.append(live)
        # What else runs on a machine only adds time: the quickest of each is nearest to the truth.
        first, last = (min(live[place] for live in lives) for place in (0, -1))
        assert first - min(direct[HOLD_TOKENS - 1] for direct in directs) < SLACK_SECONDS
        assert first < 0.7 * last  # it did stream


def test_a_kept_answer_is_what_it_writes_itself(tmp_path: Path, vllm: Vllm) -> None:
    with vllm.scene(tmp_path, at_least=0) as scene:
        listener = vllm.ask(scene, STORY | {"stream_options": {"include_usage": True}}).whole()
        assert listener.text == vllm.itself()
        assert listener.finish_reason == "length"
        assert listener.said["served_by"] == "student"
        assert listener.heard[-1].usage is not None
        assert listener.heard[-1].usage.completion_tokens == 48
        assert scene.teacher.requests == []


def test_an_aborted_draft_is_not_running_a_second_later_and_is_billed(
    tmp_path: Path, vllm: Vllm
) -> None:
    """The teacher is silent still: nothing but the gateway stops the student."""
    answer = Event()
    with vllm.scene(tmp_path, at_least=1) as scene:
        scene.teacher.reply = Reply(steps=[Queued(answer), *whole(TAUGHT)])
        listener = vllm.ask(scene, ENDLESS)
        wait_until(lambda: scene.teacher.played, seconds=60)
        vllm.wait_idle()
        assert listener.heard == []
        answer.set()
        assert listener.whole().text == "".join(TAUGHT)
        assert listener.headers["x-understudy-reason"] == "low_confidence"
        (pair,) = [json.loads(line)["pair"] for line in scene.pairs()]
        student, _ = pair["legs"]
        assert student["error"] == "aborted"
        assert 8 <= student["output_tokens"] < 400
        assert student["input_tokens"] > 0
        assert student["cost_usd"] is not None


def test_early_abort_stops_it_for_a_client_that_does_not_stream(tmp_path: Path, vllm: Vllm) -> None:
    with vllm.scene(tmp_path, at_least=1, early_abort=True) as scene:
        question = ENDLESS | {"model": "assistant"}
        answer = whole_answer(scene.url, question, is_async=vllm.is_async)
        assert answer.choices[0].message.content == "".join(TAUGHT)
        vllm.wait_idle()


def test_a_client_that_leaves_amid_the_flow_stops_it(tmp_path: Path, vllm: Vllm) -> None:
    with vllm.scene(tmp_path, at_least=0) as scene:
        listener = vllm.ask(scene, ENDLESS)
        listener.wait_for_chunks(20)
        assert vllm.metrics()[RUNNING] == 1
        listener.leave()
        vllm.wait_idle()
        is_billed(scene)


def test_a_client_that_leaves_while_json_is_held_stops_it(tmp_path: Path, vllm: Vllm) -> None:
    with vllm.scene(tmp_path, at_least=0) as scene:
        held = ENDLESS | {"response_format": {"type": "json_object"}}
        listener = vllm.ask(scene, held, patience=PATIENCE_SECONDS)
        wait_until(lambda: vllm.metrics()[RUNNING] == 1, seconds=PATIENCE_SECONDS)
        listener.wait_for_end()
        vllm.wait_idle()
        assert listener.heard == []
        is_billed(scene)


def is_billed(scene: Stage) -> None:
    """What was written until the client left is known, and paid for."""
    labels = {"cascade": "assistant", "role": "student"}
    outcome = {"cascade": "assistant", "outcome": "cancelled"}
    wait_until(lambda: scene.metric("understudy_requests_total", **outcome) == 1)
    assert scene.metric("understudy_tokens_total", **labels, type="output") > 0
    assert scene.metric("understudy_cost_unknown_total", **labels, cause="usage") == 0


@pytest.mark.parametrize("early_abort", [False, True])
def test_a_client_that_leaves_a_whole_answer_stops_it(
    tmp_path: Path, vllm: Vllm, early_abort: bool
) -> None:
    with vllm.scene(tmp_path, at_least=0, early_abort=early_abort) as scene:
        question = ENDLESS | {"model": "assistant", "timeout": PATIENCE_SECONDS}
        with pytest.raises(openai.APITimeoutError):
            whole_answer(scene.url, question, is_async=vllm.is_async)
        vllm.wait_idle()


def test_a_client_that_leaves_a_teacher_stops_that(tmp_path: Path, vllm: Vllm) -> None:
    with stage(tmp_path, cascade={"teacher": vllm.address}) as scene:
        wait_until(lambda: not scene.gateway.context.background, seconds=60)
        scene.student.reply = Reply(steps=whole(["unsure "] * 8, -3.0))
        listener = vllm.ask(scene, ENDLESS)
        listener.wait_for_chunks(5)
        assert vllm.metrics()[RUNNING] == 1
        listener.leave()
        vllm.wait_idle()
        assert listener.headers["x-understudy-served-by"] == "teacher"


def test_json_is_sent_once_it_is_whole(tmp_path: Path, vllm: Vllm) -> None:
    question = STORY | {"response_format": JSON, "max_tokens": 60}
    with vllm.scene(tmp_path, at_least=0) as scene:
        listener = vllm.ask(scene, question).whole()
        assert set(json.loads(listener.text)) == {"city"}
        assert listener.text == vllm.itself(response_format=JSON, max_tokens=60)
        assert listener.headers["x-understudy-served-by"] == "student"
        assert listener.heard_at[-1] - listener.heard_at[0] < 0.5  # all of it came at once


def test_json_that_is_cut_short_goes_to_the_teacher(tmp_path: Path, vllm: Vllm) -> None:
    with vllm.scene(tmp_path, at_least=0) as scene:
        listener = vllm.ask(scene, STORY | {"response_format": JSON, "max_tokens": 3}).whole()
        assert listener.text == "".join(TAUGHT)
        assert listener.headers["x-understudy-reason"] == "invalid_structure"


@pytest.mark.parametrize(
    ("arguments", "served_by"), [('{"city": "Paris"}', "student"), ('{"town": 7}', "teacher")]
)
def test_a_tool_call_is_held_until_it_is_judged(
    tmp_path: Path, vllm: Vllm, arguments: str, served_by: str
) -> None:
    """Any model answers with this call, whatever it would have said."""
    call = f'<tool_call>\n{{"name": "get_weather", "arguments": {arguments}}}\n</tool_call>'
    forced = {"structured_outputs": {"choice": [call]}}
    with vllm.scene(tmp_path, at_least=0) as scene:
        question = STORY | {"tools": [WEATHER], "max_tokens": 120, "extra_body": forced}
        listener = vllm.ask(scene, question).whole()
        is_kept = served_by == "student"
        assert listener.headers["x-understudy-served-by"] == served_by
        reason = listener.headers["x-understudy-reason"]
        assert reason == ("confident" if is_kept else "invalid_structure")
        calls = [
            delta.function.arguments or ""
            for each in listener.heard
            for delta in each.choices[0].delta.tool_calls or ()
            if delta.function is not None
        ]
        assert "".join(calls) == (arguments if is_kept else "")
        assert listener.text == ("" if is_kept else "".join(TAUGHT))


@pytest.mark.parametrize("is_echo_wanted", [False, True])
def test_it_goes_on_with_a_draft_that_fell_into_doubt(
    tmp_path: Path, vllm: Vllm, is_echo_wanted: bool
) -> None:
    counted = ["1", ",", " 2", ",", " 3", ",", " 4", ","]
    doubted = [" 5", ","] * 4
    cascade = {"streaming": {"hold_tokens": 8, "handover": "continue"}, "teacher": vllm.address}
    with stage(tmp_path, cascade=cascade) as scene:
        wait_until(
            lambda: scene.metric("understudy_teacher_continues", cascade="assistant") == 1,
            seconds=60,
        )
        steps: list[Step] = [ROLE, Words(counted), Words(doubted, -6.0), Until(Event())]
        scene.student.reply = Reply(steps=steps)
        message = {"role": "user", "content": "Count from 1 to 20, separated by commas."}
        question = STORY | {"messages": [message], "max_tokens": 40}
        if is_echo_wanted:
            question |= {"extra_body": {"echo": True}}
        listener = vllm.ask(scene, question).whole()
        (pair,) = [json.loads(line)["pair"] for line in scene.pairs()]
        assert pair["content"]["released"] == "".join(counted + doubted)
        continued = pair["content"]["answer"]["choices"][0]["message"]["content"]
        assert continued
        assert not continued.startswith(counted[0])
        assert listener.text == pair["content"]["released"] + continued
        assert pair["reason"] == "late_doubt"
        assert pair["legs"][1]["input_tokens"] > 0
        assert pair["legs"][1]["output_tokens"] <= 40 - 16


def test_it_starts_again_for_a_client_that_wants_that(tmp_path: Path, vllm: Vllm) -> None:
    out = [f"w{number} " for number in range(16)]
    cascade = {"streaming": {"hold_tokens": 8, "handover": "restart"}, "teacher": vllm.address}
    with stage(tmp_path, cascade=cascade) as scene:
        steps: list[Step] = [ROLE, Words(out[:8]), Words(out[8:], -6.0), Until(Event())]
        scene.student.reply = Reply(steps=steps)
        listener = PatientListener(
            scene.url,
            STORY | {"model": "assistant"},
            is_async=vllm.is_async,
            headers={"x-understudy-handover": "restart"},
        ).whole()
        assert listener.text == "".join(out) + vllm.itself()
        assert listener.said["handover"]["kind"] == "restart"


def test_what_it_refuses_goes_back_and_what_is_too_long_to_the_teacher(
    tmp_path: Path, vllm: Vllm
) -> None:
    with vllm.scene(tmp_path, at_least=0) as scene:
        refused = vllm.ask(scene, STORY | {"top_p": 7.0}).wait_for_end()
        assert isinstance(refused.error, openai.BadRequestError)
        assert scene.teacher.requests == []
        long = [{"role": "user", "content": "lighthouse " * 3000}]
        listener = vllm.ask(scene, STORY | {"messages": long}).whole()
        assert listener.text == "".join(TAUGHT)
        assert listener.headers["x-understudy-reason"] == "student_cannot"


def test_several_choices_come_together(tmp_path: Path, vllm: Vllm) -> None:
    with vllm.scene(tmp_path, at_least=0) as scene:
        listener = vllm.ask(scene, STORY | {"n": 2, "temperature": 0.7}).whole()
        texts = ["", ""]
        for each in listener.heard:
            for choice in each.choices:
                texts[choice.index] += choice.delta.content or ""
        assert all(texts)
        assert listener.said["served_by"] == "student"
