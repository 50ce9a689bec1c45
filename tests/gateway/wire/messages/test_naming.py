import json
from typing import Any

import pytest

from gateway.wire.messages.request import parse_request

REQUEST: dict[str, Any] = {
    "model": "assistant",
    "max_tokens": 100,
    "system": "Be brief.",
    "messages": [
        {"role": "user", "content": "A"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "B"},
                {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "C"},
                {"type": "tool_result", "tool_use_id": "t1", "content": "D"},
            ],
        },
    ],
}


def name(param: str, **changes: Any) -> str:
    return parse_request(json.dumps(REQUEST | changes).encode(), None).client_param(param)


@pytest.mark.parametrize(
    ("param", "named"),
    [
        ("messages[0].content", "system"),
        ("messages[1]", "messages.0"),
        ("messages[1].role", "messages.0"),
        ("messages[1].content", "messages.0.content"),
        ("messages[1].content[0].text", "messages.0.content.text"),
        ("messages[1].content[2].image_url.url", "messages.1.content.1.source"),
        ("body.messages.1.content.2.image_url", "messages.1.content.1.source"),
        ("messages[1].content[9]", "messages.0.content"),
        ("messages[2].tool_calls[0]", "messages.2"),
        ("messages[3].content", "messages.3.content.1.content"),
        ("messages[4].content", "messages.3.content"),
        ("messages[5].content", "messages"),
        ("messages[9].content", "messages"),
        ("messages", "messages"),
        ("temperature", "temperature"),
        ("tools[1].function.parameters.type", "tools.1.input_schema.type"),
        ("tools[1].function.name", "tools.1.name"),
        ("stop", "stop_sequences"),
        ("stop[1]", "stop_sequences.1"),
        ("user", "metadata.user_id"),
        ("response_format.json_schema", "output_config.format.json_schema"),
        ("chat_template_kwargs.enable_thinking", "thinking"),
        ("input_tokens", "messages"),
    ],
)
def test_a_parameter_of_the_chat_has_the_client_s_own_name(param: str, named: str) -> None:
    assert name(param) == named


def test_what_the_client_wrote_itself_keeps_its_name() -> None:
    kwargs = {
        "chat_template_kwargs": {"x": 1},
        "output_format": {"type": "json_schema", "schema": {}},
    }
    assert name("chat_template_kwargs.x", **kwargs) == "chat_template_kwargs.x"
    assert name("response_format", **kwargs) == "output_format"


def test_a_conversation_that_begins_with_the_system() -> None:
    messages = [{"role": "system", "content": "Be kind."}, *REQUEST["messages"]]
    assert name("messages[0].content", messages=messages, system=None) == "messages.0.content"
    assert name("messages[1].content", messages=messages, system=None) == "messages.1.content"
