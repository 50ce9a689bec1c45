import json
from typing import Any

import msgspec
import pytest

from gateway.wire.completion import read_completion
from gateway.wire.messages.reply import Terms, message_fields, message_in
from tests.fakes.upstream import completion


def message(*stops: str, begun: str = "", **changes: Any) -> Any:
    read = read_completion(json.dumps(completion(**changes)).encode())
    made = message_in(read, Terms("assistant", stops, begun))
    return json.loads(msgspec.json.encode(message_fields(made, "assistant")))


def calling(**function: Any) -> Any:
    made = [{"id": "c", "type": "function", "function": {"name": "f", **function}}]
    return message(message={"content": None, "tool_calls": made})


def test_a_message() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 30},
    }
    assert message(usage=usage) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "assistant",
        "content": [{"type": "text", "text": "Paris."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 70,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 30,
            "output_tokens": 10,
        },
    }


def test_thoughts_come_before_words() -> None:
    said = message(message={"reasoning": "Hm."})["content"]
    assert said[0] == {"type": "thinking", "thinking": "Hm.", "signature": ""}
    assert said[1]["text"] == "Paris."


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ('{"city": "Paris"}', {"city": "Paris"}),
        ("", {}),
        (" ", {}),
        (None, {}),
        ("[1]", {"INVALID_JSON": "[1]"}),
        ('{"city": "Par', {"INVALID_JSON": '{"city": "Par'}),
    ],
)
def test_a_call_has_an_object(arguments: str | None, given: Any) -> None:
    assert calling(arguments=arguments)["content"] == [
        {"type": "tool_use", "id": "c", "name": "f", "input": given}
    ]


def test_a_call_without_an_id_gets_one() -> None:
    older = {"content": None, "function_call": {"name": "f", "arguments": "{}"}}
    (block,) = message(message=older)["content"]
    assert block["id"] == "toolu_1_0"


@pytest.mark.parametrize(
    ("choice", "stops", "reason", "sequence"),
    [
        ({"finish_reason": "stop"}, (), "end_turn", None),
        ({"finish_reason": None}, (), "end_turn", None),
        ({"finish_reason": "abort"}, (), "end_turn", None),
        ({"finish_reason": "length"}, (), "max_tokens", None),
        ({"finish_reason": "content_filter"}, (), "refusal", None),
        ({"stop_reason": "END"}, ("A", "END"), "stop_sequence", "END"),
        ({"stop_reason": "END"}, (), "end_turn", None),  # the operator's own, not the client's
        ({"stop_reason": 2}, ("END",), "end_turn", None),  # a token that ends texts
    ],
)
def test_why_a_message_ended(
    choice: dict[str, Any], stops: tuple[str, ...], reason: str, sequence: str | None
) -> None:
    said = message(*stops, choice=choice)
    assert (said["stop_reason"], said["stop_sequence"]) == (reason, sequence)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("tool_calls", "tool_use"), ("stop", "tool_use"), ("length", "max_tokens")],
)
def test_a_call_is_why_a_message_ended_unless_it_was_cut(finish: str, reason: str) -> None:
    made = [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]
    said = message(message={"tool_calls": made}, choice={"finish_reason": finish})
    assert said["stop_reason"] == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"message": {"content": [{"type": "text", "text": "?"}]}},
        {"message": {"content": None, "tool_calls": "?"}},
        {"message": {"content": None}, "usage": None},
    ],
)
def test_what_cannot_be_read_is_left_out(changes: dict[str, Any]) -> None:
    assert message(**changes)["content"] == []


@pytest.mark.parametrize(
    ("changes", "words"), [({"timings": {"prompt_n": 3}}, "ris."), ({}, "Paris.")]
)
def test_only_llama_cpp_repeats_what_the_client_has_begun(
    changes: dict[str, Any], words: str
) -> None:
    assert message(begun="Pa", **changes)["content"] == [{"type": "text", "text": words}]


def test_a_server_without_ids() -> None:
    first, second = (message(id=None)["id"] for _ in range(2))
    assert first != second
    assert first.startswith("msg_")
