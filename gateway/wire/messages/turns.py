"""The turns of a conversation: what clients write of them, and the messages of a chat for it.

Turns of one side that follow each other are one turn, as they are to Anthropic's own models: many
chat templates refuse them otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from gateway.wire.messages.naming import Place
from gateway.wire.messages.shape import NULL, missing, read, refused, unsupported
from gateway.wire.messages.sources import Block, Part, blocks_of, material_of, text_of, text_part

# A client puts a hash that differs with every request into this line, and so no prompt of its would
# begin like another: no server could use what it has cached.
_BILLING_LINE = "x-anthropic-billing-header"

ChatMessage = dict[str, object]


class MessageTurn(msgspec.Struct):
    role: str
    content: msgspec.Raw = NULL


@dataclass(slots=True)
class _Turn:
    """All that one side said before the other did; ``path`` is where that begins.

    ``part_paths`` and ``result_paths`` say where each part and each result stands.
    """

    role: str
    path: str
    parts: list[Part] = field(default_factory=list)
    part_paths: list[str] = field(default_factory=list)
    results: list[ChatMessage] = field(default_factory=list)
    result_paths: list[str] = field(default_factory=list)
    calls: list[dict[str, object]] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)

    def say(self, part: Part, path: str) -> None:
        """Add a part."""
        self.parts.append(part)
        self.part_paths.append(path)


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages of a chat, and where each of them stands in the client's request."""

    messages: Sequence[ChatMessage]
    places: Sequence[Place]


_message = msgspec.json.Decoder(MessageTurn)


def conversation_of(system: msgspec.Raw, messages: Sequence[msgspec.Raw]) -> Conversation:
    """A conversation as a chat has it.  Raises RequestError, which names what is wrong in it."""
    told = [] if system == NULL else _system_texts(system, "system")
    turns: list[_Turn] = []
    for place, raw in enumerate(messages):
        path = f"messages.{place}"
        message = read(_message, raw, path)
        if message.role == "system" and not turns:
            told += _system_texts(message.content, f"{path}.content")
        else:
            _add_message(turns, message, path)
    said: list[tuple[ChatMessage, Place]] = []
    if told:
        head = "system" if system != NULL else "messages.0"
        said.append(({"role": "system", "content": "\n".join(told)}, Place(head)))
    for turn in turns:
        said += _chat_messages(turn)
    return Conversation([message for message, _ in said], [place for _, place in said])


def _system_texts(content: msgspec.Raw, path: str) -> list[str]:
    texts = [text_of(block, place) for place, block in blocks_of(content, path)]
    return [text for text in texts if text and not text.startswith(_BILLING_LINE)]


def _add_message(turns: list[_Turn], message: MessageTurn, path: str) -> None:
    """Add what one message says; what the system says between turns becomes words of the user.

    Many chat templates know a system only at the beginning, and what stands there would change
    with every turn: nothing of a prompt could be cached.
    """
    if message.role not in ("user", "assistant", "system"):
        raise unsupported(f"{path}.role", message.role)
    role = "assistant" if message.role == "assistant" else "user"
    if not turns or turns[-1].role != role:
        turns.append(_Turn(role, path))
    turn, path = turns[-1], f"{path}.content"
    if message.role == "system":
        for text in _system_texts(message.content, path):
            turn.say(text_part(text), path)
        return
    add = _add_answer if role == "assistant" else _add_question
    for place, block in blocks_of(message.content, path):
        add(turn, block, place)


def _add_question(turn: _Turn, block: Block, path: str) -> None:
    if block.type == "tool_result":
        result, seen = _result(block, path)
        turn.results.append(result)
        turn.result_paths.append(path)
        for image in seen:
            turn.say(image, path)
    elif (part := material_of(block, path)) is not None:
        turn.say(part, path)
    else:
        raise unsupported(f"{path}.type", block.type)


def _add_answer(turn: _Turn, block: Block, path: str) -> None:
    match block.type:
        case "text":
            turn.say(text_part(text_of(block, path)), path)
        case "tool_use":
            turn.calls.append(_call(block, path))
        case "thinking":
            turn.thoughts.append(block.thinking or "")
        case "redacted_thinking":
            pass  # nobody here can read it
        case _:
            raise unsupported(f"{path}.type", block.type)


def _call(block: Block, path: str) -> dict[str, object]:
    if block.id is None:
        raise missing(f"{path}.id")
    if not block.name:
        raise missing(f"{path}.name")
    arguments = bytes(block.input)
    if not arguments.startswith(b"{"):
        raise refused(f"{path}.input", "Expected object.")
    function = {"name": block.name, "arguments": arguments.decode()}
    return {"id": block.id, "type": "function", "function": function}


def _result(block: Block, path: str) -> tuple[ChatMessage, list[Part]]:
    """A tool's result as a chat has it, which is text, and the images that it showed."""
    if block.tool_use_id is None:
        raise missing(f"{path}.tool_use_id")
    texts, seen = [], []
    if block.content != NULL:
        for place, inner in blocks_of(block.content, f"{path}.content"):
            part = material_of(inner, place)
            if part is None:
                raise unsupported(f"{place}.type", inner.type)
            if part["type"] == "text":
                texts.append(str(part["text"]))
            else:
                seen.append(part)
    text = "\n".join(texts)
    if block.is_error:  # a chat has no other word for it
        text = f"Error: {text}"
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": text}, seen


def _chat_messages(turn: _Turn) -> list[tuple[ChatMessage, Place]]:
    place = Place(turn.path, turn.part_paths)
    if turn.role == "assistant":
        return [(_answer(turn), place)]
    # Whatever a model called stands right before its results.
    said = [
        (result, Place(path)) for result, path in zip(turn.results, turn.result_paths, strict=True)
    ]
    if turn.parts or not turn.results:
        said.append(({"role": "user", "content": _content(turn.parts)}, place))
    return said


def _answer(turn: _Turn) -> ChatMessage:
    text = "".join([str(part["text"]) for part in turn.parts])
    message: ChatMessage = {"role": "assistant", "content": text or None if turn.calls else text}
    if turn.calls:
        message["tool_calls"] = turn.calls
    thoughts = "".join(turn.thoughts)
    if thoughts:  # vLLM reads the one, llama.cpp the other
        message["reasoning"] = message["reasoning_content"] = thoughts
    return message


def _content(parts: Sequence[Part]) -> str | Sequence[Part]:
    """The parts as they are; a plain string where that says the same, which all servers know."""
    if not parts:
        return ""
    return str(parts[0]["text"]) if len(parts) == 1 and "text" in parts[0] else parts
