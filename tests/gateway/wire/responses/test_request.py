"""A request for a response in the words of chat completions, and what the response repeats."""

import json
from typing import Any

import msgspec
import pytest

from gateway.errors import RequestError
from gateway.wire.responses.request import Request, parse_request
from routing.vocabulary import Need

LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True}
READ = {"type": "function", "name": "read", "description": "Reads."}
LOGPROBS = ["message.output_text.logprobs"]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def request(**changes: Any) -> Request:
    return parse_request(json.dumps({"model": "a", "input": "What?"} | changes).encode(), "cities")


def told(**changes: Any) -> dict[str, Any]:
    """What the chat says beyond model and messages."""
    fields = request(**changes).chat.fields
    return {
        name: json.loads(bytes(value))
        for name, value in fields.items()
        if name not in ("model", "messages")
    }


def echoed(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(msgspec.json.encode(request(**changes).echo))
    return made


def blamed(**changes: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        request(**changes)
    return caught.value


def test_a_bare_question_says_nothing_else() -> None:
    assert told() == {}
    chat = request().chat
    assert (chat.model, chat.group, chat.is_stream, chat.is_store_allowed) == (
        "a",
        "cities",
        False,
        True,
    )


def test_functions_stand_in_an_object_of_their_own() -> None:
    function = {name: value for name, value in LOOK.items() if name != "type"}
    assert told(tools=[LOOK])["tools"] == [{"type": "function", "function": function}]
    assert Need.TOOLS in request(tools=[LOOK]).chat.needs


@pytest.mark.parametrize(
    ("choice", "becomes"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        (
            {"type": "function", "name": "look"},
            {"type": "function", "function": {"name": "look"}},
        ),
    ],
)
def test_a_choice_of_tools_is_said_in_the_words_of_a_chat(choice: Any, becomes: Any) -> None:
    assert told(tools=[LOOK, READ], tool_choice=choice)["tool_choice"] == becomes


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_of_allowed_tools_the_model_gets_those_alone(mode: str) -> None:
    allowed = [{"type": "function", "name": "read"}]
    choice = {"type": "allowed_tools", "mode": mode, "tools": allowed}
    said = told(tools=[LOOK, READ], tool_choice=choice)
    assert [tool["function"]["name"] for tool in said["tools"]] == ["read"]
    assert said["tool_choice"] == mode
    assert echoed(tools=[LOOK, READ], tool_choice=choice)["tool_choice"] == choice


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_without_tools_there_is_no_word_of_them(choice: str | None) -> None:
    assert told(tools=[], tool_choice=choice, parallel_tool_calls=True) == {}


def test_calls_side_by_side_can_be_forbidden() -> None:
    assert told(tools=[LOOK], parallel_tool_calls=False)["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ({"format": {"type": "text"}}, {}),
        ({"format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        (
            {"format": {"type": "json_schema", "name": "c", "schema": SCHEMA, "strict": True}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "c", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        ({"verbosity": "low"}, {"verbosity": "low"}),
    ],
)
def test_the_form_of_the_text(text: dict[str, Any], becomes: dict[str, Any]) -> None:
    assert told(text=text) == becomes
    assert request(text=text).chat.is_json_wanted is ("response_format" in becomes)


def test_reasoning_and_length_have_other_names() -> None:
    said = told(reasoning={"effort": "low", "summary": "auto"}, max_output_tokens=7)
    assert said == {"reasoning_effort": "low", "max_completion_tokens": 7}
    assert request(max_output_tokens=7).chat.most_tokens == 7


def test_log_probabilities_are_asked_for_by_including_them() -> None:
    assert told(top_logprobs=3) == {}
    assert told(include=LOGPROBS) == {"logprobs": True, "top_logprobs": 0}
    assert request(include=LOGPROBS, top_logprobs=3).chat.top_logprobs == 3
    assert told(include=["reasoning.encrypted_content"]) == {}


def test_a_stream_tells_its_usage_at_the_end() -> None:
    asked = request(stream=True, stream_options={"include_obfuscation": False}).chat
    assert asked.is_stream
    assert asked.is_usage_wanted


def test_who_wants_nothing_kept_is_heard() -> None:
    assert not request(store=False).chat.is_store_allowed
    assert told(store=True) == {}


def test_an_unknown_field_goes_to_the_model() -> None:
    assert told(top_k=5, seed=7, stop=["."]) == {"top_k": 5, "seed": 7, "stop": ["."]}


def test_the_response_repeats_what_was_asked() -> None:
    asked = {
        "instructions": "Be brief.",
        "max_output_tokens": 7,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low"},
        "temperature": 0.5,
        "text": {"verbosity": "low"},
        "tools": [READ],
        "top_logprobs": 2,
        "user": "u",
    }
    echo = echoed(**asked)
    assert {name: echo[name] for name in asked} == asked | {
        "reasoning": {"effort": "low", "summary": None},
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "tools": [READ | {"parameters": None, "strict": None}],
    }


def test_the_response_says_what_holds_and_not_what_was_wished() -> None:
    echo = echoed(store=True, truncation="auto")
    assert (echo["store"], echo["truncation"]) == (False, "disabled")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"instructions": ["a"]}, "instructions"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [LOOK, {"type": "custom", "name": "x"}]}, "tools[1].type"),
        ({"tools": [{"name": "x"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": "look"}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "any", "tools": [LOOK]}, "tool_choice"),
        ({"tool_choice": 7, "tools": [LOOK]}, "tool_choice"),
        ({"tool_choice": {"type": "mcp"}, "tools": [LOOK]}, "tool_choice.type"),
        ({"tool_choice": {"type": "function", "name": "x"}, "tools": [LOOK]}, "tool_choice.name"),
        (
            {"tool_choice": {"type": "allowed_tools", "mode": "any"}, "tools": [LOOK]},
            "tool_choice.mode",
        ),
        (
            {
                "tool_choice": {"type": "allowed_tools", "tools": [{"type": "mcp"}]},
                "tools": [LOOK],
            },
            "tool_choice.tools[0].type",
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "tools": []}, "tools": [LOOK]},
            "tool_choice.tools",
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "tools": [{"type": "function", "name": "x"}],
                },
                "tools": [LOOK],
            },
            "tool_choice.tools[0].name",
        ),
        ({"parallel_tool_calls": "no", "tools": [LOOK]}, "parallel_tool_calls"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"parallel_tool_calls": {}}, "parallel_tool_calls"),
        ({"text": {"format": {"type": "json_schema", "name": "c"}}}, "text.format.schema"),
        (
            {"text": {"format": {"type": "json_schema", "name": "c", "schema": []}}},
            "text.format.schema",
        ),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"format": "text"}}, "text.format"),
        ({"reasoning": "low"}, "reasoning"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
        ({"include": ["everything"]}, "include[0]"),
        ({"include": [LOGPROBS[0], 7]}, "include[1]"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": "2"}, "top_logprobs"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options"),
        ({"store": "no"}, "store"),
        ({"metadata": "a"}, "metadata"),
        ({"truncation": "middle"}, "truncation"),
        ({"temperature": "hot"}, "temperature"),
        ({"cache_salt": "a"}, "cache_salt"),
    ],
)
def test_what_is_wrong_is_named_as_the_client_named_it(changes: dict[str, Any], param: str) -> None:
    error = blamed(**changes)
    assert (error.status, error.param) == (400, param)
    assert f"'{param}'" in error.message


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"a": "\xff"}', b"[" * 2000, b'{"a":' + b"[" * 900]
)
def test_what_is_no_object_is_no_request(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(body)
    assert caught.value.param is None


def test_a_body_that_nests_too_deep_is_no_request() -> None:
    deep = b"[" * 960 + b"]" * 960
    with pytest.raises(RequestError, match="nested too deeply"):
        parse_request(b'{"model": "a", "input": "b", "c": ' + deep + b"}")
