"""The items of ``input``, as the messages of a chat.

An answer is one message in a chat and several items here: its reasoning, its text, each of its
calls.  Those that follow each other become one message again.
"""

from typing import NamedTuple

import msgspec

from gateway.wire.responses.reading import Node, is_string, missing, wrong

Message = dict[str, object]

ROLES = frozenset({"user", "assistant", "system", "developer"})


def conversation_of(body: Node) -> "Conversation":
    """What the model reads.  Raises RequestError."""
    conversation = Conversation()
    instructions = body.text("instructions")
    if instructions is not None:
        conversation.add_text("system", instructions, "instructions")
    given = body.needed("input")
    if is_string(given):
        conversation.add_text("user", given, "input")
        return conversation
    items = body.nodes("input") or ()
    if not items:
        raise wrong("input", "expected a string, or at least one item")
    for item in items:
        conversation.add(item)
    return conversation


class Place(NamedTuple):
    """Where a message stands in the request: the item that it begins with, and its words."""

    item: str
    content: str


class Conversation:
    """What the model reads: instructions and input as messages, and for each of them its place.

    ``_answer`` is the message that items may still join.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.places: list[Place] = []
        self._answer: Message | None = None
        self._calls: list[Message] = []
        self._reasoning: list[str] = []

    def add_text(self, role: str, text: object, place: str) -> None:
        """Take in words that are no item."""
        self._add({"role": role, "content": text}, Place(place, place))

    def add(self, item: Node) -> None:
        """Take in the next item.  Raises RequestError where it has no meaning here."""
        kind = item.text("type") or ("message" if "role" in item.fields else None)
        if kind is None:
            raise missing(item.place_of("type"))
        if kind == "message":
            self._add_message(item)
        elif kind == "function_call":
            self._add_call(item)
        elif kind == "function_call_output":
            self._end_answer()
            content = _content(item, "output")
            call_id = _string(item, "call_id")
            message: Message = {"role": "tool", "tool_call_id": call_id, "content": content}
            self._add(message, Place(item.place, item.place_of("output")))
        elif kind == "reasoning":
            self._reasoning += _reasoning(item)
        elif kind == "item_reference":
            raise wrong(item.place_of("type"), "no items are kept here; send the item itself")
        else:
            raise wrong(item.place_of("type"), f"items of type '{kind}' are not supported")

    def _add_message(self, item: Node) -> None:
        role = item.needed_text("role")
        if role not in ROLES:
            raise wrong(item.place_of("role"), f"expected one of {', '.join(sorted(ROLES))}")
        content, place = _content(item, "content"), item.place_of("content")
        if role != "assistant":
            self._end_answer()
            self._add({"role": role, "content": content}, Place(item.place, place))
            return
        if self._answer is not None and self._answer["content"] is not None:
            self._answer = None
        self._open_answer(item)["content"] = content
        self.places[-1] = Place(self.places[-1].item, place)

    def _add_call(self, item: Node) -> None:
        function = {name: _string(item, name) for name in ("name", "arguments")}
        call: Message = {"id": _string(item, "call_id"), "type": "function", "function": function}
        answer = self._open_answer(item)
        self._calls.append(call)
        answer["tool_calls"] = self._calls

    def _open_answer(self, item: Node) -> Message:
        if self._answer is None:
            self._answer, self._calls = {"role": "assistant", "content": None}, []
            self._add(self._answer, Place(item.place, item.place))
        if self._reasoning:
            self._answer["reasoning_content"] = "\n".join(self._reasoning)
            self._reasoning = []
        return self._answer

    def _add(self, message: Message, place: Place) -> None:
        self.messages.append(message)
        self.places.append(place)

    def _end_answer(self) -> None:
        """Reasoning that led to no answer is left out: no message could say it."""
        self._answer, self._reasoning = None, []


def _reasoning(item: Node) -> list[str]:
    """What an item says: its text, else its summary; what is encrypted says nothing."""
    texts = [part.needed_text("text") for part in item.nodes("content") or ()]
    return texts or [part.needed_text("text") for part in item.nodes("summary") or ()]


def _content(item: Node, name: str) -> object:
    """The words of an item.  A single text is written as a string, which all servers read."""
    given = item.needed(name)
    if is_string(given):
        return given
    parts = [_part(part) for part in item.nodes(name) or ()]
    if len(parts) == 1 and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts


def _part(part: Node) -> Message:
    kind = part.needed_text("type")
    if kind in ("input_text", "output_text", "text"):
        return {"type": "text", "text": _string(part, "text")}
    if kind == "refusal":
        return {"type": "refusal", "refusal": _string(part, "refusal")}
    if kind == "input_image":
        return {"type": "image_url", "image_url": _image(part)}
    if kind == "input_file":
        return {"type": "file", "file": _file(part)}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": _object(part, "input_audio")}
    raise wrong(part.place_of("type"), f"parts of type '{kind}' are not supported")


def _image(part: Node) -> Message:
    _refuse(part, "file_id", "no files are kept here; send 'image_url'")
    image: Message = {"url": _string(part, "image_url")}
    detail = part.text("detail")
    return image if detail is None else image | {"detail": detail}


def _file(part: Node) -> Message:
    _refuse(part, "file_id", "no files are kept here; send 'file_data'")
    _refuse(part, "file_url", "no files are fetched here; send 'file_data'")
    file: Message = {"file_data": _string(part, "file_data")}
    filename = part.text("filename")
    return file if filename is None else file | {"filename": filename}


def _refuse(part: Node, name: str, why: str) -> None:
    if part.raw(name) is not None:
        raise wrong(part.place_of(name), why)


def _object(part: Node, name: str) -> msgspec.Raw:
    """An object that must be there, undecoded."""
    part.node(name)
    return part.needed(name)


def _string(part: Node, name: str) -> msgspec.Raw:
    """A string that must be there, undecoded: it may be an image of megabytes."""
    value = part.needed(name)
    if not is_string(value):
        raise wrong(part.place_of(name), "expected a string")
    return value
