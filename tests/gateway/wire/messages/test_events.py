import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.chunk import decode
from gateway.wire.completion import read_completion
from gateway.wire.messages.events import MessageEditor, replayed
from gateway.wire.messages.reply import Terms, message_fields, message_in
from tests.fakes.chunks import USAGE, chunk, usage_report
from tests.fakes.messages import events_of, message_from
from tests.fakes.upstream import completion

TERMS = Terms("assistant")
ROLE = chunk({"role": "assistant", "content": ""})
NOTHING = {
    "input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 0,
}


def end(reason: str = "stop", **choice: Any) -> bytes:
    return chunk({}, choice={"finish_reason": reason, **choice})


def call(index: int | None = 0, identity: str | None = None, **function: str) -> bytes:
    piece: dict[str, Any] = {"function": function}
    if index is not None:
        piece["index"] = index
    if identity is not None:
        piece |= {"id": identity, "type": "function"}
    return chunk({"tool_calls": [piece]})


def edited(*payloads: bytes, stops: Sequence[str] = (), usage: Any = USAGE) -> bytes:
    editor = MessageEditor(Terms("assistant", stops))
    events = [editor.edit(decode(payload)) for payload in payloads]
    raw = None if usage is None else msgspec.Raw(json.dumps(usage).encode())
    return b"".join([*events, editor.usage_event(raw), editor.done()])


