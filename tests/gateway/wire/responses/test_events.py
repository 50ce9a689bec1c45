"""A response's events: their order and numbers, and that they come to the same as the whole."""

import json
from collections.abc import Sequence
from itertools import dropwhile
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import BaseModel
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.wire.assemble import Assembly
from gateway.wire.chunk import decode
from gateway.wire.completion import read_completion
from tests.fakes.chunks import USAGE, chunk
from tests.fakes.responses import asked, events_in, kinds
from tests.fakes.upstream import completion, tokens

TRAILER = {"served_by": "student"}
LOGPROBS = {"include": ["message.output_text.logprobs"], "top_logprobs": 1}
FINISH = {"finish_reason": "stop"}

_event: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


def streamed(payloads: Sequence[bytes], usage: Any = USAGE, **changes: Any) -> list[dict[str, Any]]:
    """The events of a stream of these chunks, which ends well."""
    editor = asked(stream=True, **changes).editor()
    out = [editor.edit(decode(payload)) for payload in payloads]
    out += [editor.usage_event(usage, TRAILER), editor.done()]
    return list(events_in(b"".join(out)))


def whole(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    made = asked(**changes).whole(read_completion(json.dumps(body).encode()))
    response: dict[str, Any] = json.loads(made)
    Response.model_validate(response)
    return response


def output_of(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items as the events alone tell of them."""
    items: dict[int, dict[str, Any]] = {}
    for event in events:
        item = items.get(event.get("output_index", -1), {})
        match event["type"].removeprefix("response."):
            case "output_item.added":
                items[event["output_index"]] = event["item"]
            case "content_part.added":
                item["content"].append(event["part"])
            case "output_text.delta":
                item["content"][-1]["text"] += event["delta"]
                item["content"][-1]["logprobs"] += event["logprobs"]
            case "refusal.delta":
                item["content"][-1]["refusal"] += event["delta"]
            case "reasoning_text.delta":
                item["content"][-1]["text"] += event["delta"]
            case "function_call_arguments.delta":
                item["arguments"] += event["delta"]
            case "output_item.done":
                item["status"] = event["item"]["status"]
            case _:
                pass
    return [items[place] for place in sorted(items)]


def call(index: int, **function: str) -> dict[str, Any]:
    head = {"id": f"c{index}", "type": "function"} if "name" in function else {}
    return {"tool_calls": [{"index": index, **head, "function": function}]}


def test_a_text_in_order() -> None:
    events = streamed(
        [chunk({"role": "assistant", "content": ""}), chunk({"content": "Par"}),
         chunk({"content": "is"}), chunk({}, choice=FINISH)]
    )  # fmt: skip
    assert kinds(events) == [
        "created", "in_progress", "output_item.added", "content_part.added",
        "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["output"] == []
    last = events[-1]
    assert last["understudy"] == TRAILER
    assert last["response"]["usage"]["total_tokens"] == 110
    assert last["response"]["output"] == output_of(events)
    assert last["response"]["completed_at"] == 5


def test_what_there_is_goes_out_at_once() -> None:
    editor = asked(stream=True).editor()
    assert b"response.in_progress" in editor.edit(decode(chunk({"role": "assistant"})))
    assert b'"delta":"Par"' in editor.edit(decode(chunk({"content": "Par"})))


def test_reasoning_text_and_calls_are_items_each() -> None:
    events = streamed(
        [chunk({"reasoning": "H"}), chunk({"reasoning_content": "m"}), chunk({"content": "Look."}),
         chunk(call(0, name="look", arguments="")), chunk(call(0, arguments='{"a"')),
         chunk(call(0, arguments=":1}")), chunk(call(1, name="read", arguments="{}")),
         chunk({}, choice={"finish_reason": "tool_calls"})]
    )  # fmt: skip
    assert kinds(events)[2:-1] == [
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta",
        "reasoning_text.done", "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta",
        "output_item.added", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
        "function_call_arguments.done", "output_item.done",
    ]  # fmt: skip
    output = events[-1]["response"]["output"]
    assert output == output_of(events)
    assert [item["type"] for item in output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    assert output[0]["content"] == [{"type": "reasoning_text", "text": "Hm"}]
    assert [(item["call_id"], item["name"], item["arguments"]) for item in output[2:]] == [
        ("c0", "look", '{"a":1}'),
        ("c1", "read", "{}"),
    ]
    assert len({item["id"] for item in output}) == 4


def test_calls_written_side_by_side_do_not_mix() -> None:
    pieces = [call(0, name="look"), call(1, name="read"), call(0, arguments="{}"),
              call(1, arguments="[]")]  # fmt: skip
    events = streamed([chunk(piece) for piece in pieces])
    output = events[-1]["response"]["output"]
    assert [item["arguments"] for item in output] == ["{}", "[]"]
    assert output == output_of(events)


def test_calls_without_an_index_begin_with_their_id() -> None:
    pieces = [{"id": "x", "function": {"name": "look"}}, {"function": {"arguments": "{}"}},
              {"id": "y", "function": {"name": "read", "arguments": {"a": 1}}}]  # fmt: skip
    events = streamed([chunk({"tool_calls": [piece]}) for piece in pieces])
    told = [(item["call_id"], item["arguments"]) for item in events[-1]["response"]["output"]]
    assert told == [("x", "{}"), ("y", '{"a": 1}')]


def test_a_call_of_the_older_kind_gets_an_id() -> None:
    pieces = [{"name": "look"}, {"arguments": "{}"}]
    (item,) = streamed([chunk({"function_call": piece}) for piece in pieces])[-1]["response"][
        "output"
    ]
    assert (item["name"], item["arguments"]) == ("look", "{}")
    assert item["call_id"].startswith("call_")


def test_a_name_that_comes_late_is_told_at_the_end() -> None:
    late = {"tool_calls": [{"index": 0, "function": {"name": "look"}}]}
    first = {"tool_calls": [{"index": 0, "id": "c0", "function": {}}]}
    (item,) = streamed([chunk(first), chunk(late)])[-1]["response"]["output"]
    assert item["name"] == "look"


def test_text_after_a_call_is_another_message() -> None:
    deltas = [{"content": "A"}, call(0, name="look"), {"content": "B"}]
    events = streamed([chunk(delta) for delta in deltas])
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "message"]
    assert output == output_of(events)


def test_a_refusal_is_a_part_of_its_own() -> None:
    events = streamed(
        [chunk({"content": "Well"}), chunk({"refusal": "N"}), chunk({"refusal": "o"})]
    )
    assert kinds(events)[5:-1] == [
        "output_text.done", "content_part.done", "content_part.added", "refusal.delta",
        "refusal.delta", "refusal.done", "content_part.done", "output_item.done",
    ]  # fmt: skip
    (item,) = events[-1]["response"]["output"]
    assert item["content"][1] == {"type": "refusal", "refusal": "No"}


def test_an_answer_that_is_taken_over_goes_on_in_its_item() -> None:
    editor = asked(stream=True).editor()
    out = [
        editor.edit(decode(chunk({"content": "Par"}))),
        editor.edit(decode(chunk({"role": "assistant"})), is_continuation=True, content=""),
        editor.edit(decode(chunk({"reasoning": "Hm."})), is_continuation=True, content=""),
        editor.edit(decode(chunk({"content": " is."})), is_continuation=True, content="is."),
        editor.usage_event(None, TRAILER) + editor.done(),
    ]
    events = list(events_in(b"".join(out)))
    message, _ = events[-1]["response"]["output"]
    assert message["content"][0]["text"] == "Paris."
    assert events[-1]["response"]["usage"] is None
    assert events[-1]["response"]["output"] == output_of(events)


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        (None, "completed", None),
    ],
)
def test_how_it_ends_is_said_whole_and_streamed(
    reason: str | None, status: str, why: str | None
) -> None:
    end = [] if reason is None else [chunk({}, choice={"finish_reason": reason})]
    events = streamed([chunk({"content": "Par"}), *end])
    assert events[-1]["type"] == f"response.{status}"
    for response in (
        events[-1]["response"],
        whole(completion("Par", choice={"finish_reason": reason})),
    ):
        assert response["status"] == response["output"][0]["status"] == status
        assert response["incomplete_details"] == (None if why is None else {"reason": why})
        assert (response["completed_at"] is None) is (status == "incomplete")


def test_of_what_is_cut_short_the_last_item_is_incomplete() -> None:
    deltas = [call(0, name="look"), call(1, name="look"), {"reasoning": "Hm"}]
    events = streamed(
        [*(chunk(delta) for delta in deltas), chunk({}, choice={"finish_reason": "length"})]
    )
    output = events[-1]["response"]["output"]
    assert [item["status"] for item in output] == ["completed", "completed", "incomplete"]
    assert output == output_of(events)


def test_an_answer_without_words_is_an_empty_output() -> None:
    events = streamed([chunk({"role": "assistant"}), chunk({}, choice=FINISH)])
    assert kinds(events) == ["created", "in_progress", "completed"]
    assert events[-1]["response"]["output"] == whole(completion(None))["output"] == []


def test_log_probabilities_are_those_of_the_text_as_many_as_were_asked() -> None:
    entries = tokens("Hm", "é", " ", "<end>")
    events = streamed(
        [chunk({"reasoning": "Hm"}, entries[:1]), chunk({"content": ""}, entries[1:2]),
         chunk({"content": "é "}, entries[2:3]), chunk({"content": ""}, entries[3:], FINISH)],
        **LOGPROBS,
    )  # fmt: skip
    (added,) = [
        event
        for event in events
        if event["type"] == "response.content_part.added" and event["output_index"] == 1
    ]
    assert added["part"]["logprobs"] == []
    (delta,) = [event for event in events if event["type"] == "response.output_text.delta"]
    assert [entry["token"] for entry in delta["logprobs"]] == ["é", " "]
    text = events[-1]["response"]["output"][1]["content"][0]
    assert [entry["token"] for entry in text["logprobs"]] == ["é", " ", "<end>"]
    assert [len(entry["top_logprobs"]) for entry in text["logprobs"]] == [1, 1, 1]


def test_a_whole_answer_has_the_same_log_probabilities() -> None:
    body = completion("é ", message={"reasoning": "Hm"})
    body["choices"][0]["logprobs"] = {"content": tokens("Hm", "é", " ", "<end>")}
    text = whole(body, **LOGPROBS)["output"][1]["content"][0]
    assert [entry["token"] for entry in text["logprobs"]] == ["é", " ", "<end>"]


def test_log_probabilities_that_nobody_asked_for_are_not_told() -> None:
    events = streamed([chunk({"content": "a"}, tokens("a")), chunk({}, tokens("<end>"), FINISH)])
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == []
    assert whole(completion())["output"][0]["content"][0]["logprobs"] == []


def test_usage_has_its_own_names() -> None:
    usage = USAGE | {
        "prompt_tokens_details": {"cached_tokens": 8, "created_cache_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    expected = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 4},
        "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 110,
    }
    assert whole(completion(usage=usage))["usage"] == expected
    raw = msgspec.Raw(json.dumps(usage).encode())
    assert streamed([], raw)[-1]["response"]["usage"] == expected
    assert whole(completion(usage={"prompt_tokens": "many"}))["usage"] is None


def test_the_tier_is_the_servers_word_for_it() -> None:
    assert whole(completion(service_tier="flex"), service_tier="auto")["service_tier"] == "flex"
    assert whole(completion(service_tier=None), service_tier="flex")["service_tier"] == "flex"
    events = streamed([chunk({}, choice=FINISH, service_tier="flex")])
    assert events[-1]["response"]["service_tier"] == "flex"


def test_a_trailer_may_come_with_the_last_chunk_or_on_its_own() -> None:
    for is_with_chunk in (True, False):
        editor = asked(stream=True).editor()
        last = (
            editor.edit(decode(chunk({}, choice=FINISH)), understudy=TRAILER)
            if is_with_chunk
            else b""
        )
        if not is_with_chunk:
            last += editor.closing_event(TRAILER)
        assert list(events_in(last + editor.done()))[-1]["understudy"] == TRAILER


def test_nothing_is_said_of_usage_reports() -> None:
    editor = asked(stream=True).editor()
    assert editor.edit(decode(chunk({"content": "a"}))) != b""
    assert editor.edit(decode(json.dumps({"choices": [], "usage": USAGE}).encode())) == b""


def test_a_response_cannot_start_again() -> None:
    assert not asked().can_restart
    with pytest.raises(RuntimeError):
        asked().editor().restart_event(3)


BODY = completion(
    "Look.",
    message={
        "reasoning": "Hm",
        "refusal": "No",
        "tool_calls": [
            {"id": f"c{n}", "type": "function", "function": {"name": "look", "arguments": "{}"}}
            for n in range(2)
        ],
    },
)


def test_an_answer_played_as_events_is_the_whole_one() -> None:
    request = asked(stream=True)
    events = list(
        events_in(b"".join(request.replay(read_completion(json.dumps(BODY).encode()), TRAILER)))
    )
    assert events[-1]["response"] == whole(BODY)
    assert events[-1]["understudy"] == TRAILER
    assert output_of(events) == whole(BODY)["output"]
    for event in events:
        assert isinstance(_event.validate_python(event), BaseModel)


TEXTS = st.lists(st.text(max_size=3), max_size=6)


@given(reasoning=TEXTS, content=TEXTS, arguments=st.lists(TEXTS, max_size=2), is_told=st.booleans())
def test_however_it_is_cut_it_comes_to_the_same(
    reasoning: list[str], content: list[str], arguments: list[list[str]], is_told: bool
) -> None:
    """The last event has what a client gets that does not stream, and so have all deltas."""
    changes = LOGPROBS if is_told else {}
    if any(reasoning):  # whose is a token without text between the two, a whole answer cannot tell
        content = list(dropwhile(lambda text: not text, content))
    payloads = [chunk({"role": "assistant", "content": ""})]
    payloads += [chunk({"reasoning": text}, tokens(text)) for text in reasoning if text]
    payloads += [chunk({"content": text}, tokens(text)) for text in content]
    for number, texts in enumerate(arguments):
        payloads.append(chunk(call(number, name="look")))
        payloads += [chunk(call(number, arguments=text)) for text in texts]
    payloads.append(chunk({}, choice=FINISH))
    assembly = Assembly()
    for payload in payloads:
        assembly.add(decode(payload))
    body = json.loads(assembly.body()) | {"usage": USAGE}
    events = streamed(payloads, **changes)
    response = whole(body, **changes)
    assert events[-1]["response"]["output"] == response["output"]
    assert events[-1]["response"] == response
    assert [without_logprobs(item) for item in output_of(events)] == [
        without_logprobs(item) for item in response["output"]
    ]


def without_logprobs(item: dict[str, Any]) -> dict[str, Any]:
    """A token without text that nothing follows is told of at the end alone."""
    parts = [{**part, "logprobs": None} for part in item.get("content", ())]
    return item | {"content": parts}
