"""Anthropic's official client talks to the gateway, over a real socket."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import MessageParam, ToolParam, ToolUseBlock
from pydantic import BaseModel

from tests.fakes.script import ROLE, BreakOff, Words, finish, thoughts, tool_call
from tests.fakes.serving import Stage, stage
from tests.fakes.upstream import UNSURE, Reply, completion, saying

QUESTION: list[MessageParam] = [{"role": "user", "content": "Capital of France?"}]
WEATHER: ToolParam = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
CACHED = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "total_tokens": 110,
    "prompt_tokens_details": {"cached_tokens": 40},
}


class City(BaseModel):
    """An answer in a form of the client's own."""

    city: str


def called(**message: Any) -> dict[str, Any]:
    function = {"name": "weather", "arguments": '{"city":"Paris"}'}
    call = {"id": "call-0", "type": "function", "function": function}
    said = {"content": None, "tool_calls": [call], **message.pop("message", {})}
    return completion(None, message=said, choice={"finish_reason": "tool_calls"})


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("anthropic")) as built:
        yield built


@pytest.fixture
def client(scene: Stage) -> Iterator[anthropic.Anthropic]:
    scene.student.reply = Reply()
    scene.teacher.reply = Reply(body=completion("Paris, of course."))
    scene.student.requests.clear()
    with anthropic.Anthropic(base_url=scene.url, api_key="unused", max_retries=0) as built:
        yield built


def test_a_plain_message(scene: Stage, client: anthropic.Anthropic) -> None:
    scene.student.reply = Reply(body=completion(usage=CACHED))
    message = client.messages.create(
        model="assistant", max_tokens=100, system="Be brief.", messages=QUESTION
    )
    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "Paris."}]
    assert (message.id, message.role, message.model) == ("msg_1", "assistant", "assistant")
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (60, 40, 10)
    assert scene.student.requests[-1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Capital of France?"},
    ]


def test_an_unsure_draft_is_escalated(scene: Stage, client: anthropic.Anthropic) -> None:
    scene.student.reply = Reply(body=completion("Rome?", UNSURE))
    raw = client.messages.with_raw_response.create(
        model="assistant", max_tokens=100, messages=QUESTION
    )
    assert raw.headers["x-understudy-served-by"] == "teacher"
    (block,) = raw.parse().content
    assert block.type == "text"
    assert block.text == "Paris, of course."


@pytest.mark.parametrize("is_sure", [True, False])
def test_a_streamed_message(scene: Stage, client: anthropic.Anthropic, is_sure: bool) -> None:
    scene.student.reply = saying(["Par", "is."], -0.01 if is_sure else UNSURE)
    with client.messages.stream(model="assistant", max_tokens=100, messages=QUESTION) as stream:
        events = list(stream)
        final = stream.get_final_message()
    assert stream.get_final_text() == ("Paris." if is_sure else "Paris, of course.")
    assert (final.id, final.model, final.stop_reason) == ("msg_1", "assistant", "end_turn")
    assert (final.usage.input_tokens, final.usage.output_tokens) == (100, 10)
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    (last,) = [event for event in events if event.type == "message_delta"]
    said = last.to_dict()["understudy"]
    assert isinstance(said, dict)
    assert said["served_by"] == ("student" if is_sure else "teacher")


