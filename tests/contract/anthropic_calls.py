"""What teams do with Anthropic's official client, each once: no call knows who is behind."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import anthropic
import pytest
from anthropic.types import ToolUseBlock

from tests.contract.openai_calls import LOOK, PLACE, QUESTION, WEATHER, Place
from tests.fakes.drop_in import Endpoint
from tests.fakes.serving import PLAIN_HTTP

TOOL: Any = {
    "name": LOOK["name"],
    "description": LOOK["description"],
    "input_schema": LOOK["parameters"],
}


def _client(at: Endpoint) -> anthropic.Anthropic:
    plain = anthropic.DefaultHttpxClient(verify=PLAIN_HTTP)
    return anthropic.Anthropic(base_url=at.url, api_key="unused", max_retries=0, http_client=plain)


def _asked(at: Endpoint, **more: Any) -> dict[str, Any]:
    wanted = {"model": at.model, "messages": QUESTION, "max_tokens": 16}
    return {**wanted, "extra_body": {"temperature": 0}, **more}


def messages(at: Endpoint) -> None:
    with _client(at) as client:
        message = client.messages.create(**_asked(at, system="Be brief."))
    (block,) = message.content
    assert block.type == "text"
    assert block.text
    assert (message.model, message.role, message.type) == (at.model, "assistant", "message")
    assert message.stop_reason in ("end_turn", "max_tokens")
    usage = message.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) > 0 < usage.output_tokens
    assert message._request_id


def messages_stream(at: Endpoint) -> None:
    with _client(at) as client:
        whole = client.messages.create(**_asked(at))
        with client.messages.stream(**_asked(at)) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_message()
    assert stream.get_final_text() == _text_of(whole) != ""
    assert final.stop_reason == whole.stop_reason
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"


def messages_async(at: Endpoint) -> None:
    async def ask() -> tuple[str, str]:
        async with anthropic.AsyncAnthropic(
            base_url=at.url, api_key="unused", max_retries=0
        ) as client:
            whole = await client.messages.create(**_asked(at))
            async with client.messages.stream(**_asked(at)) as stream:
                texts = [text async for text in stream.text_stream]
        return _text_of(whole), "".join(texts)

    whole, streamed = asyncio.run(ask())
    assert whole == streamed != ""


def messages_tools(at: Endpoint) -> None:
    must = {"tool_choice": {"type": "any"}, "max_tokens": at.server.most_tokens_of_a_call}
    wanted = _asked(at, messages=WEATHER, tools=[TOOL], **must)
    call = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Sunny, 24 degrees."}
    round_of: Any = [
        *WEATHER,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    with _client(at) as client:
        said = client.messages.create(**wanted)
        with client.messages.stream(**wanted) as stream:
            built = stream.get_final_message()
        for message in (said, built):
            names = {block.name for block in message.content if isinstance(block, ToolUseBlock)}
            assert names == ({"get_weather"} if at.server.calls_tools else set())
            assert (message.stop_reason == "tool_use") is at.server.calls_tools
        assert _text_of(client.messages.create(**_asked(at, messages=round_of, tools=[TOOL])))


def messages_parse(at: Endpoint) -> None:
    with _client(at) as client:
        wanted = _asked(at, messages=PLACE, max_tokens=60, output_format=Place)
        parsed = client.messages.parse(**wanted).parsed_output
    assert isinstance(parsed, Place)
    assert "Paris" in parsed.city


def count_tokens(at: Endpoint) -> None:
    with _client(at) as client:
        counted = client.messages.count_tokens(model=at.model, messages=QUESTION)
    assert 10 < counted.input_tokens < 100


def mistakes(at: Endpoint) -> None:
    with _client(at) as client:
        with pytest.raises(anthropic.NotFoundError) as unknown:
            client.messages.create(**_asked(at, model="nobody"))
        with pytest.raises(anthropic.BadRequestError) as empty:
            client.messages.create(**_asked(at, max_tokens=0))
    assert (unknown.value.type, empty.value.type) == ("not_found_error", "invalid_request_error")
    assert "nobody" in unknown.value.message
    assert "max_tokens" in empty.value.message
    assert unknown.value.request_id


def _text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


CALLS: Sequence[Callable[[Endpoint], None]] = (
    messages,
    messages_stream,
    messages_async,
    messages_tools,
    messages_parse,
    count_tokens,
    mistakes,
)
