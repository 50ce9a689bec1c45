"""The gateway in front of a real vLLM: what it promises of streams holds there."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.arrivals import arrivals
from tests.fakes.script import ROLE, Words, finish
from tests.fakes.serving import stage, wait_until
from tests.fakes.upstream import Reply, completion
from tests.vllm.server import Metrics

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

RUNNING = "vllm:num_requests_running"
HOLD_TOKENS = 16
TRIALS = 5
SLACK_SECONDS = 0.15
STORY = {
    "model": "assistant",
    "messages": [{"role": "user", "content": "Tell me a long story about a lighthouse."}],
    "temperature": 0,
    "max_tokens": 48,
    "stream": True,
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def scene_of(folder: Path, url: str, model: str, at_least: float) -> Any:
    cascade = {
        "objective": {"kind": "confidence", "at_least": at_least},
        "streaming": {"hold_tokens": HOLD_TOKENS},
        "student": {"base_url": url + "/v1", "model": model},
        "audit": {"complete_drafts": 0},
    }
    return stage(folder, cascade=cascade)


def test_the_first_token_comes_no_later_than_the_window_ends(
    tmp_path: Path, vllm_url: str, vllm_model: str
) -> None:
    direct_url, asked = vllm_url + "/v1/chat/completions", STORY | {"model": vllm_model}
    with scene_of(tmp_path, vllm_url, vllm_model, at_least=0) as scene:
        live_url = scene.url + "/v1/chat/completions"
        _, expected = arrivals(direct_url, asked)
        over, firsts, wholes = [], [], []
        for _ in range(TRIALS):
            direct, _ = arrivals(direct_url, asked)
            live, text = arrivals(live_url, STORY)
            assert text == expected
            over.append(live[0] - direct[HOLD_TOKENS - 1])
            firsts.append(live[0])
            wholes.append(live[-1])
        assert statistics.median(over) < SLACK_SECONDS
        assert statistics.median(firsts) < 0.7 * statistics.median(wholes)


def test_an_aborted_draft_is_not_running_a_second_later_and_is_billed(
    tmp_path: Path, vllm_url: str, vllm_model: str, vllm_metrics: Metrics
) -> None:
    with scene_of(tmp_path, vllm_url, vllm_model, at_least=1) as scene:
        # The teacher is slow, so that the student has to be free before the answer has come.
        scene.teacher.reply = Reply(body=completion("Once, and no more."))
        _, text = arrivals(scene.url + "/v1/chat/completions", STORY | {"max_tokens": 1500})
        assert text == "Once, and no more."
        wait_until(lambda: vllm_metrics()[RUNNING] == 0, seconds=1)
        (pair,) = [json.loads(line)["pair"] for line in scene.pairs()]
        student, _ = pair["legs"]
        assert student["error"] == "aborted"
        assert 8 <= student["output_tokens"] < 400
        assert student["input_tokens"] > 0
        assert student["cost_usd"] is not None


def test_a_client_that_leaves_stops_the_student(
    tmp_path: Path, vllm_url: str, vllm_model: str, vllm_metrics: Metrics
) -> None:
    with scene_of(tmp_path, vllm_url, vllm_model, at_least=0) as scene:
        question = STORY | {"max_tokens": 1500, "ignore_eos": True}
        with scene.client.stream("POST", "/v1/chat/completions", json=question) as response:
            lines = response.iter_lines()
            next(lines)
            wait_until(lambda: vllm_metrics()[RUNNING] == 1, seconds=2)
        wait_until(lambda: vllm_metrics()[RUNNING] == 0, seconds=1)


def test_vllm_goes_on_with_a_draft_that_fell_into_doubt(
    tmp_path: Path, vllm_url: str, vllm_model: str
) -> None:
    counted = ["1", ",", " 2", ",", " 3", ",", " 4", ","]
    cascade = {
        "streaming": {"hold_tokens": 8, "handover": "continue"},
        "teacher": {"base_url": vllm_url + "/v1", "model": vllm_model, "running_usage": True},
    }
    with stage(tmp_path, cascade=cascade) as scene:
        wait_until(
            lambda: scene.metric("understudy_teacher_continues", cascade="assistant") == 1,
            seconds=60,
        )
        doubted = [ROLE, Words(counted), Words([" 5", ","] * 8, -6.0), *finish()]
        scene.student.reply = Reply(steps=doubted)
        asked = scene.question | {
            "messages": [{"role": "user", "content": "Count from 1 to 20, separated by commas."}],
            "stream": True,
            "temperature": 0,
            "max_tokens": 40,
        }
        _, text = arrivals(scene.url + "/v1/chat/completions", asked)
        (pair,) = [json.loads(line)["pair"] for line in scene.pairs()]
        released = pair["content"]["released"]
        continued = pair["content"]["answer"]["choices"][0]["message"]["content"]
        assert released == "".join(counted + [" 5", ","] * 4)
        assert text == released + continued
        assert pair["reason"] == "late_doubt"
        assert pair["legs"][1]["input_tokens"] > 0


def call_of(arguments: str) -> dict[str, Any]:
    """A request to which any model answers with this call, whatever it would have said."""
    call = f'<tool_call>\n{{"name": "get_weather", "arguments": {arguments}}}\n</tool_call>'
    return STORY | {
        "tools": [WEATHER],
        "structured_outputs": {"choice": [call]},
        "max_tokens": 120,
    }


@pytest.mark.parametrize(
    ("arguments", "served_by"), [('{"city": "Paris"}', "student"), ('{"town": 7}', "teacher")]
)
def test_a_streamed_tool_call_is_held_until_it_is_judged(
    tmp_path: Path, vllm_url: str, vllm_model: str, arguments: str, served_by: str
) -> None:
    with scene_of(tmp_path, vllm_url, vllm_model, at_least=0) as scene:
        scene.teacher.reply = Reply(body=completion("It rains."))
        response = scene.ask(**call_of(arguments) | {"model": "assistant"})
        assert response.headers["x-understudy-served-by"] == served_by
        reason = response.headers["x-understudy-reason"]
        assert reason == ("confident" if served_by == "student" else "invalid_structure")
        assert ("get_weather" in response.text) is (served_by == "student")
