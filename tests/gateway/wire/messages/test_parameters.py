"""The table of parameters on docs/endpoints.md, row by row."""

import json
import re
from typing import Any

import pytest
from anthropic.types import message_create_params

from gateway.errors import RequestError
from gateway.wire.messages.request import parse_request
from tests.architecture.source import ROOT

QUESTION: dict[str, Any] = {
    "model": "a",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "What?"}],
}
ROW = re.compile(r"^\| (`[^|]+`) \| (passed|adapted|refused|accepted)\b", re.MULTILINE)
NAME = re.compile(r"`([\w.]+)`")
PASSED: dict[str, Any] = {
    "model": "a", "max_tokens": 9, "stream": True, "temperature": 0.5, "top_p": 0.5, "top_k": 5,
}  # fmt: skip
TOOL = {"name": "f", "input_schema": {"type": "object"}}
SCHEMA = {"type": "json_schema", "schema": {"type": "object"}}
# What is said in Anthropic's words, and what of a chat it becomes.
ADAPTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "messages": ({}, {"messages": [{"role": "user", "content": "What?"}]}),
    "system": (
        {"system": "Be brief."},
        {"messages": [{"role": "system", "content": "Be brief."}, *QUESTION["messages"]]},
    ),
    "tools": (
        {"tools": [TOOL]},
        {
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
            ]
        },
    ),
    "tool_choice": ({"tools": [TOOL], "tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
    "stop_sequences": ({"stop_sequences": ["."]}, {"stop": ["."]}),
    "metadata.user_id": ({"metadata": {"user_id": "u", "x": 1}}, {"user": "u"}),
    "thinking": (
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"chat_template_kwargs": {"enable_thinking": True}},
    ),
    "output_config.format": ({"output_config": {"format": SCHEMA}}, {}),
    "output_format": ({"output_format": SCHEMA}, {}),
    "output_config.effort": ({"output_config": {"effort": "max"}}, {"reasoning_effort": "high"}),
    "service_tier": ({"service_tier": "standard_only"}, {"service_tier": "default"}),
}


def rows() -> dict[str, str]:
    """What the page says becomes of each parameter."""
    _, _, rest = (ROOT / "docs/endpoints.md").read_text().partition("\n## Messages\n")
    table, _, _ = rest.partition("\n| in a message |")
    return {name: fate for names, fate in ROW.findall(table) for name in NAME.findall(names)}


ROWS = rows()


def of(fate: str) -> list[str]:
    return sorted(name for name, said in ROWS.items() if said == fate)


def fields_of(**changes: Any) -> dict[str, Any]:
    chat = parse_request(json.dumps(QUESTION | changes).encode(), None).chat
    return {name: json.loads(bytes(value)) for name, value in chat.fields.items()}


@pytest.mark.parametrize("name", of("passed"))
def test_what_is_passed_arrives_as_it_was(name: str) -> None:
    assert fields_of(**{name: PASSED[name]})[name] == PASSED[name]


@pytest.mark.parametrize("name", of("adapted"))
def test_what_is_adapted_arrives_in_a_chat_s_words(name: str) -> None:
    said, wanted = ADAPTED[name]
    found = fields_of(**said)
    assert {key: found[key] for key in wanted} == wanted
    if "format" in name:
        assert found["response_format"]["json_schema"]["schema"] == SCHEMA["schema"]
    assert not {key for key in said if key not in ("tools", "tool_choice", "service_tier")} & set(
        found
    )


@pytest.mark.parametrize("name", of("refused"))
def test_what_is_refused_is_named(name: str) -> None:
    with pytest.raises(RequestError) as caught:
        fields_of(**{name: 2})
    assert caught.value.param == name


@pytest.mark.parametrize("name", of("accepted"))
def test_what_is_left_out_reaches_no_model(name: str) -> None:
    assert name not in fields_of(**{name: {"x": 1}})


def test_anything_else_is_passed() -> None:
    assert fields_of(seed=7, repetition_penalty=1.1).items() >= {"seed": 7}.items()


def test_the_page_has_every_parameter_of_the_official_client() -> None:
    offered = set(message_create_params.MessageCreateParamsNonStreaming.__annotations__)
    for kind in message_create_params.MessageCreateParamsNonStreaming.__mro__:
        offered |= set(getattr(kind, "__annotations__", ()))
    known = {name.partition(".")[0] for name in ROWS}
    assert offered - {"workspace_id"} <= known  # that one is a header
