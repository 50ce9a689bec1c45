"""A request for a response, with ids and times of the test's own, and what its stream says."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.wire.responses.wire import AskedResponse, ResponsesWire


def asked(**changes: Any) -> AskedResponse:
    """The question, with changes."""
    wire = ResponsesWire(new_id=lambda: "1", now=lambda: 5.0)
    return wire.read(json.dumps({"model": "a", "input": "What?"} | changes).encode(), None)


def events_in(stream: bytes) -> Iterator[dict[str, Any]]:
    """The events, each seen to have its name and its number."""
    for number, frame in enumerate(stream.split(b"\n\n")[:-1]):
        kind, data = frame.split(b"\n")
        event = json.loads(data.removeprefix(b"data: "))
        assert kind == b"event: " + event["type"].encode()
        assert event["sequence_number"] == number
        yield event


def kinds(events: Sequence[dict[str, Any]]) -> list[str]:
    """The names of events."""
    return [event["type"].removeprefix("response.") for event in events]
