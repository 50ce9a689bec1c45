"""What teams do with OpenAI's official client, each once: no call knows which server is behind.

They hold of every server, whatever its model says, so they look at forms, and at whether two ways
to ask come to the same.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.fakes.drop_in import EMBEDDER, Endpoint
from tests.fakes.serving import PLAIN_HTTP, wait_until

QUESTION: list[Any] = [
    {"role": "user", "content": "What is the capital of France? Answer in one word."}
]
PLACE: list[Any] = [
    {"role": "user", "content": "Paris is in France. Give city and country as JSON."}
]
LOOK = {
    "name": "get_weather",
    "description": "Get weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
TOOL: Any = {"type": "function", "function": LOOK}
WEATHER: list[Any] = [{"role": "user", "content": "Weather in Paris?"}]
ENDS = {"stop", "length"}


class Place(BaseModel):
    """An answer in a form of the client's own."""

    city: str
    country: str


def _client(at: Endpoint) -> openai.OpenAI:
    plain = openai.DefaultHttpxClient(verify=PLAIN_HTTP)
    return openai.OpenAI(base_url=at.base_url, api_key="unused", max_retries=0, http_client=plain)


def _asked(at: Endpoint, **more: Any) -> dict[str, Any]:
    return {"model": at.model, "messages": QUESTION, "max_tokens": 16, "temperature": 0, **more}


def chat(at: Endpoint) -> None:
    with _client(at) as client:
        answer = client.chat.completions.create(**_asked(at))
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in ENDS
    assert (answer.model, answer.object) == (at.model, "chat.completion")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0 < answer.usage.completion_tokens
    assert answer._request_id


def chat_stream(at: Endpoint) -> None:
    with _client(at) as client:
        whole = client.chat.completions.create(**_asked(at)).choices[0].message.content
        wanted = _asked(at, stream=True, stream_options={"include_usage": True})
        chunks = list(client.chat.completions.create(**wanted))
        with client.chat.completions.stream(**_asked(at)) as stream:
            built = stream.get_final_completion()
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == whole == built.choices[0].message.content
    assert len(texts) > 2
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] in ENDS
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


def chat_async(at: Endpoint) -> None:
    async def ask() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(
            base_url=at.base_url, api_key="unused", max_retries=0
        ) as client:
            answer = await client.chat.completions.create(**_asked(at))
            stream = await client.chat.completions.create(**_asked(at, stream=True))
            parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return answer.choices[0].message.content, "".join(parts)

    whole, streamed = asyncio.run(ask())
    assert whole == streamed != ""


def chat_logprobs(at: Endpoint) -> None:
    with _client(at) as client:
        answer = client.chat.completions.create(**_asked(at, logprobs=True, top_logprobs=1))
    told = answer.choices[0].logprobs
    assert told is not None
    assert told.content
    assert {len(entry.top_logprobs) for entry in told.content} == {1}


def chat_tools(at: Endpoint) -> None:
    must = {"tool_choice": "required", "max_tokens": at.server.most_tokens_of_a_call}
    wanted = _asked(at, messages=WEATHER, tools=[TOOL], **must)
    with _client(at) as client:
        said = client.chat.completions.create(**wanted).choices[0].message
        chunks = list(client.chat.completions.create(**wanted, stream=True))
        result = client.chat.completions.create(**_asked(at, messages=_round(), tools=[TOOL]))
    whole = [call.function for call in said.tool_calls or () if call.type == "function"]
    deltas = [chunk.choices[0].delta.tool_calls or [] for chunk in chunks if chunk.choices]
    parts = [call.function for calls in deltas for call in calls if call.function]
    assert bool(whole) is bool(parts) is at.server.calls_tools
    assert {function.name for function in whole} <= {"get_weather"}
    assert [part.name for part in parts if part.name] == [function.name for function in whole]
    streamed = "".join(part.arguments or "" for part in parts)
    assert streamed == "".join(function.arguments for function in whole)
    assert result.choices[0].message.content


def _round() -> list[Any]:
    """A conversation in which the tool has been called."""
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    call = {"id": "call_1", "type": "function", "function": function}
    return [
        *WEATHER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Sunny, 24 degrees."},
    ]


def chat_parse(at: Endpoint) -> None:
    with _client(at) as client:
        wanted = _asked(at, messages=PLACE, max_tokens=60, response_format=Place)
        parsed = client.chat.completions.parse(**wanted).choices[0].message.parsed
    assert isinstance(parsed, Place)
    assert "Paris" in parsed.city


