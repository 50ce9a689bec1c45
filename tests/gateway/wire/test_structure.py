import json
from typing import Any

import pytest

from gateway.wire.chat import Chat, parse_chat
from gateway.wire.schema import MAX_SCHEMA_BYTES, MAX_WORK, compile_schema
from gateway.wire.structure import ToolCall, structure_of
from routing.vocabulary import Structure

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "maximum": 14}},
    "required": ["city"],
    "additionalProperties": False,
}
# Usable for nobody: its reference leaves the document.
UNUSABLE = {"$ref": "http://127.0.0.1:9/schema.json"}


def asked(**changes: Any) -> Chat:
    question = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    return parse_chat(json.dumps(question | changes).encode())


def tool(name: str, parameters: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters} | more}


def schema_wanted(schema: Any, **more: Any) -> Chat:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema} | more}
    return asked(response_format=wanted)


def is_valid(structure: Structure) -> bool:
    assert structure is not Structure.NOT_ASKED
    return structure is Structure.VALID


@pytest.mark.parametrize(
    ("arguments", "is_good"),
    [
        ('{"city": "Paris"}', True),
        (' {"city": "Paris", "days": 3}\n', True),
        ('{"city": "Paris", "days": 3.0}', True),
        ('{"city": "Paris", "days": 15}', False),
        ('{"city": "Paris", "days": "3"}', False),
        ('{"city": "Paris", "country": "FR"}', False),
        ('{"days": 3}', False),
        ("", False),
        ("{}", False),
        ('"Paris"', False),
        ('[{"city": "Paris"}]', False),
        ("null", False),
        ('{"city": "Paris"', False),
        ('{"city": "Paris"} {"city": "Rome"}', False),
        ('{"city": 5, "city": "Paris"}', True),  # readers take the last of duplicate keys
        ('{"city": "Paris", "city": 5}', False),
        ('{"city": "Paris", "days": 1e400}', False),
        ('{"city": "Paris", "days": ' + "9" * 5000 + "}", False),
        ('{"city": "Paris", "days": -' + "9" * 400 + "}", True),
        ('{"city": "\\ud800"}', False),
        ('{"city": ' + "[" * 100_000, False),
    ],
)
def test_arguments_are_checked_against_the_parameters_of_their_tool(
    arguments: str, is_good: bool
) -> None:
    calls = [ToolCall("weather", arguments)]
    for chat in (
        asked(tools=[tool("time"), tool("weather", CITY)]),
        asked(tools=[tool("weather", CITY, strict=True)]),
        asked(tools=[tool("weather", CITY, strict=False)]),
        asked(functions=[{"name": "weather", "parameters": CITY}]),
    ):
        assert is_valid(structure_of(chat, "", calls)) is is_good


@pytest.mark.parametrize("parameters", [None, {}, True, {"type": "object", "properties": {}}])
@pytest.mark.parametrize(("arguments", "is_good"), [("", True), ("{}", True), (" ", False)])
def test_a_tool_without_parameters_may_be_called_with_nothing(
    parameters: Any, arguments: str, is_good: bool
) -> None:
    chat = asked(tools=[tool("now", parameters)])
    assert is_valid(structure_of(chat, "", [ToolCall("now", arguments)])) is is_good


def test_arguments_are_an_object_even_where_the_schema_takes_anything() -> None:
    chat = asked(tools=[tool("f", True)])
    assert not is_valid(structure_of(chat, "", [ToolCall("f", "[1]")]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tools": []},
        {"tools": None},
        {"tools": [tool("time")]},
        {"tools": [tool("Weather")]},
        {"tools": [{"type": "custom", "custom": {"name": "weather"}}]},
        {"functions": [{"name": "time"}]},
    ],
)
def test_a_call_to_a_tool_that_was_not_offered_is_invalid(changes: dict[str, Any]) -> None:
    assert not is_valid(structure_of(asked(**changes), "", [ToolCall("weather", "{}")]))


