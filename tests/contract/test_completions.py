"""Bare prompts through the gateway: the official client, and what models are asked."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.fakes.script import BreakOff, Raw
from tests.fakes.serving import Stage, stage, wait_until
from tests.fakes.texts import choice_of, sse_payloads, text_reply, text_stream
from tests.fakes.upstream import UNSURE, Reply

PATH = "/v1/completions"
PROMPT = {"model": "assistant", "prompt": "Once upon"}
ANSWER = ["a", " time", "."]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("texts")) as built:
        yield built


@pytest.fixture
def client(scene: Stage) -> Iterator[openai.OpenAI]:
    scene.student.reply = replying(*ANSWER)
    scene.teacher.reply = replying("the", " teacher")
    with openai.OpenAI(base_url=scene.url + "/v1", api_key="unused", max_retries=0) as built:
        yield built


def replying(*texts: str, logprob: float = -0.01) -> Any:
    """A server that has one answer, whole or as a stream."""

    def reply(request: Any) -> Reply:
        if request.get("stream"):
            return Reply(body=text_stream(*texts, logprob=logprob))
        return Reply(body=text_reply(choice_of(*texts, logprob=logprob)))

    return reply


def test_a_sure_draft_is_kept(scene: Stage, client: openai.OpenAI) -> None:
    answer = client.completions.create(model="assistant", prompt="Once upon")
    assert answer.object == "text_completion"
    assert answer.model == "assistant"
    assert answer.choices[0].text == "a time."
    assert answer.choices[0].logprobs is None
    assert answer.usage is not None
    assert answer.usage.total_tokens == 9
    assert scene.student.requests[-1]["prompt"] == "Once upon"
    assert "messages" not in scene.student.requests[-1]


def test_an_unsure_draft_is_the_teacher_s_and_a_pair(scene: Stage, client: openai.OpenAI) -> None:
    scene.student.reply = replying("so", "?", logprob=UNSURE)
    before = len(scene.pairs())
    answer = client.completions.create(model="assistant", prompt="Once upon", logprobs=1)
    assert answer.choices[0].text == "the teacher"
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.tokens == ["the", " teacher"]
    (written,) = [json.loads(line)["pair"] for line in scene.pairs()[before:]]
    assert written["content"]["request"]["prompt"] == "Once upon"
    assert written["content"]["draft"]["choices"][0]["message"]["content"] == "so?"


@pytest.mark.parametrize("is_sure", [True, False])
def test_a_stream_is_held_and_judged_as_a_chat_s_is(
    scene: Stage, client: openai.OpenAI, is_sure: bool
) -> None:
    if not is_sure:
        scene.student.reply = replying("so", "?", logprob=UNSURE)
    stream = client.completions.create(
        model="assistant",
        prompt="Once upon",
        stream=True,
        logprobs=0,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    texts = [chunk.choices[0].text for chunk in chunks if chunk.choices]
    assert "".join(texts) == ("a time." if is_sure else "the teacher")
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    first = chunks[0].choices[0].logprobs
    assert first is not None
    assert first.text_offset == [0]
    assert chunks[-1].usage is not None
    served_by = chunks[-1].model_extra and chunks[-1].model_extra["understudy"]["served_by"]
    assert served_by == ("student" if is_sure else "teacher")


def test_the_last_event_says_who_served_where_nobody_asked_for_usage(scene: Stage) -> None:
    scene.student.reply = replying(*ANSWER)
    response = scene.client.post(PATH, json=PROMPT | {"stream": True})
    *events, done = sse_payloads(response.content)
    assert done == b"[DONE]"
    assert json.loads(events[-1])["understudy"]["served_by"] == "student"
    assert all("usage" not in json.loads(event) for event in events)


@pytest.mark.parametrize("is_stream", [False, True])
def test_several_prompts_are_judged_by_the_weakest_answer(scene: Stage, is_stream: bool) -> None:
    sure = choice_of(*ANSWER)
    unsure = choice_of("so", "?", logprob=UNSURE, index=1)
    scene.student.reply = Reply(body=text_reply(sure, unsure))
    taught = [choice_of("first"), choice_of("second", index=1)]
    scene.teacher.reply = Reply(body=text_reply(*taught))
    asked = PROMPT | {"prompt": ["Once upon", "There was"], "echo": True}
    if is_stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    response = scene.client.post(PATH, json=asked)
    if is_stream:
        events = [json.loads(payload) for payload in sse_payloads(response.content)[:-1]]
        choices = [choice for event in events for choice in event["choices"]]
        assert events[-1]["usage"]["total_tokens"] == 9
    else:
        choices = response.json()["choices"]
    assert [choice["text"] for choice in choices] == ["Once uponfirst", "There wassecond"]
    assert response.headers["x-understudy-served-by"] == "teacher"


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_echo_comes_first_and_is_no_evidence(scene: Stage, is_stream: bool) -> None:
    scene.student.reply = replying(*ANSWER)
    response = scene.client.post(PATH, json=PROMPT | {"echo": True, "stream": is_stream})
    if is_stream:
        events = [json.loads(payload) for payload in sse_payloads(response.content)[:-1]]
        text = "".join(event["choices"][0]["text"] for event in events)
    else:
        text = response.json()["choices"][0]["text"]
    assert text == "Once upona time."
    assert "echo" not in scene.student.requests[-1]


def test_a_bad_request_gets_all_four_keys(scene: Stage) -> None:
    response = scene.client.post(PATH, json=PROMPT | {"prompt": []})
    assert response.status_code == 400
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_a_teacher_goes_on_behind_what_is_out(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("seam")
    with stage(folder, cascade={"streaming": {"handover": "continue"}}) as scene:
        wait_until(lambda: not scene.gateway.context.background)  # the teacher has been probed
        scene.gateway.models[1].can_continue = True
        *events, _, _ = sse_payloads(text_stream(*["a"] * 20))
        scene.student.reply = Reply(steps=[*map(Raw, events[:-1]), BreakOff()])
        scene.teacher.reply = replying("b", "c")
        response = scene.client.post(PATH, json=PROMPT | {"stream": True})
        asked = scene.teacher.requests[-1]
    *sent, _ = sse_payloads(response.content)
    assert asked["prompt"] == "Once upon" + "a" * 19
    texts = [json.loads(payload)["choices"][0]["text"] for payload in sent]
    assert "".join(texts) == "a" * 19 + "bc"
    assert json.loads(sent[-1])["understudy"]["handover"]["after_tokens"] == 19
