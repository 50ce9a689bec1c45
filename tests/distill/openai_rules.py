"""OpenAI's documented rules for fine-tuning files, as a check of one line.

Written from the API reference (FineTuneChatRequestInput, FineTunePreferenceRequestInput) and the
guides on supervised fine-tuning, direct preference optimisation and function calling: one JSON
object a line; roles system, user, assistant and tool (function is deprecated); the last message is
the assistant's; ``weight`` is 0 or 1 and the assistant's alone; arguments of calls are text that
holds JSON; each result of a tool answers a call that was made before; names of functions are 1 to
64 of a-z, A-Z, 0-9, _ and -; a preference has one preferred and one other message of an assistant,
text alone.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
FIELDS = {
    "system": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "tool_calls", "weight"},
    "tool": {"role", "content", "tool_call_id"},
}


def faults(line: bytes) -> list[str]:
    """What a line of a supervised file breaks, a sentence each."""
    found = json.loads(line)
    if not isinstance(found, dict):
        return ["is no object"]
    unknown = set(found) - {"messages", "tools", "parallel_tool_calls"}
    messages = found.get("messages")
    return [
        *(f"has {name}" for name in sorted(unknown)),
        *_conversation(messages, has_weight=True),
        *_last(messages),
        *_tools(found),
    ]


def preference_faults(line: bytes) -> list[str]:
    """What a line of a preference file breaks."""
    found = json.loads(line)
    told = []
    if set(found) != {"input", "preferred_output", "non_preferred_output"}:
        told.append(f"has the keys {sorted(found)}")
    told += _conversation(found["input"].get("messages"), has_weight=False)
    told += _tools(found["input"])
    for name in ("preferred_output", "non_preferred_output"):
        output = found[name]
        if len(output) != 1 or output[0].get("role") != "assistant":
            told.append(f"{name} is not one message of the assistant")
        told += _message(output[0], has_weight=False)
    if found["preferred_output"] == found["non_preferred_output"]:
        told.append("prefers nothing")
    return told


def _conversation(messages: Any, *, has_weight: bool) -> Iterator[str]:
    if not isinstance(messages, list) or not messages:
        yield "has no messages"
        return
    called: set[str] = set()
    for message in messages:
        yield from _message(message, has_weight=has_weight)
        called |= {call["id"] for call in message.get("tool_calls") or ()}
        if message["role"] == "tool" and message.get("tool_call_id") not in called:
            yield "answers a call that nobody made"


def _last(messages: Any) -> Iterator[str]:
    if not messages or messages[-1].get("role") != "assistant":
        yield "does not end with the assistant"
    elif messages[-1].get("weight") == 0:
        yield "has nothing to train on"


def _message(message: Any, *, has_weight: bool) -> Iterator[str]:
    role = message.get("role")
    if role not in FIELDS:
        yield f"has the role {role}"
        return
    allowed = FIELDS[role] if has_weight else FIELDS[role] - {"weight"}
    yield from (f"{role} has {name}" for name in sorted(set(message) - allowed))
    if message.get("weight", 1) not in (0, 1):
        yield "has another weight than 0 and 1"
    calls = message.get("tool_calls")
    content = message.get("content")
    if not isinstance(content, str) and not (role == "assistant" and calls and content is None):
        yield f"{role} has no text"
    if calls is not None and not calls:
        yield "has calls, but none"
    for call in calls or ():
        if set(call) != {"id", "type", "function"} or call["type"] != "function":
            yield "has a call that is none"
        elif not FUNCTION_NAME.fullmatch(call["function"]["name"]):
            yield f"calls {call['function']['name']}"
        elif not isinstance(call["function"]["arguments"], str):
            yield "has arguments that are no text"
        elif not isinstance(json.loads(call["function"]["arguments"]), dict):
            yield "has arguments that are no object"


def _tools(found: Any) -> Iterator[str]:
    tools = found.get("tools")
    if "tools" in found and not tools:
        yield "has tools, but none"
    for tool in tools or ():
        if tool.get("type") != "function" or not FUNCTION_NAME.fullmatch(tool["function"]["name"]):
            yield "offers a tool that is no function"
    if not isinstance(found.get("parallel_tool_calls", True), bool):
        yield "has parallel_tool_calls that is no boolean"
