"""A whole answer as server-sent events: the chunks that a model server would have streamed.

The answer is known before the first byte leaves, so that status and headers tell the truth and a
failure is an ordinary error response.  This module knows bytes, not sockets.
"""

from collections.abc import Iterator, Mapping

import msgspec

from gateway.wire.chat import Chat
from gateway.wire.client_reply import client_fields
from gateway.wire.completion import Completion, part_of
from gateway.wire.raw import one_line

CONTENT_TYPE = "text/event-stream; charset=utf-8"
_DONE = b"data: [DONE]\n\n"
_tool_calls = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_message = msgspec.json.Decoder(dict[str, msgspec.Raw])


def event(payload: object) -> bytes:
    """One server-sent event with a JSON payload."""
    return b"data: " + one_line(msgspec.json.encode(payload)) + b"\n\n"


def replay(completion: Completion, chat: Chat, understudy: Mapping[str, object]) -> Iterator[bytes]:
    """Events of the whole stream: for each choice a role, content and finish chunk; usage; the end.

    With ``stream_options.include_usage`` every chunk has ``usage``, null in all but the last, which
    has no choices.  ``understudy`` is what the gateway says of the answer, in the last chunk.
    """
    *chunks, last = _chunks(completion, chat)
    for chunk in chunks:
        yield event(chunk)
    yield event({**last, "understudy": understudy})
    yield _DONE


def _chunks(completion: Completion, chat: Chat) -> Iterator[dict[str, object]]:
    fields = client_fields(completion, chat)
    choices: list[dict[str, msgspec.Raw]] = fields.pop("choices")  # type: ignore[assignment]
    usage = fields.pop("usage", None)
    envelope: dict[str, object] = {
        key: fields[key]
        for key in ("id", "created", "model", "system_fingerprint")
        if key in fields
    }
    envelope["object"] = "chat.completion.chunk"
    if chat.is_usage_wanted:
        envelope["usage"] = None
    for place, choice in enumerate(choices):
        for part in _choice_parts(choice):
            index = choice.get("index", place)
            yield {**envelope, "choices": [{"index": index, **part}]}
    if chat.is_usage_wanted:
        yield {**envelope, "choices": [], "usage": usage}


def _choice_parts(choice: Mapping[str, msgspec.Raw]) -> Iterator[dict[str, object]]:
    delta = _delta(choice["message"])
    opening = {"role": delta.pop("role", "assistant"), "content": ""}
    yield {"delta": opening, "logprobs": None, "finish_reason": None}
    if delta:
        yield {"delta": delta, "logprobs": choice.get("logprobs"), "finish_reason": None}
    finish = {key: choice[key] for key in ("finish_reason", "stop_reason") if key in choice}
    yield {"delta": {}, "logprobs": None, **finish}


def _delta(message: msgspec.Raw) -> dict[str, object]:
    """A message as a delta: nulls are left out, tool calls get the index that streams need.

    What is not as it should be says nothing, or stays as it is: a whole answer has it too.
    """
    fields = part_of(_message, message) or {}
    delta: dict[str, object] = {
        key: value for key, value in fields.items() if bytes(value) not in (b"null", b'""', b"[]")
    }
    if "tool_calls" in delta:
        calls = part_of(_tool_calls, fields["tool_calls"])
        if calls is not None:
            delta["tool_calls"] = [{**call, "index": place} for place, call in enumerate(calls)]
    return delta
