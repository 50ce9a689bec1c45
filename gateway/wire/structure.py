"""Whether a draft has the form that its request asked for: tool arguments, JSON, a JSON Schema.

Where a schema cannot be used the check is the one without it, so a request never fails for its
schema.  What follows from the result is routing's to say.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from gateway.wire.chat import Chat
from gateway.wire.schema import SchemaCache
from routing.vocabulary import Structure


class ToolCall(NamedTuple):
    """One tool call of a draft: the name, "" where it has none, and arguments as written."""

    name: str
    arguments: str


class _Function(msgspec.Struct):
    name: str
    parameters: msgspec.Raw = msgspec.Raw(b"null")


class _Tool(msgspec.Struct):
    function: _Function | None = None


class _JsonSchema(msgspec.Struct):
    schema: msgspec.Raw = msgspec.Raw(b"null")


class _ResponseFormat(msgspec.Struct):
    type: str
    json_schema: _JsonSchema | None = None


_tools = msgspec.json.Decoder(list[_Tool] | None)
_functions = msgspec.json.Decoder(list[_Function] | None)
_response_format = msgspec.json.Decoder(_ResponseFormat)
_null = msgspec.Raw(b"null")
_no_json = object()
_NOT_ASKED = Structure.NOT_ASKED  # looking it up takes a call's time, and nearly every draft is it
# What it holds changes how long a check takes, never its result.
_schemas = SchemaCache()


def structure_of(chat: Chat, content: str, tool_calls: Sequence[ToolCall]) -> Structure:
    """Check a whole draft: its tool calls, or else its text where that was to be JSON."""
    if tool_calls:
        is_valid = _are_calls_valid(chat, tool_calls)
    elif chat.is_json_wanted:
        is_valid = _is_text_valid(chat, content)
    else:
        return _NOT_ASKED
    return Structure.VALID if is_valid else Structure.INVALID


def _are_calls_valid(chat: Chat, calls: Sequence[ToolCall]) -> bool:
    offered = _offered(chat)
    for call in calls:
        text = call.arguments or "{}"  # vLLM writes nothing for a tool without parameters
        arguments = _decoded(text)
        if not isinstance(arguments, dict):
            return False
        if offered is None:
            continue
        if call.name not in offered:
            return False
        schema = _schemas.find(bytes(offered[call.name]))
        if schema and schema.refutes(arguments, text, checks=chat.choices * len(calls)):
            return False
    return True


def _offered(chat: Chat) -> Mapping[str, msgspec.Raw] | None:
    """Parameters of the tools that the request offers, by name; None where they cannot be read."""
    try:
        tools = _tools.decode(chat.fields.get("tools", _null)) or ()
        functions = _functions.decode(chat.fields.get("functions", _null)) or ()
    except msgspec.ValidationError:
        return None
    offered = [*functions, *(tool.function for tool in tools if tool.function)]
    return {function.name: function.parameters for function in offered}


def _is_text_valid(chat: Chat, text: str) -> bool:
    value = _decoded(text)
    if value is _no_json:
        return False
    try:
        wanted = _response_format.decode(chat.fields["response_format"])
    except msgspec.ValidationError:
        return True
    if wanted.type == "json_object":
        return isinstance(value, dict)
    schema = wanted.json_schema and _schemas.find(bytes(wanted.json_schema.schema))
    return not (schema and schema.refutes(value, text, checks=chat.choices))


def _decoded(text: str) -> object:
    """The value that the text encodes; ``_no_json`` where it is no JSON that readers can hold."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return _no_json
