"""A record is what OpenAI's own client puts together of the events that it got."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from gateway.api.recording import Recording, RecordingEditor
from gateway.wire.chat import parse_chat
from gateway.wire.chat_wire import AskedChat
from gateway.wire.chunk import decode
from gateway.wire.completion import read_completion
from tests.fakes.chunks import USAGE, chunk, usage_report
from tests.fakes.script import entry
from tests.fakes.upstream import completion

Step = Callable[[RecordingEditor], bytes]
QUESTION = {"model": "assistant", "messages": [{"role": "user", "content": "x"}], "store": True}
CALL = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "f", "arguments": ""}}
ROLE = chunk({"role": "assistant", "content": ""})
END = chunk({}, choice={"finish_reason": "stop"})


def sent(body: bytes, **options: Any) -> Step:
    return lambda editor: editor.edit(decode(body), **options)


def played(steps: Sequence[Step], **asked: Any) -> tuple[dict[str, Any], list[bytes]]:
    """The record, and the events that the client got."""
    written: list[bytes] = []
    request = parse_chat(json.dumps(QUESTION | {"stream": True} | asked).encode())
    editor = Recording(AskedChat(request), written.append).editor()
    events = [step(editor) for step in steps]
    assert written == []
    events.append(editor.done())
    (record,) = written
    return json.loads(record), events


@pytest.mark.parametrize(
    "steps",
    [
        [sent(ROLE), sent(chunk({"content": "Par"})), sent(chunk({"content": "is"})), sent(END)],
        [sent(ROLE), sent(chunk({"content": "a"}, [entry("a", -0.1)])), sent(END)],
        [
            sent(chunk({"role": "assistant", "tool_calls": [CALL]})),
            sent(chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]})),
            sent(chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]})),
            sent(chunk({}, choice={"finish_reason": "tool_calls"})),
        ],
        [
            sent(ROLE), sent(chunk({"content": "half "})),
            sent(chunk({"role": "assistant", "content": " and"}, id="other"),
                 is_continuation=True, content="and"),
            sent(chunk({"content": " half"}, id="other"), is_continuation=True),
            sent(chunk({}, id="other", choice={"finish_reason": "stop"}), is_continuation=True,
                 understudy={"served_by": "teacher"}),
        ],
    ],
    ids=["text", "log-probabilities", "a tool call", "a continuation"],
)  # fmt: skip
@pytest.mark.parametrize("is_asked", [False, True], ids=["bare", "all asked"])
def test_a_record_is_what_the_client_has_in_the_end(steps: list[Step], is_asked: bool) -> None:
    asked: dict[str, Any] = {}
    if is_asked:
        asked = {"logprobs": True, "stream_options": {"include_usage": True}}
        steps = [*steps, lambda editor: editor.usage_event(USAGE, {"served_by": "teacher"})]
    record, events = played(steps, **asked)
    state = ChatCompletionStreamState()
    for each in b"".join(events).split(b"\n\n")[:-2]:
        state.handle_chunk(ChatCompletionChunk.model_validate_json(each[len(b"data: ") :]))
    client = json.loads(state.get_final_completion().model_dump_json(exclude_none=True))
    (ours,), (theirs,) = record["choices"], client["choices"]
    for part in theirs["message"].pop("tool_calls", []):
        part["function"].pop("parsed_arguments", None)
        part.pop("index", None)
        assert part in ours["message"]["tool_calls"]
    theirs["message"].pop("parsed", None)
    assert theirs["message"].items() <= ours["message"].items()
    assert ours["finish_reason"] == theirs["finish_reason"]
    if is_asked:
        assert (ours["logprobs"] or {}).get("content") == theirs.get("logprobs", {}).get("content")
        assert record["usage"] == client["usage"]
    for name in ("id", "created", "model"):
        assert record[name] == client[name]
    assert "understudy" not in record


def test_what_was_thrown_away_is_not_in_the_record() -> None:
    record, _ = played(
        [
            sent(ROLE), sent(chunk({"content": "wrong"}, usage=USAGE)),
            lambda editor: editor.restart_event(5),
            sent(chunk({"role": "assistant", "content": "right"}, id="other")), sent(END),
            lambda editor: editor.closing_event({"served_by": "teacher"}),
        ]
    )  # fmt: skip
    assert record["choices"][0]["message"]["content"] == "right"
    assert (record["id"], record.get("usage")) == ("chatcmpl-1", None)


def test_usage_is_recorded_where_the_server_told_it_and_the_client_did_not_ask() -> None:
    record, events = played([sent(ROLE), sent(END), sent(usage_report(USAGE))])
    assert record["usage"] == USAGE
    assert b"usage" not in b"".join(events)


def test_a_whole_answer_is_written_once_it_leaves() -> None:
    written: list[bytes] = []
    asked = AskedChat(parse_chat(json.dumps(QUESTION).encode()))
    recording = Recording(asked, written.append)
    recording.leaving()
    first, second = (
        read_completion(json.dumps(completion(text)).encode()) for text in ("one", "two")
    )
    recording.whole(first)
    body = recording.whole(second)  # the first was not sent after all
    assert written == []
    recording.leaving()
    assert written == [body]
    assert (recording.chat, recording.can_restart) == (asked.chat, True)
    assert b"".join(recording.replay(first, {})) == b"".join(asked.replay(first, {}))
    recording.leaving()
    assert written == [body, asked.whole(first)]
