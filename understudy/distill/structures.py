"""Whether the teacher's answer of a row has the form that was asked for, by the gateway's check."""

from typing import Any

import msgspec

from distill.dataset import Example, said_in
from gateway.errors import RequestError
from gateway.wire.chat import Chat, parse_chat
from gateway.wire.structure import ToolCall, structure_of
from routing.vocabulary import Structure

# A name that says who asks, where a request must name a model.
_NOBODY = "nobody"


def is_as_asked(example: Example) -> bool:
    """Whether tool calls fit the tools, and text the JSON that was asked for."""
    try:
        chat = _chat(example)
    except (RequestError, msgspec.MsgspecError):
        return False
    calls = [_call(each) for each in example.answer.get("tool_calls") or ()]
    text = "" if calls else said_in(example.answer)
    return structure_of(chat, text, calls) is not Structure.INVALID


def _chat(example: Example) -> Chat:
    fields: dict[str, Any] = {"model": _NOBODY, "messages": [{"role": "user", "content": ""}]}
    for name, value in (("tools", example.tools), ("response_format", example.response_format)):
        if value is not None:
            fields[name] = msgspec.json.decode(value)
    return parse_chat(msgspec.json.encode(fields))


def _call(call: Any) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return ToolCall("", "")
    arguments = function.get("arguments")
    return ToolCall(str(function.get("name") or ""), msgspec.json.encode(arguments).decode())