def completions(at: Endpoint) -> None:
    asked: Any = {
        "model": at.model,
        "prompt": "The capital of France is",
        "max_tokens": 4,
        "temperature": 0,
    }
    with _client(at) as client:
        answer = client.completions.create(**asked)
        chunks = list(client.completions.create(**asked, stream=True, logprobs=1))
    assert answer.choices[0].text.startswith(" Paris")
    assert (answer.model, answer.object) == (at.model, "text_completion")
    streamed = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert streamed.startswith(" Paris")
    assert chunks[0].choices[0].logprobs is not None


def _response(at: Endpoint, **more: Any) -> dict[str, Any]:
    question = QUESTION[0]["content"]
    asked = {"model": at.model, "input": question, "temperature": 0, "max_output_tokens": 64}
    return asked | more


def responses(at: Endpoint) -> None:
    with _client(at) as client:
        answer = client.responses.create(**_response(at))
        with client.responses.stream(**_response(at)) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
    assert answer.status == "completed"
    assert answer.output_text == final.output_text != ""
    assert (answer.model, answer.object) == (at.model, "response")
    assert answer.usage is not None
    assert answer.usage.input_tokens > 0 < answer.usage.output_tokens
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert "response.output_text.delta" in kinds


def responses_async(at: Endpoint) -> None:
    async def ask() -> str:
        async with openai.AsyncOpenAI(
            base_url=at.base_url, api_key="unused", max_retries=0
        ) as client:
            events = await client.responses.create(**_response(at, stream=True))
            texts = [e.delta async for e in events if e.type == "response.output_text.delta"]
        return "".join(texts)

    assert asyncio.run(ask())


def responses_tools(at: Endpoint) -> None:
    tool = {"type": "function", "strict": True, **LOOK}
    most = max(16, at.server.most_tokens_of_a_call)  # a response has no fewer
    must: Any = {"tool_choice": "required", "max_output_tokens": most}
    asked = _response(at, input=WEATHER, tools=[tool], **must)
    call = {"call_id": "call_1", "name": "get_weather", "arguments": '{"city": "Paris"}'}
    items = [
        *WEATHER,
        {"type": "function_call", **call},
        {"type": "function_call_output", "call_id": "call_1", "output": "Sunny, 24 degrees."},
    ]
    with _client(at) as client:
        answer = client.responses.create(**asked)
        result = client.responses.create(
            **_response(at, input=items, tools=[tool], max_output_tokens=16)
        )
    calls = [item for item in answer.output if item.type == "function_call"]
    assert bool(calls) is at.server.calls_tools
    assert {item.name for item in calls} <= {"get_weather"}
    assert result.output_text


def responses_parse(at: Endpoint) -> None:
    with _client(at) as client:
        parsed = client.responses.parse(
            **_response(at, input=PLACE, text_format=Place)
        ).output_parsed
    assert isinstance(parsed, Place)
    assert "Paris" in parsed.city


def embeddings(at: Endpoint) -> None:
    with _client(at) as client:
        answer = client.embeddings.create(model=EMBEDDER, input="hello", encoding_format="float")
    assert answer.model == EMBEDDER
    assert len(answer.data[0].embedding) > 100
    assert answer.usage.prompt_tokens > 0


def models(at: Endpoint) -> None:
    with _client(at) as client:
        names = [model.id for model in client.models.list()]
        assert {at.model, EMBEDDER} <= set(names)
        assert client.models.retrieve(at.model).id == at.model


def stored(at: Endpoint) -> None:
    with _client(at) as client:
        about = {"asked": "stored"}
        answer = client.chat.completions.create(**_asked(at, store=True, metadata=about))

        def is_listed() -> bool:
            listed = client.chat.completions.list(model=at.model, metadata=about)
            return answer.id in [each.id for each in listed]

        wait_until(is_listed)
        again = client.chat.completions.retrieve(answer.id)
        assert again.choices[0].message.content == answer.choices[0].message.content
        (asked,) = client.chat.completions.messages.list(answer.id)
        assert asked.content == QUESTION[0]["content"]
        changed = client.chat.completions.update(answer.id, metadata={"asked": "again"})
        assert changed.metadata == {"asked": "again"}
        assert client.chat.completions.delete(answer.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.retrieve(answer.id)


def mistakes(at: Endpoint) -> None:
    with _client(at) as client:
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(**_asked(at, model="nobody"))
        with pytest.raises(openai.BadRequestError) as empty:
            client.chat.completions.create(**_asked(at, messages=[]))
    assert (unknown.value.param, unknown.value.code) == ("model", "model_not_found")
    assert (empty.value.param, empty.value.type) == ("messages", "invalid_request_error")


CALLS: Sequence[Callable[[Endpoint], None]] = (
    chat,
    chat_stream,
    chat_async,
    chat_logprobs,
    chat_tools,
    chat_parse,
    completions,
    responses,
    responses_async,
    responses_tools,
    responses_parse,
    embeddings,
    models,
    stored,
    mistakes,
)
