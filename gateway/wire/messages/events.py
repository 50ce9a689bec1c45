"""A message as server-sent events, while a model writes it, or once it is whole."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from gateway.wire.chunk import Chunk
from gateway.wire.completion import UsageCounts, part_of, usage_of
from gateway.wire.messages.reply import (
    Block,
    Message,
    Terms,
    begun_fields,
    stop_fields,
    text_block,
    thinking_block,
    tool_use_block,
    usage_fields,
)
from gateway.wire.messages.said import Call, Stop, call_id, input_of, message_id, said_in, stop_of
from gateway.wire.messages.shape import NULL
from gateway.wire.raw import one_line
from routing.money import Usage

_Facts = Mapping[str, object]

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_usage = msgspec.json.Decoder(UsageCounts | None)
# What grows of each kind of block, what it is before, and the kind of its deltas.
_GROWTHS: Mapping[str, tuple[str, object, str]] = {
    "thinking": ("thinking", "", "thinking_delta"),
    "text": ("text", "", "text_delta"),
    "tool_use": ("input", {}, "input_json_delta"),
}


def event(kind: str, fields: _Facts) -> bytes:
    """One event; clients of this protocol read its name."""
    payload = one_line(msgspec.json.encode({"type": kind, **fields}))
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), payload)


def replayed(message: Message, model: str, understudy: _Facts) -> Iterator[bytes]:
    """The events of a whole message; ``understudy`` is what the gateway says of it."""
    yield _message_start(message.id, model)
    for index, block in enumerate(message.content):
        grown, nothing, _ = _GROWTHS[str(block["type"])]
        yield _block_start(index, block | {grown: nothing})
        yield _block_delta(index, str(block["type"]), block[grown])
        yield _block_stop(index)
    yield _message_delta(message.stop, message.usage, understudy)
    yield event("message_stop", {})


@dataclass(slots=True)
class _OpenCall:
    """A call that is being written: where it stands, and what of its arguments is not out yet.

    They are held back until they turn out to be an object, which they nearly always do at once: no
    client can read anything else.
    """

    index: int
    held: str = ""
    is_object: bool = False

    def take(self, arguments: str) -> str:
        """What goes out of these arguments, and of those before them."""
        if self.is_object:
            return arguments
        self.held += arguments
        if not self.held.lstrip().startswith("{"):
            return ""
        self.is_object = True
        return self.held

    def rest(self) -> str:
        """What is to go out in the end."""
        if self.is_object or not self.held:
            return ""
        self.is_object = True
        return bytes(input_of(self.held)).decode()


class MessageEditor:
    """Makes of a model server's chunks the events of one message.

    A message is a row of blocks, each of one kind: what a model thinks, what it says, each of its
    calls.  A block ends when another begins; where a second server goes on with the words of a
    first, they are words of the same block.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._id = ""
        self._blocks = 0
        self._kind: str | None = None  # of the block that is open
        self._calls: dict[int, _OpenCall] = {}
        self._call: _OpenCall | None = None  # the one whose block is open
        self._choice: dict[str, msgspec.Raw] = {}

    def edit(
        self,
        chunk: Chunk,
        *,
        is_continuation: bool = False,
        content: str | None = None,
        understudy: _Facts | None = None,
    ) -> bytes:
        """The events for the client; none where the chunk tells of nothing that a message has.

        ``is_continuation`` makes no difference, for a message names its role once; ``understudy``
        comes with the usage.
        """
        if not chunk.has_choice:
            return b""
        text = chunk.content if content is None else content
        is_plain = bool(chunk.reasoning or text) and not (chunk.is_tool_call or chunk.finish_reason)
        if is_plain and self._id:  # what there is to know is known without reading it once more
            return b"".join([*self._grow("thinking", chunk.reasoning), *self._grow("text", text)])
        fields = _fields.decode(chunk.body)
        choice = _choices.decode(fields["choices"])[0]
        said = said_in(choice.get("delta", NULL))
        if chunk.finish_reason:
            self._choice = choice
        events = [
            *self._begin(fields.get("id", NULL)),
            *self._grow("thinking", chunk.reasoning),
            *self._grow("text", text if chunk.content else said.text),
        ]
        for call in said.calls:
            events += self._grow_call(call)
        return b"".join(events)

    def usage_event(
        self, usage: _Facts | msgspec.Raw | None, understudy: _Facts | None = None
    ) -> bytes:
        """The end of the last block, why the message ended, and what it cost."""
        stop = stop_of(self._choice, self._terms.stop_sequences, has_calls=bool(self._calls))
        ends = [*self._begin(NULL), *self._end_block()]
        return b"".join([*ends, _message_delta(stop, _counted(usage), understudy)])

    def closing_event(self, understudy: _Facts) -> bytes:
        """The same where nobody knows what it cost."""
        return self.usage_event(None, understudy)

    def restart_event(self, discarded_characters: int) -> bytes:
        """A message has no word for that, and so nobody asks for it."""
        raise RuntimeError(f"a message cannot take back {discarded_characters} characters")

    def done(self) -> bytes:
        """The event that ends the stream."""
        return event("message_stop", {})

    def _begin(self, server_id: msgspec.Raw) -> list[bytes]:
        if self._id:
            return []
        self._id = message_id(server_id)
        return [_message_start(self._id, self._terms.model)]

    def _grow(self, kind: str, text: str) -> list[bytes]:
        """More of the block that is open, where it is of this kind, or of a fresh one."""
        if not text:
            return []
        begun = []
        if self._kind != kind:
            begun = self._begin_block(text_block("") if kind == "text" else thinking_block(""))
        return [*begun, _block_delta(self._blocks - 1, kind, text)]

    def _grow_call(self, piece: Call) -> list[bytes]:
        place = self._place(piece)
        begun = []
        if place not in self._calls:
            identity = call_id(piece, self._id, place)
            begun = self._begin_block(tool_use_block(identity, piece.name, {}))
            self._call = self._calls[place] = _OpenCall(self._blocks - 1)
        call = self._calls[place]
        arguments = call.take(piece.arguments)
        return [*begun, *([_block_delta(call.index, "tool_use", arguments)] if arguments else [])]

    def _place(self, piece: Call) -> int:
        """Which call it is of; where a server leaves that out, an id begins one."""
        if piece.index is not None:
            return piece.index
        last = max(self._calls, default=-1)
        return last + 1 if piece.id else max(last, 0)

    def _begin_block(self, block: Block) -> list[bytes]:
        events = [*self._end_block(), _block_start(self._blocks, block)]
        self._kind = str(block["type"])
        self._blocks += 1
        return events

    def _end_block(self) -> list[bytes]:
        if self._kind is None:
            return []
        index, rest = self._blocks - 1, "" if self._call is None else self._call.rest()
        events = [_block_delta(index, "tool_use", rest)] if rest else []
        self._kind = self._call = None
        return [*events, _block_stop(index)]


