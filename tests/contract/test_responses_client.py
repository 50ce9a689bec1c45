"""The official client asks for responses: whole, streamed, with tools, parsed."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import FunctionToolParam, ResponseStreamEvent
from openai.types.responses.response_input_param import ResponseInputParam
from pydantic import BaseModel

from tests.fakes.script import (
    ROLE,
    BreakOff,
    Step,
    Until,
    Words,
    finish,
    thoughts,
    tool_call,
    whole,
)
from tests.fakes.trial import HOPELESS, UNSURE, Trial, joined, words
from tests.fakes.upstream import Reply, completion, saying

QUESTION = "What is the capital of France?"
LOOK: FunctionToolParam = {
    "type": "function",
    "name": "look",
    "description": "Look something up.",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    "strict": False,
}
CALL = tool_call("look", ['{"at":', ' "the map"}'])


class City(BaseModel):
    city: str


@pytest.fixture
def client(lone_trial: Trial) -> Iterator[openai.OpenAI]:
    url = lone_trial.stage.url + "/v1"
    with openai.OpenAI(base_url=url, api_key="unused", max_retries=0) as built:
        yield built


def kinds(events: list[ResponseStreamEvent]) -> list[str]:
    return [event.type.removeprefix("response.") for event in events]


def test_a_plain_answer(lone_trial: Trial, client: openai.OpenAI) -> None:
    lone_trial.stage.student.reply = Reply()
    raw = client.responses.with_raw_response.create(
        model="assistant", input=QUESTION, instructions="Be brief.", max_output_tokens=50
    )
    assert raw.headers["x-understudy-served-by"] == "student"
    response = raw.parse()
    assert response.output_text == "Paris."
    assert (response.status, response.model, response.error) == ("completed", "assistant", None)
    assert (response.instructions, response.max_output_tokens) == ("Be brief.", 50)
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (100, 10)
    (asked,) = lone_trial.stage.student.requests
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": QUESTION},
    ]
    assert asked["max_completion_tokens"] == 50


def test_an_answer_of_the_teacher_makes_a_pair_that_is_a_chat(
    lone_trial: Trial, client: openai.OpenAI
) -> None:
    lone_trial.stage.student.reply = Reply(body=completion("Rome?", UNSURE))
    lone_trial.stage.teacher.reply = saying(["Paris", "."])
    assert client.responses.create(model="assistant", input=QUESTION).output_text == "Paris."
    (pair,) = lone_trial.pairs()
    request = pair["content"]["request"]
    assert request["messages"] == [{"role": "user", "content": QUESTION}]
    assert pair["content"]["answer"]["choices"][0]["message"]["content"] == "Paris."


def test_who_wants_nothing_kept_leaves_no_pair(lone_trial: Trial, client: openai.OpenAI) -> None:
    lone_trial.stage.student.reply = Reply(body=completion("Rome?", UNSURE))
    lone_trial.stage.teacher.reply = saying(["Paris."])
    client.responses.create(model="assistant", input=QUESTION, store=False)
    assert lone_trial.pairs() == []


def test_words_are_heard_while_the_student_still_writes(
    lone_trial: Trial, client: openai.OpenAI
) -> None:
    more = lone_trial.event()
    lone_trial.student_says(ROLE, Words(words(16)), Until(more), Words(["end"]), *finish())
    heard = []
    for event in client.responses.create(model="assistant", input=QUESTION, stream=True):
        heard.append(event)
        if kinds(heard).count("output_text.delta") == 16:
            more.set()
    assert [event.sequence_number for event in heard] == list(range(len(heard)))
    assert kinds(heard) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 17,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    last = heard[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == joined(words(16)) + "end"
    assert last.response.usage is not None
    assert last.model_extra is not None
    assert last.model_extra["understudy"]["served_by"] == "student"


def test_the_streaming_helper_builds_the_same_answer(
    lone_trial: Trial, client: openai.OpenAI
) -> None:
    lone_trial.student_says(ROLE, *thoughts(["Hm", "."]), Words(["Par", "is."]), *finish())
    with client.responses.stream(model="assistant", input=QUESTION) as stream:
        snapshots = [
            event.snapshot for event in stream if event.type == "response.output_text.delta"
        ]
        final = stream.get_final_response()
    assert snapshots == ["Par", "Paris."]
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.output_text == "Paris."


def test_a_round_of_tools(lone_trial: Trial, client: openai.OpenAI) -> None:
    conversation: ResponseInputParam = [{"role": "user", "content": QUESTION}]
    lone_trial.student_says(ROLE, *thoughts(["Hm."]), *CALL, *finish("tool_calls"))
    with client.responses.stream(
        model="assistant", input=conversation, tools=[LOOK], tool_choice="required"
    ) as stream:
        first = stream.get_final_response()
    call = first.output[-1]
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("look", {"at": "the map"})
    conversation += first.to_dict()["output"]  # type: ignore[arg-type]  # as the client's guide has it
    conversation.append(
        {"type": "function_call_output", "call_id": call.call_id, "output": "Paris"}
    )
    lone_trial.stage.student.reply = Reply()
    second = client.responses.create(model="assistant", input=conversation, tools=[LOOK])
    assert second.output_text == "Paris."
    before, after = lone_trial.stage.student.requests
    assert before["tool_choice"] == "required"
    assert before["tools"][0]["function"]["name"] == "look"
    function = {"name": "look", "arguments": call.arguments}
    assert after["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "Hm.",
            "tool_calls": [{"id": call.call_id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call.call_id, "content": "Paris"},
    ]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_answer_is_parsed(lone_trial: Trial, client: openai.OpenAI, is_streamed: bool) -> None:
    lone_trial.stage.student.reply = saying(['{"city":', ' "Paris"}'])
    asked: dict[str, Any] = {"model": "assistant", "input": QUESTION, "text_format": City}
    if is_streamed:
        with client.responses.stream(**asked) as stream:
            parsed = stream.get_final_response().output_parsed
    else:
        parsed = client.responses.parse(**asked).output_parsed
    assert parsed == City(city="Paris")
    (request,) = lone_trial.stage.student.requests
    assert request["response_format"]["json_schema"]["name"] == "City"
    assert request["response_format"]["json_schema"]["strict"] is True


async def test_the_async_client(lone_trial: Trial) -> None:
    url = lone_trial.stage.url + "/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=0) as client:
        lone_trial.stage.student.reply = saying(["Par", "is."])
        answer = await client.responses.create(model="assistant", input=QUESTION)
        assert answer.output_text == "Paris."
        events = await client.responses.create(model="assistant", input=QUESTION, stream=True)
        heard = [event async for event in events]
        assert kinds(heard).count("output_text.delta") == 2


def test_the_teacher_goes_on_in_the_same_item(lone_trial: Trial, client: openai.OpenAI) -> None:
    out = [*words(16), *words(16, "d")]
    doubted: list[Step] = [Words(out[:16]), Words(out[16:], HOPELESS)]
    lone_trial.student_says(ROLE, *doubted, Until(lone_trial.event()))
    lone_trial.teacher_says(*whole(["and", " so on."]))
    with client.responses.stream(model="continuing", input=QUESTION) as stream:
        final = stream.get_final_response()
    (item,) = final.output
    assert item.type == "message"
    assert final.output_text == joined(out) + "and so on."
    assert lone_trial.taught.request["messages"][0]["content"] == QUESTION


def test_a_wish_to_start_again_is_not_heard(lone_trial: Trial, client: openai.OpenAI) -> None:
    out = [*words(16), *words(16, "d")]
    lone_trial.student_says(ROLE, Words(out[:16]), Words(out[16:], HOPELESS), *finish())
    with client.responses.stream(
        model="restarting", input=QUESTION, extra_headers={"x-understudy-handover": "restart"}
    ) as stream:
        assert stream.get_final_response().output_text == joined(out)
    assert lone_trial.stage.teacher.requests == []


def test_an_answer_that_is_too_long_is_incomplete(lone_trial: Trial, client: openai.OpenAI) -> None:
    lone_trial.student_says(ROLE, Words(["Par"]), *finish("length"))
    stream = client.responses.create(model="assistant", input=QUESTION, stream=True)
    last = list(stream)[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"


def test_a_stream_that_breaks_off_is_an_error(lone_trial: Trial, client: openai.OpenAI) -> None:
    lone_trial.student_says(ROLE, Words(words(20)), BreakOff())
    heard: list[ResponseStreamEvent] = []
    with pytest.raises(openai.APIError) as caught:
        heard.extend(client.responses.create(model="assistant", input=QUESTION, stream=True))
    assert caught.value.code == "upstream_unavailable"
    assert heard[-1].type == "response.failed"
    assert heard[-1].response.error is not None
    with (
        client.responses.stream(model="assistant", input=QUESTION) as stream,
        pytest.raises(openai.APIError),
    ):
        stream.get_final_response()


def test_a_stream_of_nothing_but_comments_fails_in_order(
    lone_trial: Trial, client: openai.OpenAI
) -> None:
    """The status is out with the first comment, before any event is."""
    seconds = lone_trial.stage.gateway.context.served["wakeful"].cascade.streaming.keepalive_seconds
    lone_trial.stage.student.reply = Reply(status=500)
    lone_trial.stage.teacher.reply = Reply(status=500, delay_seconds=seconds * 1.2)
    heard: list[ResponseStreamEvent] = []
    with pytest.raises(openai.APIError) as caught:
        heard.extend(client.responses.create(model="wakeful", input=QUESTION, stream=True))
    assert caught.value.code == "teacher_unavailable"
    assert kinds(heard) == ["created", "in_progress", "failed"]


def test_a_mistake_is_named_by_its_place(lone_trial: Trial, client: openai.OpenAI) -> None:
    part: Any = {"type": "input_video", "video_url": "https://example.com"}
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="assistant", input=[{"role": "user", "content": [part]}])
    assert caught.value.param == "input[0].content[0].type"
    assert caught.value.type == "invalid_request_error"
    assert lone_trial.stage.student.requests == []


def test_a_picture_from_elsewhere_is_named_by_its_place(client: openai.OpenAI) -> None:
    url = "http://metadata.internal/key"
    part: Any = {"type": "input_image", "image_url": url, "detail": "auto"}
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="assistant", input=[{"role": "user", "content": [part]}])
    assert caught.value.param == "input[0].content[0].image_url"
    assert "'input[0].content[0].image_url'" in caught.value.message


def test_who_answers_can_be_said_here_too(lone_trial: Trial, client: openai.OpenAI) -> None:
    lone_trial.stage.teacher.reply = saying(["Paris, of course."])
    pinned = {"understudy": {"route": "teacher"}}
    answer = client.responses.create(model="assistant", input=QUESTION, extra_body=pinned)
    assert answer.output_text == "Paris, of course."
    assert lone_trial.stage.student.requests == []


def test_what_needs_a_memory_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="assistant", input="And?", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
    assert "'input'" in caught.value.message


def test_what_a_server_blames_is_named_as_the_client_named_it(
    lone_trial: Trial, client: openai.OpenAI
) -> None:
    error = {"message": "No such role.", "type": "BadRequestError", "param": "messages[0].role"}
    lone_trial.stage.student.reply = Reply(status=400, body={"error": error})
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="assistant", input=[{"role": "user", "content": "a"}])
    assert caught.value.param == "input[0]"
