"""What real servers wrote, as responses: beside what vLLM's own ``/v1/responses`` makes of it."""

import json
from itertools import groupby
from typing import Any

import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.wire.assemble import Assembly
from gateway.wire.chunk import Chunk, decode
from gateway.wire.completion import read_completion
from gateway.wire.responses.wire import AskedResponse
from gateway.wire.sse import EventSplitter, is_done
from tests.fakes.recordings import RECORDINGS, streams
from tests.fakes.responses import asked

OWN = RECORDINGS / "vllm-0.32.0-tools"
has_recordings = pytest.mark.skipif(not OWN.exists(), reason=f"no recordings in {OWN}")
# vLLM's own, and two parameters of chat completions.
NOT_OURS = {
    *("kv_transfer_params", "ec_transfer_params", "input_messages", "output_messages"),
    *("presence_penalty", "frequency_penalty", "prompt"),
}

_event: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


def chunks(stream: bytes) -> list[Chunk]:
    return [decode(payload) for payload in EventSplitter().feed(stream) if not is_done(payload)]


def events(request: AskedResponse, stream: bytes) -> list[dict[str, Any]]:
    editor = request.editor()
    out, usage = b"", None
    for chunk in chunks(stream):
        out += editor.edit(chunk)
        usage = chunk.usage_as_sent() or usage
    out += editor.usage_event(usage) + editor.done()
    return [json.loads(payload) for payload in EventSplitter().feed(out)]


@pytest.mark.parametrize(("question", "stream"), streams())
def test_a_recorded_stream_comes_to_the_same_as_its_whole(
    question: dict[str, Any], stream: bytes
) -> None:
    wanted: dict[str, Any] = {"stream": True}
    if question.get("logprobs"):
        wanted["include"] = ["message.output_text.logprobs"]
    assembly = Assembly()
    for chunk in chunks(stream):
        assembly.add(chunk)
    told = events(asked(**wanted), stream)
    whole = json.loads(asked(**wanted).whole(read_completion(assembly.body())))
    assert told[-1]["response"]["output"] == whole["output"]
    assert told[-1]["response"]["status"] == whole["status"]
    for event in told:
        _event.validate_python(event)


@has_recordings
def test_a_response_has_all_that_vllms_own_has() -> None:
    own = json.loads((OWN / "responses.json").read_text())
    ours = json.loads(asked().whole(read_completion((OWN / "chat_plain.json").read_bytes())))
    assert own.keys() - ours.keys() <= NOT_OURS
    (said,), (repeated,) = own["output"], ours["output"]
    assert said.keys() - {"phase"} == repeated.keys()
    assert said["content"][0].keys() == repeated["content"][0].keys()
    assert ours["usage"].keys() == own["usage"].keys()


@has_recordings
def test_a_stream_has_the_events_that_vllms_own_has() -> None:
    recorded = EventSplitter().feed((OWN / "responses_stream.sse").read_bytes() + b"\n\n")
    own = [json.loads(payload) for payload in recorded]
    ours = events(asked(stream=True), (OWN / "stream_usage.sse").read_bytes())
    assert order(ours) == order(own)
    fields = {event["type"]: event.keys() for event in ours}
    for event in own:
        assert event.keys() <= fields[event["type"]]


def order(told: list[dict[str, Any]]) -> list[str]:
    """The kinds of events, each run of one kind as one."""
    return [kind for kind, _ in groupby(event["type"] for event in told)]