def test_a_message_that_is_decided_whole_is_streamed_all_the_same(
    scene: Stage, client: anthropic.Anthropic
) -> None:
    refusal = {"error": {"message": "logprobs is not supported with tools + stream"}}

    def reply(request: Any) -> Reply:  # as llama.cpp
        return Reply(status=400, body=refusal) if request.get("stream") else Reply(body=called())

    scene.student.reply, scene.teacher.reply = reply, Reply(body=called())
    with client.messages.stream(
        model="assistant", max_tokens=100, messages=QUESTION, tools=[WEATHER]
    ) as stream:
        (block,) = stream.get_final_message().content
    assert isinstance(block, ToolUseBlock)
    assert block.input == {"city": "Paris"}


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_loop_of_tools(scene: Stage, client: anthropic.Anthropic, is_streamed: bool) -> None:
    messages = list(QUESTION)
    steps = [ROLE, *thoughts(["Hm."]), *tool_call("weather", ['{"city":', '"Paris"}'])]
    scene.student.reply = scene.teacher.reply = Reply(
        body=called(message={"reasoning": "Hm."}), steps=[*steps, *finish("tool_calls")]
    )
    asked: Any = {"model": "assistant", "max_tokens": 100, "tools": [WEATHER]}
    if is_streamed:
        with client.messages.stream(messages=messages, **asked) as stream:
            first = stream.get_final_message()
    else:
        first = client.messages.create(messages=messages, **asked)
    assert first.stop_reason == "tool_use"
    thought, call = first.content
    assert thought.type == "thinking"
    assert isinstance(call, ToolUseBlock)
    assert (call.name, call.input) == ("weather", {"city": "Paris"})

    scene.student.reply = Reply(body=completion("Sunny."))
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "sun"}
    messages += [{"role": "assistant", "content": first.content}]
    messages += [{"role": "user", "content": [result]}]
    (block,) = client.messages.create(messages=messages, **asked).content
    assert block.type == "text"
    sent = scene.student.requests[-1]
    function = {"name": "weather", "arguments": '{"city":"Paris"}'}
    assert sent["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call-0", "type": "function", "function": function}],
            "reasoning": "Hm.",
            "reasoning_content": "Hm.",
        },
        {"role": "tool", "tool_call_id": "call-0", "content": "sun"},
    ]
    assert sent["tools"][0]["function"]["parameters"] == WEATHER["input_schema"]


def test_the_client_runs_the_tools_itself(scene: Stage, client: anthropic.Anthropic) -> None:
    def reply(request: Any) -> Reply:
        is_told = request["messages"][-1]["role"] == "tool"
        return Reply(body=completion("Sunny.") if is_told else called())

    scene.student.reply = scene.teacher.reply = reply

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"sun in {city}"

    runner = client.beta.messages.tool_runner(
        model="assistant",
        max_tokens=100,
        messages=[{"role": "user", "content": "?"}],
        tools=[weather],
    )
    (block,) = runner.until_done().content
    assert block.type == "text"
    (*_, result) = scene.student.requests[-1]["messages"]
    assert result == {"role": "tool", "tool_call_id": "call-0", "content": "sun in Paris"}


def test_an_answer_in_a_form_of_the_client_s_own(scene: Stage, client: anthropic.Anthropic) -> None:
    scene.student.reply = Reply(body=completion('{"city":"Paris"}'))
    message = client.messages.parse(
        model="assistant", max_tokens=100, messages=QUESTION, output_format=City
    )
    assert message.parsed_output == City(city="Paris")
    sent = scene.student.requests[-1]["response_format"]
    assert sent["json_schema"]["schema"]["properties"]["city"]["type"] == "string"


def test_which_sequence_stopped_it(scene: Stage, client: anthropic.Anthropic) -> None:
    scene.student.reply = Reply(body=completion(choice={"stop_reason": "END"}))
    message = client.messages.create(
        model="assistant", max_tokens=100, messages=QUESTION, stop_sequences=["END"]
    )
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")


def test_the_request_s_id_can_be_read(client: anthropic.Anthropic) -> None:
    message = client.messages.create(
        model="assistant", max_tokens=1, messages=QUESTION, extra_headers={"x-request-id": "r1"}
    )
    assert message._request_id == "r1"


def test_tokens_are_counted_by_the_student(scene: Stage, client: anthropic.Anthropic) -> None:
    scene.student.reply = Reply(body={"count": 42, "max_model_len": 2048, "tokens": [1, 2]})
    counted = client.messages.count_tokens(
        model="assistant", messages=QUESTION, system="Be brief.", tools=[WEATHER]
    )
    assert counted.input_tokens == 42
    sent = scene.student.requests[-1]
    assert set(sent) == {"model", "messages", "tools"}
    assert sent["model"] == "upstream-student"
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}


def test_counting_costs_nothing(scene: Stage, client: anthropic.Anthropic) -> None:
    name, labels = "understudy_requests_total", {"cascade": "assistant"}

    def requests() -> float:
        metrics = scene.gateway.context.observer.metrics.registry.collect()
        samples = [sample for family in metrics for sample in family.samples]
        return sum(
            each.value
            for each in samples
            if each.name == name and labels.items() <= each.labels.items()
        )

    before = requests()
    scene.student.reply = Reply(body={"count": 42})
    client.messages.count_tokens(model="assistant", messages=QUESTION)
    assert requests() == before > 0


