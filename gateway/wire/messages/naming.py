"""What a client calls a parameter of the chat that its request became."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# What says the same in a request; the first that the client wrote is meant, else the last.
_MOVED: Mapping[str, tuple[str, ...]] = {
    "stop": ("stop_sequences",),
    "user": ("metadata.user_id",),
    "response_format": ("output_format", "output_config.format"),
    "reasoning_effort": ("output_config.effort",),
    "chat_template_kwargs": ("thinking",),
    "parallel_tool_calls": ("tool_choice.disable_parallel_tool_use",),
    "max_completion_tokens": ("max_tokens",),
    "input_tokens": ("messages",),
    "continue_final_message": ("messages",),
    "add_generation_prompt": ("messages",),
}
_MESSAGE = re.compile(r"messages\.(\d+)(?:(\.content)(?:\.(\d+))?)?(.*)")
# Objects in which a chat keeps what stands here in a block or a tool itself.
_WRAPPED = (
    (re.compile(r"\.image_url(?:\.url)?"), ".source"),
    (re.compile(r"\.function\.parameters"), ".input_schema"),
    (re.compile(r"\.function"), ""),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chat's message stands in the client's request, and each part of its content."""

    message: str
    parts: Sequence[str] = ()


def client_param(param: str, places: Sequence[Place], said: frozenset[str]) -> str:
    """The client's name for ``param``.

    ``places`` are those of the chat's messages, ``said`` the fields that the client wrote.
    """
    # Some write "messages[0].content", FastAPI "body.messages.0.content".
    param = param.removeprefix("body.").replace("[", ".").replace("]", "")
    found = _MESSAGE.fullmatch(param)
    if found is not None:
        return _in_message(found, places)
    name, dot, rest = param.partition(".")
    if name in said or name not in _MOVED:
        return _unwrapped(param) if name == "tools" else param
    moved = next((each for each in _MOVED[name] if each in said), _MOVED[name][-1])
    return moved if name in ("input_tokens", "chat_template_kwargs") else f"{moved}{dot}{rest}"


def _in_message(found: re.Match[str], places: Sequence[Place]) -> str:
    number, content, part, rest = found.groups()
    if int(number) >= len(places):
        return "messages"
    place = places[int(number)]
    if part is not None and int(part) < len(place.parts):
        return place.parts[int(part)] + _unwrapped(rest)
    return f"{place.message}.content" if content and place.message != "system" else place.message


def _unwrapped(path: str) -> str:
    for wrapped, bare in _WRAPPED:
        path = wrapped.sub(bare, path)
    return path
