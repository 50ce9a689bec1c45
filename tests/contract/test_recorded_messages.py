"""Replies recorded from real servers, as messages: what Anthropic's official client reads."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anthropic.types import Message

from gateway.wire.assemble import Assembly
from gateway.wire.chunk import decode
from gateway.wire.completion import read_completion
from gateway.wire.messages.events import MessageEditor
from gateway.wire.messages.reply import Terms, message_fields, message_in
from gateway.wire.sse import EventSplitter, is_done
from tests.fakes.messages import message_from
from tests.fakes.recordings import FOLDERS, RECORDINGS, missing, streams, wholes

TERMS = Terms("assistant")


def whole(body: bytes) -> Any:
    message = message_in(read_completion(body), TERMS)
    return json.loads(msgspec.json.encode(message_fields(message, "assistant")))


@pytest.mark.parametrize(("request_body", "path", "status"), wholes(is_success=True))
def test_a_recorded_answer_is_a_message(
    request_body: dict[str, Any], path: Path, status: int
) -> None:
    body = path.read_bytes()
    message = Message.model_validate(whole(body))
    assert message.usage.input_tokens > 0
    said = json.loads(body)["choices"][0]["message"]
    texts = [block.text for block in message.content if block.type == "text"]
    assert "".join(texts) == (said["content"] or "")
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [call.name for call in calls] == [
        call["function"]["name"] for call in said.get("tool_calls") or ()
    ]


@pytest.mark.parametrize(("request_body", "stream"), streams())
def test_a_recorded_stream_builds_the_message_of_its_whole(
    request_body: dict[str, Any], stream: bytes
) -> None:
    payloads = [each for each in EventSplitter().feed(stream) if not is_done(each)]
    chunks = [chunk for chunk in map(decode, payloads) if not chunk.error]
    editor, assembly = MessageEditor(TERMS), Assembly()
    events = [editor.edit(chunk) for chunk in chunks]
    for chunk in chunks:
        assembly.add(chunk)
    usage = next((chunk.usage_as_sent() for chunk in reversed(chunks) if chunk.usage), None)
    built = message_from(b"".join([*events, editor.usage_event(usage), editor.done()]))
    expected = whole(assembly.body())
    assert built == expected
    Message.model_validate(built)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_message_says_what_the_server_s_own_route_says(folder: str) -> None:
    """Both were asked the same question; of the prompt llama.cpp had other parts in its cache."""
    if not RECORDINGS.exists():
        pytest.skip(str(missing.kwargs["reason"]))
    theirs = json.loads((RECORDINGS / folder / "messages.json").read_bytes())
    ours = whole((RECORDINGS / folder / "chat_plain.json").read_bytes())
    told, usage = theirs.pop("usage"), ours.pop("usage")
    assert set(told) <= set(usage)
    assert tokens_of(told) == tokens_of(usage)
    del theirs["id"], theirs["model"]
    assert {name: ours[name] for name in theirs} == theirs


def tokens_of(usage: dict[str, int]) -> tuple[int, int]:
    """Those that were read, from a cache or not, and those that were written."""
    read = usage["input_tokens"] + usage.get("cache_read_input_tokens", 0)
    return read, usage["output_tokens"]