async def test_the_async_client(scene: Stage) -> None:
    scene.student.reply = saying(["Par", "is."])
    asked: Any = {"model": "assistant", "max_tokens": 100, "messages": QUESTION}
    async with anthropic.AsyncAnthropic(
        base_url=scene.url, api_key="unused", max_retries=0
    ) as client:
        message = await client.messages.create(**asked)
        assert message.content[0].to_dict() == {"type": "text", "text": "Paris."}
        async with client.messages.stream(**asked) as stream:
            texts = [text async for text in stream.text_stream]
        assert texts == ["Par", "is."]


@pytest.mark.parametrize(
    ("changes", "kind", "named"),
    [
        ({"max_tokens": 0}, anthropic.BadRequestError, "max_tokens"),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            anthropic.BadRequestError,
            "tools.0.type",
        ),
        ({"model": "nobody"}, anthropic.NotFoundError, "nobody"),
        (
            {"extra_headers": {"content-type": "text/plain"}},
            anthropic.APIStatusError,
            "application/json",
        ),
    ],
)
def test_a_mistake_raises_the_client_s_own_error(
    client: anthropic.Anthropic, changes: Any, kind: type[anthropic.APIStatusError], named: str
) -> None:
    asked: Any = {"model": "assistant", "max_tokens": 100, "messages": QUESTION} | changes
    for create in (client.messages.create, client.messages.count_tokens):
        if create == client.messages.count_tokens and asked.pop("max_tokens") == 0:
            continue  # there is none to be wrong
        with pytest.raises(kind) as caught:
            create(**asked)
        said: Any = caught.value.body
        assert said["type"] == "error"
        assert caught.value.type == said["error"]["type"]
        assert named in said["error"]["message"]
        assert caught.value.request_id == said["request_id"]


@pytest.mark.parametrize(
    ("reply", "kind", "error_type"),
    [
        (
            Reply(status=400, body={"error": {"message": "Bad top_k.", "param": "top_k"}}),
            anthropic.BadRequestError,
            "invalid_request_error",
        ),
        (Reply(status=429, body={}), anthropic.ServiceUnavailableError, "overloaded_error"),
    ],
)
def test_an_error_of_both_models(
    scene: Stage, client: anthropic.Anthropic, reply: Reply, kind: Any, error_type: str
) -> None:
    scene.student.reply = scene.teacher.reply = reply
    with pytest.raises(kind) as caught:
        client.messages.create(model="assistant", max_tokens=100, messages=QUESTION)
    assert caught.value.type == error_type


def test_an_error_amid_a_stream_is_raised(scene: Stage, client: anthropic.Anthropic) -> None:
    words = ["word "] * 40
    scene.student.reply = Reply(steps=[ROLE, Words(words), BreakOff()])
    texts: list[str] = []
    with (
        pytest.raises(anthropic.APIStatusError) as caught,
        client.messages.stream(model="assistant", max_tokens=100, messages=QUESTION) as stream,
    ):
        texts += stream.text_stream
    assert caught.value.type == "overloaded_error"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/messages", 405),
        ("GET", "/v1/messages/count_tokens", 405),
        ("POST", "/v1/messages/batches", 404),
    ],
)
def test_routes_that_are_none_fail_in_the_same_form(
    scene: Stage, method: str, path: str, status: int
) -> None:
    response = httpx.request(method, scene.url + path, trust_env=False)
    assert response.status_code == status
    assert response.json()["type"] == "error"
    assert response.json()["request_id"] == response.headers["x-request-id"]


def test_a_key_is_needed_where_there_are_keys(tmp_path: Any) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text(
        "keys: [{name: a, sha256: "
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a09}]"
    )
    with (
        stage(tmp_path, settings={"keys_file": keys}) as guarded,
        anthropic.Anthropic(base_url=guarded.url, api_key="wrong", max_retries=0) as client,
    ):
        with pytest.raises(anthropic.AuthenticationError) as caught:
            client.messages.create(model="assistant", max_tokens=100, messages=QUESTION)
        assert caught.value.type == "authentication_error"
        with pytest.raises(anthropic.AuthenticationError):
            client.messages.count_tokens(model="assistant", messages=QUESTION)


def test_all_that_was_said_stands_in_the_pair(scene: Stage, client: anthropic.Anthropic) -> None:
    scene.student.reply = Reply(body=completion("Rome?", UNSURE))
    client.messages.create(model="assistant", max_tokens=77, system="Be brief.", messages=QUESTION)
    pair = json.loads(scene.pairs()[-1])["pair"]
    request = pair["content"]["request"]
    assert request["max_tokens"] == 77
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}