@pytest.mark.parametrize(
    "tools", [[{"function": 5}], [{"function": {"name": 5}}], [{"function": {}}]]
)
def test_where_tools_cannot_be_read_arguments_need_only_be_objects(tools: Any) -> None:
    chat = asked(tools=tools)
    assert is_valid(structure_of(chat, "", [ToolCall("f", "{}")]))
    assert not is_valid(structure_of(chat, "", [ToolCall("f", "[]")]))


def test_every_call_must_be_valid() -> None:
    chat = asked(tools=[tool("time"), tool("weather", CITY)])
    good, bad = ToolCall("weather", '{"city": "Paris"}'), ToolCall("weather", "{}")
    assert is_valid(structure_of(chat, "", [ToolCall("time", ""), good]))
    assert not is_valid(structure_of(chat, "", [good, bad]))


@pytest.mark.parametrize(
    ("schema", "text", "is_good"),
    [
        (CITY, '{"city": "Paris"}', True),
        (CITY, '{"city": 5}', False),
        (CITY, "Paris", False),
        (CITY, "", False),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, '["a", "b"]', True),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, '["c"]', False),
        ({"type": ["object", "null"]}, "null", True),
        ({"type": "string", "format": "date"}, '"tomorrow"', True),
        ({"pattern": "^(a|aa)+$"}, json.dumps("a" * 10_000 + "b"), False),
        (False, "{}", False),
    ],
)
def test_text_is_checked_against_the_schema_that_was_asked_for(
    schema: Any, text: str, is_good: bool
) -> None:
    for more in ({}, {"strict": True}, {"strict": False}):
        assert is_valid(structure_of(schema_wanted(schema, **more), text, ())) is is_good


@pytest.mark.parametrize(
    ("text", "is_good"),
    [('{"a": 1}', True), ("{}", True), ("[1]", False), ("5", False), ("null", False), ("", False)],
)
def test_in_json_mode_the_text_is_an_object(text: str, is_good: bool) -> None:
    chat = asked(response_format={"type": "json_object"})
    assert is_valid(structure_of(chat, text, ())) is is_good


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": None},
        {"type": "json_schema", "json_schema": 5},
        {"type": "json_schema", "json_schema": {"name": "n"}},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": UNUSABLE}},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "strnig"}}},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": "{}"}},
    ],
)
def test_without_a_usable_schema_the_text_need_only_be_json(response_format: Any) -> None:
    chat = asked(response_format=response_format)
    assert is_valid(structure_of(chat, "[5]", ()))
    assert not is_valid(structure_of(chat, "[5", ()))


def test_without_a_usable_schema_arguments_need_only_be_objects() -> None:
    chat = asked(tools=[tool("f", UNUSABLE), tool("g", {"a": "x" * MAX_SCHEMA_BYTES})])
    for name in ("f", "g"):
        assert is_valid(structure_of(chat, "", [ToolCall(name, '{"a": 1}')]))
        assert not is_valid(structure_of(chat, "", [ToolCall(name, "5")]))


@pytest.mark.parametrize("response_format", [None, {"type": "text"}, {"type": "structural_tag"}])
def test_text_that_need_not_be_json_is_not_checked(response_format: Any) -> None:
    chat = asked(response_format=response_format, tools=[tool("f")])
    assert structure_of(chat, "no JSON", ()) is Structure.NOT_ASKED


def test_what_a_request_may_cost_is_shared_by_its_checks() -> None:
    schema = {"required": ["z"]}
    compiled = compile_schema(json.dumps(schema).encode())
    assert compiled
    arguments = json.dumps({"a": "x" * (MAX_WORK // compiled.size // 2 - 10)})
    call = ToolCall("f", arguments)
    once, twice = asked(tools=[tool("f", schema)]), asked(tools=[tool("f", schema)], n=3)
    assert not is_valid(structure_of(once, "", [call]))
    assert not is_valid(structure_of(once, "", [call, call]))
    assert is_valid(structure_of(once, "", [call, call, call]))
    assert is_valid(structure_of(twice, "", [call]))