def _message_start(identity: str, model: str) -> bytes:
    """What it cost is not known yet: it comes in the end."""
    return event("message_start", {"message": begun_fields(identity, model)})


def _block_start(index: int, block: Block) -> bytes:
    return event("content_block_start", {"index": index, "content_block": block})


def _block_delta(index: int, kind: str, grown: object) -> bytes:
    name, _, delta = _GROWTHS[kind]
    if kind == "tool_use":
        name, grown = "partial_json", grown if isinstance(grown, str) else _json_text(grown)
    return event("content_block_delta", {"index": index, "delta": {"type": delta, name: grown}})


def _json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _block_stop(index: int) -> bytes:
    return event("content_block_stop", {"index": index})


def _message_delta(stop: Stop, usage: Usage | None, understudy: _Facts | None) -> bytes:
    fields: dict[str, object] = {"delta": stop_fields(stop), "usage": usage_fields(usage)}
    if understudy is not None:
        fields["understudy"] = understudy
    return event("message_delta", fields)


def _counted(usage: _Facts | msgspec.Raw | None) -> Usage | None:
    if usage is None or isinstance(usage, msgspec.Raw):
        return usage_of(None if usage is None else part_of(_usage, usage))
    return usage_of(msgspec.convert(usage, UsageCounts))
