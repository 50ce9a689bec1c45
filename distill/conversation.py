"""A pair's payloads as a conversation: what all formats of training rows are written from.

Nothing is guessed: what is not plainly a conversation in text and function calls is left out, with
its cause.  Text that came in parts is joined by line breaks, as vLLM does for a chat template.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from distill.causes import Cause, LeftOut

# How an answer ends that says all it had to say.  Some servers do not tell.
_WHOLE = frozenset({None, "stop", "tool_calls"})
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a function; ``arguments`` is the JSON that the model wrote, unparsed."""

    id: str | None
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message; ``content`` is None where an assistant only calls functions."""

    role: str
    content: str | None
    calls: tuple[Call, ...] = ()
    call_id: str | None = None
    name: str | None = None
    reasoning: str | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked: messages, of which the last is not the assistant's, and tools.

    ``response_format`` is the form that the answer was to have; None where that was free.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    is_parallel: bool | None = None
    response_format: Mapping[str, Any] | None = None

    @property
    def question(self) -> str:
        """What the last message says."""
        return self.messages[-1].content or ""


def prompt_of(request: bytes) -> Prompt:
    """Read a request.  Raises LeftOut."""
    fields = _decoded(request)
    if fields.get("functions") or fields.get("function_call"):
        raise LeftOut(Cause.LEGACY_FUNCTIONS)
    found = fields.get("messages")
    if found is None and "prompt" in fields:
        raise LeftOut(Cause.BARE_PROMPT)
    if not isinstance(found, list) or not found:
        raise LeftOut(Cause.UNREADABLE)
    messages = tuple(message_of(each) for each in found)
    if messages[-1].role == "assistant" or fields.get("continue_final_message"):
        raise LeftOut(Cause.CONTINUATION)
    is_parallel = fields.get("parallel_tool_calls")
    form = fields.get("response_format")
    return Prompt(
        messages,
        tuple(_tools(fields.get("tools") or ())),
        is_parallel if isinstance(is_parallel, bool) else None,
        form if isinstance(form, dict) and form.get("type") != "text" else None,
    )


def answer_of(completion: bytes) -> Message:
    """Read the one whole answer of a chat completion.  Raises LeftOut."""
    choices = _decoded(completion).get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise LeftOut(Cause.UNREADABLE)
    if len(choices) > 1:
        raise LeftOut(Cause.SEVERAL_ANSWERS)
    if choices[0].get("finish_reason") not in _WHOLE:
        raise LeftOut(Cause.ANSWER_CUT_SHORT)
    found = choices[0].get("message")
    if not isinstance(found, dict):
        raise LeftOut(Cause.UNREADABLE)
    if found.get("refusal"):
        raise LeftOut(Cause.ANSWER_REFUSED)
    message = message_of({**found, "role": "assistant"})
    if not message.content and not message.calls:
        raise LeftOut(Cause.ANSWER_EMPTY)
    return message


def text_of(message: Message) -> str:
    """What comparators read: the words, or the calls as JSON where there are no words."""
    if message.content or not message.calls:
        return message.content or ""
    calls = [{"name": call.name, "arguments": _parsed(call.arguments)} for call in message.calls]
    return msgspec.json.encode(calls).decode()


def message_of(found: object) -> Message:
    """Read one message, of a request or of an answer.  Raises LeftOut."""
    if not isinstance(found, dict):
        raise LeftOut(Cause.UNREADABLE)
    role = found.get("role")
    if role == "function" or found.get("function_call"):
        raise LeftOut(Cause.LEGACY_FUNCTIONS)
    if role not in _ROLES:
        raise LeftOut(Cause.UNKNOWN_ROLE)
    if found.get("audio"):
        raise LeftOut(Cause.NOT_TEXT)
    calls = tuple(_calls(found.get("tool_calls") or ())) if role == "assistant" else ()
    content = _text(found.get("content"))
    if content is None and not calls and role != "assistant":
        raise LeftOut(Cause.UNREADABLE)
    return Message(
        role=role,
        content=content,
        calls=calls,
        call_id=_string(found.get("tool_call_id")) if role == "tool" else None,
        name=_string(found.get("name")),
        reasoning=_string(found.get("reasoning_content")) or _string(found.get("reasoning")),
    )


def _text(content: object) -> str | None:
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise LeftOut(Cause.UNREADABLE)
    texts: list[str] = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text":
            raise LeftOut(Cause.NOT_TEXT)
        text = part.get("text")
        if not isinstance(text, str):
            raise LeftOut(Cause.UNREADABLE)
        texts.append(text)
    return "\n".join(texts)


def _calls(found: object) -> Iterable[Call]:
    for call in _sequence(found):
        if call.get("type", "function") != "function":
            raise LeftOut(Cause.CUSTOM_TOOLS)
        function = call.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str):
            raise LeftOut(Cause.UNREADABLE)
        arguments = function.get("arguments")
        if not isinstance(arguments, str) or not isinstance(_parsed(arguments), dict):
            raise LeftOut(Cause.ARGUMENTS_NOT_JSON)
        yield Call(_string(call.get("id")), name, arguments)


def _tools(found: object) -> Iterable[Mapping[str, Any]]:
    for tool in _sequence(found):
        if tool.get("type") != "function" or not isinstance(tool.get("function"), dict):
            raise LeftOut(Cause.CUSTOM_TOOLS)
        yield tool


def _sequence(found: object) -> Sequence[dict[str, Any]]:
    if not isinstance(found, list | tuple) or not all(isinstance(each, dict) for each in found):
        raise LeftOut(Cause.UNREADABLE)
    return found


def _string(found: object) -> str | None:
    return found if isinstance(found, str) and found else None


def _decoded(payload: bytes) -> dict[str, Any]:
    found = _parsed(payload)
    if not isinstance(found, dict):
        raise LeftOut(Cause.UNREADABLE)
    return found


def _parsed(text: str | bytes) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
