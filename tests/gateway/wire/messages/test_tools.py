import json
from typing import Any

import msgspec
import pytest

from gateway.errors import RequestError
from gateway.wire.messages.tools import chat_tools, tool_choice_fields

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"name": "weather", "description": "The weather.", "input_schema": SCHEMA}


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


@pytest.mark.parametrize("more", [{}, {"type": "custom"}, {"cache_control": None}])
def test_a_tool_of_the_client_is_a_function(more: dict[str, Any]) -> None:
    function = {"name": "weather", "description": "The weather.", "parameters": SCHEMA}
    (tool,) = chat_tools([raw(TOOL | more)])
    assert json.loads(msgspec.json.encode(tool)) == {"type": "function", "function": function}


def test_strictness_is_passed() -> None:
    (tool,) = chat_tools([raw({"name": "weather", "input_schema": {}, "strict": True})])
    assert tool["function"] == {"name": "weather", "parameters": {}, "strict": True}


@pytest.mark.parametrize(
    ("tool", "path"),
    [
        ({"type": "web_search_20250305", "name": "web_search"}, "tools.1.type"),
        ({"type": "bash_20250124", "name": "bash"}, "tools.1.type"),
        ({"name": "weather"}, "tools.1.input_schema"),
        ({"input_schema": {}}, "tools.1.name"),
        ({"name": "weather", "input_schema": []}, "tools.1.input_schema"),
        (5, "tools.1"),
    ],
)
def test_a_tool_of_anthropic_s_own_is_refused(tool: Any, path: str) -> None:
    with pytest.raises(RequestError) as caught:
        chat_tools([raw(TOOL), raw(tool)])
    assert caught.value.param == path


@pytest.mark.parametrize(
    ("choice", "fields"),
    [
        (None, {}),
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "tool", "name": "weather"},
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        ),
        (
            {"type": "any", "disable_parallel_tool_use": True},
            {"tool_choice": "required", "parallel_tool_calls": False},
        ),
        ({"type": "auto", "disable_parallel_tool_use": False}, {"tool_choice": "auto"}),
    ],
)
def test_which_tool_to_use(choice: Any, fields: dict[str, Any]) -> None:
    assert tool_choice_fields(raw(choice)) == fields


@pytest.mark.parametrize(
    ("choice", "path"),
    [
        ("auto", "tool_choice"),
        ({}, "tool_choice.type"),
        ({"type": "some"}, "tool_choice.type"),
        ({"type": "tool"}, "tool_choice.name"),
    ],
)
def test_a_choice_that_is_none_is_refused(choice: Any, path: str) -> None:
    with pytest.raises(RequestError) as caught:
        tool_choice_fields(raw(choice))
    assert caught.value.param == path
