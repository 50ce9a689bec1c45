"""What a client of Anthropic's makes of a message's events, strict about their order."""

import json
from typing import Any

_DELTAS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("tool_use", "partial_json"),
}


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """The events' payloads; each has its name twice."""
    events = []
    for block in stream.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        assert name.startswith("event: ")
        assert data.startswith("data: ")
        events.append(json.loads(data.removeprefix("data: ")))
        assert events[-1]["type"] == name.removeprefix("event: ")
    return events


def message_from(stream: bytes) -> dict[str, Any]:
    """The message that the events build."""
    first, *events, end, last = events_of(stream)
    assert (first["type"], end["type"], last) == (
        "message_start",
        "message_delta",
        {"type": "message_stop"},
    )
    message: dict[str, Any] = first["message"]
    content: list[dict[str, Any]] = message["content"]
    assert content == []
    written: list[str] | None = None
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert written is None
                assert event["index"] == len(content)
                content.append(event["content_block"])
                written = []
            case "content_block_delta":
                assert written is not None
                kind, name = _DELTAS[event["delta"]["type"]]
                assert (event["index"], kind) == (len(content) - 1, content[-1]["type"])
                written.append(event["delta"][name])
            case "content_block_stop":
                assert written is not None
                assert event["index"] == len(content) - 1
                _close(content[-1], "".join(written))
                written = None
            case other:
                raise AssertionError(f"an event {other!r} amid a message")
    assert written is None
    built: dict[str, Any] = message | end["delta"] | {"usage": end["usage"]}
    return built


def _close(block: dict[str, Any], written: str) -> None:
    if block["type"] == "tool_use":
        assert block["input"] == {}
        block["input"] = json.loads(written or "{}")
    else:
        assert block[block["type"]] == ""
        block[block["type"]] = written
