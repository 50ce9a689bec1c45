"""What models and gateway call a parameter of the chat has the client's name in its errors."""

from typing import Any

import pytest

from tests.fakes.responses import asked

IMAGE = {"type": "input_image", "image_url": "data:,"}
PARTS = [{"type": "input_text", "text": "a"}, IMAGE, {"type": "input_file", "file_data": "A"}]
ITEMS: list[dict[str, Any]] = [
    {"role": "user", "content": PARTS},
    {"type": "reasoning", "summary": []},
    {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
    {"role": "assistant", "content": "I look."},
    {"type": "function_call_output", "call_id": "c", "output": PARTS},
]


def named(param: str, given: Any = ITEMS) -> str:
    return asked(instructions="Be brief.", input=given).client_param(param)


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("messages", "input"),
        ("messages[0].content", "instructions"),
        ("messages[1].content", "input[0].content"),
        ("messages[1].content[0].type", "input[0].content[0].type"),
        ("messages[1].content[1].image_url.url", "input[0].content[1].image_url"),
        ("messages[1].content[2].file.file_data", "input[0].content[2].file_data"),
        ("messages[2]", "input[2]"),
        ("messages[2].content", "input[3].content"),
        ("messages[2].tool_calls[0].function.name", "input[2]"),
        ("messages[3].content[1].image_url.url", "input[4].output[1].image_url"),
        ("messages[9].content", "input"),
        ("body.messages.1.content.0.text", "input[0].content[0].text"),
        ("content", "input"),
        ("input_tokens", "input"),
        ("max_tokens", "max_output_tokens"),
        ("max_completion_tokens", "max_output_tokens"),
        ("response_format.json_schema", "text.format"),
        ("reasoning_effort", "reasoning.effort"),
        ("logprobs", "include"),
        ("body.temperature", "temperature"),
        ("tools[0].function.name", "tools[0].name"),
    ],
)
def test_a_parameter_of_the_chat_has_its_place_in_the_request(inside: str, outside: str) -> None:
    assert named(inside) == outside


def test_words_that_are_no_item_are_the_input() -> None:
    assert named("messages[1].content", "What?") == "input"