def content(*payloads: bytes) -> Any:
    return message_from(edited(*payloads))["content"]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def thinking(words: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": words, "signature": ""}


def tool_use(identity: str, name: str, given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": identity, "name": name, "input": given}


def test_the_events_of_a_message() -> None:
    stream = edited(ROLE, chunk({"content": "Par"}), chunk({"content": "is."}), end())
    assert [event["type"] for event in events_of(stream)] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert message_from(stream) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "assistant",
        "content": [text("Paris.")],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": NOTHING | {"input_tokens": 100, "output_tokens": 10},
    }


def test_a_chunk_goes_out_as_it_comes() -> None:
    editor = MessageEditor(TERMS)
    assert [event["type"] for event in events_of(editor.edit(decode(ROLE)))] == ["message_start"]
    kinds = [
        [event["type"] for event in events_of(editor.edit(decode(payload)))]
        for payload in (chunk({"content": "Par"}), chunk({"content": "is."}), usage_report())
    ]
    assert kinds == [["content_block_start", "content_block_delta"], ["content_block_delta"], []]


def test_a_block_for_each_kind() -> None:
    payloads = [
        chunk({"role": "assistant", "reasoning_content": "H"}),
        chunk({"reasoning": "m."}),
        chunk({"content": "Let me "}),
        chunk({"content": "look."}),
        call(0, "call-0", name="weather", arguments=""),
        call(0, arguments='{"city":'),
        call(0, arguments='"Paris"}'),
        call(1, "call-1", name="time", arguments="{}"),
        end("tool_calls"),
    ]
    assert content(*payloads) == [
        thinking("Hm."),
        text("Let me look."),
        tool_use("call-0", "weather", {"city": "Paris"}),
        tool_use("call-1", "time", {}),
    ]
    assert message_from(edited(*payloads))["stop_reason"] == "tool_use"


def test_a_chunk_may_have_several_calls_and_the_end() -> None:
    pieces = [
        {"index": place, "id": f"call-{place}", "function": {"name": name, "arguments": "{}"}}
        for place, name in enumerate(("weather", "time"))
    ]
    last = chunk({"content": "Wait.", "tool_calls": pieces}, choice={"finish_reason": "tool_calls"})
    calls = [tool_use("call-0", "weather", {}), tool_use("call-1", "time", {})]
    assert content(last) == [text("Wait."), *calls]


@pytest.mark.parametrize(
    ("pieces", "given"),
    [
        ([], {}),
        (["", ""], {}),
        (["  ", '{"a":', " 1}"], {"a": 1}),
        (["[1,", " 2]"], {"INVALID_JSON": "[1, 2]"}),
        (['"city', ' Paris"'], {"INVALID_JSON": '"city Paris"'}),
        (["Paris"], {"INVALID_JSON": "Paris"}),
    ],
)
def test_arguments_are_an_object(pieces: Sequence[str], given: Any) -> None:
    payloads = [call(0, arguments=piece) for piece in pieces]
    assert content(call(0, "c", name="f"), *payloads) == [tool_use("c", "f", given)]


def test_calls_of_a_server_that_does_not_count_them() -> None:
    payloads = [
        call(None, "a", name="f", arguments='{"x":'),
        call(None, arguments="1}"),
        call(None, "b", name="g", arguments="{}"),
        chunk({"function_call": {"name": "h", "arguments": "{}"}}),
    ]
    calls = [tool_use("a", "f", {"x": 1}), tool_use("b", "g", {})]
    assert content(*payloads[:3]) == calls
    assert content(payloads[3]) == [tool_use("toolu_1_0", "h", {})]


def test_the_end_of_a_call_that_comes_late_belongs_to_it() -> None:
    stream = edited(
        call(0, "a", name="f", arguments="{"),
        call(1, "b", name="g", arguments="{}"),
        call(0, arguments="}"),
    )
    deltas = [event for event in events_of(stream) if event["type"] == "content_block_delta"]
    assert [(event["index"], event["delta"]["partial_json"]) for event in deltas] == [
        (0, "{"),
        (1, "{}"),
        (0, "}"),
    ]


def test_words_of_a_second_server_are_of_the_same_block() -> None:
    editor = MessageEditor(TERMS)
    first, second = (chunk({"content": text}, id="chatcmpl-2") for text in (" ", " is."))
    events = [
        editor.edit(decode(ROLE)),
        editor.edit(decode(chunk({"content": "Par "}))),
        editor.edit(decode(first), is_continuation=True, content=""),
        editor.edit(decode(second), is_continuation=True, content="is."),
        editor.edit(decode(end()), is_continuation=True, content=""),
        editor.usage_event({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}),
        editor.done(),
    ]
    message = message_from(b"".join(events))
    assert (message["id"], message["content"]) == ("msg_1", [text("Par is.")])
    assert message["usage"] == NOTHING | {"input_tokens": 7, "output_tokens": 5}


def test_which_sequence_stopped_it() -> None:
    message = message_from(edited(ROLE, end(stop_reason="END"), stops=["END"]))
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


def test_a_refusal_s_words_are_words() -> None:
    said = message_from(edited(chunk({"refusal": "No."}), end("content_filter")))
    assert (said["content"], said["stop_reason"]) == ([text("No.")], "refusal")


def test_a_server_that_says_nothing_at_all() -> None:
    editor = MessageEditor(TERMS)
    message = message_from(editor.closing_event({"served_by": "student"}) + editor.done())
    assert (message["content"], message["stop_reason"]) == ([], "end_turn")
    assert message["usage"] == NOTHING
    assert len(message["id"]) > len("msg_")


@pytest.mark.parametrize("usage", [None, "many", {"prompt_tokens": -1, "completion_tokens": 1}])
def test_an_unknown_bill_is_zero(usage: Any) -> None:
    assert message_from(edited(ROLE, end(), usage=usage))["usage"] == NOTHING


def test_what_the_gateway_says_comes_with_the_usage() -> None:
    editor = MessageEditor(TERMS)
    (*_, last) = events_of(editor.usage_event(None, {"served_by": "teacher"}))
    assert last["understudy"] == {"served_by": "teacher"}


def test_a_message_takes_nothing_back() -> None:
    with pytest.raises(RuntimeError, match="12"):
        MessageEditor(TERMS).restart_event(12)


# What servers write; the rest of Unicode without lone halves, which are no text.
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
OBJECTS = st.dictionaries(WORDS, st.one_of(WORDS, st.integers(), st.lists(WORDS)), max_size=3)
CALLS = st.lists(st.tuples(st.sampled_from(["weather", "time"]), OBJECTS), max_size=3)
CUTS = st.lists(st.integers(min_value=1, max_value=8), min_size=1, max_size=6)


def pieces(words: str, cuts: Sequence[int]) -> list[str]:
    """The words cut up: each cut is the length of a piece, again and again."""
    cut: list[str] = []
    at = 0
    while at < len(words):
        size = cuts[len(cut) % len(cuts)]
        cut.append(words[at : at + size])
        at += size
    return cut


def streamed(message: Mapping[str, Any], reason: str, cuts: Sequence[int]) -> list[bytes]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning": piece} for piece in pieces(message["reasoning"], cuts)]
    deltas += [{"content": piece} for piece in pieces(message["content"], cuts)]
    for index, each in enumerate(message["tool_calls"]):
        function = each["function"]
        head = {**each, "index": index, "function": {**function, "arguments": ""}}
        deltas.append({"tool_calls": [head]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in pieces(function["arguments"], cuts)
        ]
    return [*map(chunk, deltas), end(reason)]


@given(
    thoughts=WORDS,
    words=WORDS,
    calls=CALLS,
    cuts=CUTS,
    reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
)
def test_a_stream_builds_the_same_message_as_the_whole(
    thoughts: str, words: str, calls: Any, cuts: Sequence[int], reason: str
) -> None:
    made = [
        {
            "id": f"call-{place}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(given, ensure_ascii=False)},
        }
        for place, (name, given) in enumerate(calls)
    ]
    said = {"reasoning": thoughts, "content": words, "tool_calls": made}
    body = completion(words, message=said, choice={"finish_reason": reason})
    message = message_in(read_completion(json.dumps(body).encode()), TERMS)
    whole = json.loads(msgspec.json.encode(message_fields(message, "assistant")))
    assert message_from(edited(*streamed(said, reason, cuts))) == whole
    assert message_from(b"".join(replayed(message, "assistant", {}))) == whole
