"""Tools, and which of them a model is to use."""

from collections.abc import Sequence

import msgspec

from gateway.wire.messages.shape import NULL, missing, read, unsupported


class Tool(msgspec.Struct):
    name: str
    input_schema: dict[str, msgspec.Raw]
    description: str | None = None
    strict: bool | None = None


class _Kind(msgspec.Struct):
    type: str | None = None


class ToolChoice(msgspec.Struct):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


_kind = msgspec.json.Decoder(_Kind)
_tool = msgspec.json.Decoder(Tool)
_choice = msgspec.json.Decoder(ToolChoice)
CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def chat_tools(tools: Sequence[msgspec.Raw]) -> list[dict[str, object]]:
    """The tools of a chat.

    Raises RequestError for those whose schema, or whose execution, is Anthropic's own.
    """
    return [_function(raw, f"tools.{place}") for place, raw in enumerate(tools)]


def tool_choice_fields(choice: msgspec.Raw) -> dict[str, object]:
    """The fields of a chat that say the same as ``tool_choice``."""
    if choice == NULL:
        return {}
    said = read(_choice, choice, "tool_choice")
    fields: dict[str, object] = {}
    if said.type == "tool":
        if not said.name:
            raise missing("tool_choice.name")
        fields["tool_choice"] = {"type": "function", "function": {"name": said.name}}
    elif said.type in CHOICES:
        fields["tool_choice"] = CHOICES[said.type]
    else:
        raise unsupported("tool_choice.type", said.type)
    if said.disable_parallel_tool_use:
        fields["parallel_tool_calls"] = False
    return fields


def _function(raw: msgspec.Raw, path: str) -> dict[str, object]:
    kind = read(_kind, raw, path).type
    if kind not in (None, "custom"):
        raise unsupported(f"{path}.type", kind)
    tool = read(_tool, raw, path)
    function: dict[str, object] = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}
