"""What a model said, in a whole answer or in a piece of one: both have the same fields.

What is not as it should be is passed over: an answer of which a part cannot be read is still one.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from gateway.wire.completion import part_of
from gateway.wire.messages.shape import NULL

MESSAGE_ID_PREFIX = "msg_"
_SERVERS_ID_PREFIX = "chatcmpl-"


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct):
    """One call of a tool, or a piece of it, which has what is said for the first time."""

    index: int | None = None
    id: str | None = None
    function: _Function | None = None

    @property
    def name(self) -> str:
        """The tool's name."""
        return (self.function and self.function.name) or ""

    @property
    def arguments(self) -> str:
        """JSON, or a piece of it."""
        return (self.function and self.function.arguments) or ""


@dataclass(frozen=True, slots=True)
class Said:
    """The thoughts, the words and the calls."""

    thoughts: str
    text: str
    calls: Sequence[Call]


@dataclass(frozen=True, slots=True)
class Stop:
    """Why an answer ended, in Anthropic's words, and which of the client's sequences ended it."""

    reason: str
    sequence: str | None = None


_text = msgspec.json.Decoder(str | None)
_calls = msgspec.json.Decoder(list[Call] | None)
_function = msgspec.json.Decoder(_Function | None)
_arguments = msgspec.json.Decoder(dict[str, msgspec.Raw])
_fields_or_null = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_REASONS = {"length": "max_tokens", "content_filter": "refusal"}


def said_in(message: msgspec.Raw) -> Said:
    """Read a message, or the delta of a chunk.  A refusal's words are words of the answer."""
    fields = part_of(_fields_or_null, message) or {}
    texts = {
        name: part_of(_text, fields[name]) or ""
        for name in ("reasoning_content", "reasoning", "content", "refusal")
        if name in fields
    }
    calls = part_of(_calls, fields.get("tool_calls", NULL)) or []
    older = part_of(_function, fields.get("function_call", NULL))
    return Said(
        thoughts=texts.get("reasoning_content") or texts.get("reasoning", ""),
        text=texts.get("content") or texts.get("refusal", ""),
        calls=calls if older is None else [*calls, Call(index=len(calls), function=older)],
    )


def message_id(server_id: msgspec.Raw) -> str:
    """The id of a message, which is the server's in another form; a fresh one where it has none."""
    said = part_of(_text, server_id) or os.urandom(12).hex()
    return MESSAGE_ID_PREFIX + said.removeprefix(_SERVERS_ID_PREFIX)


def call_id(call: Call, identity: str, place: int) -> str:
    """The id of a message's call, by which its result is told; made up where a server has none."""
    return call.id or f"toolu_{identity.removeprefix(MESSAGE_ID_PREFIX)}_{place}"


def input_of(arguments: str) -> msgspec.Raw:
    """A call's input, which is an object to every client.

    What is none is the one value of an object, under the name that Anthropic's guide has for it.
    """
    raw = arguments.strip() or "{}"
    try:
        _arguments.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raw = msgspec.json.encode({"INVALID_JSON": arguments}).decode()
    return msgspec.Raw(raw.encode())


def stop_of(choice: Mapping[str, msgspec.Raw], stops: Sequence[str], *, has_calls: bool) -> Stop:
    """Why a choice ended.  Only some servers name the sequence; elsewhere it is an end as any."""
    reason = part_of(_text, choice.get("finish_reason", NULL)) or ""
    if reason in _REASONS:
        return Stop(_REASONS[reason])
    if has_calls:
        return Stop("tool_use")
    sequence = part_of(_text, choice.get("stop_reason", NULL))
    return Stop("stop_sequence", sequence) if sequence in stops else Stop("end_turn")
