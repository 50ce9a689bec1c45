"""The output of a response as it grows: its items, and the events that tell of them.

An item of text stays open until a call begins, an item of reasoning until anything else begins, and
a call until the end, because some servers write several calls side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

Event = dict[str, object]

COMPLETED, INCOMPLETE, IN_PROGRESS = "completed", "incomplete", "in_progress"


@dataclass(slots=True)
class Part:
    """A part of a message: text, or a refusal."""

    is_refusal: bool
    pieces: list[str] = field(default_factory=list)
    logprobs: list[object] = field(default_factory=list)

    def written(self) -> Event:
        """The part as the response has it."""
        text = "".join(self.pieces)
        if self.is_refusal:
            return {"type": "refusal", "refusal": text}
        return {
            "type": "output_text",
            "text": text,
            "annotations": [],
            "logprobs": [*self.logprobs],
        }


@dataclass(slots=True)
class MessageItem:
    """What the model says to the user."""

    id: str
    place: int
    parts: list[Part] = field(default_factory=list)
    status: str = IN_PROGRESS

    def written(self) -> Event:
        """The item as the response has it."""
        parts = [part.written() for part in self.parts]
        return {
            "id": self.id,
            "type": "message",
            "status": self.status,
            "role": "assistant",
            "content": parts,
        }

    def add(self, text: str, logprobs: Sequence[object], *, is_refusal: bool) -> list[Event]:
        """The events of some more text."""
        events: list[Event] = []
        if not self.parts or self.parts[-1].is_refusal is not is_refusal:
            events += self._end_part()
            self.parts.append(Part(is_refusal))
            events.append(self._event("response.content_part.added", part=self.parts[-1].written()))
        part = self.parts[-1]
        part.pieces.append(text)
        part.logprobs += logprobs
        if is_refusal:
            events.append(self._event("response.refusal.delta", delta=text))
        else:
            events.append(
                self._event("response.output_text.delta", delta=text, logprobs=list(logprobs))
            )
        return events

    def end(self) -> list[Event]:
        """The events that end its last part."""
        return self._end_part()

    def _end_part(self) -> list[Event]:
        if not self.parts:
            return []
        written = self.parts[-1].written()
        if self.parts[-1].is_refusal:
            done = self._event("response.refusal.done", refusal=written["refusal"])
        else:
            text, logprobs = written["text"], written["logprobs"]
            done = self._event("response.output_text.done", text=text, logprobs=logprobs)
        return [done, self._event("response.content_part.done", part=written)]

    def _event(self, kind: str, **more: object) -> Event:
        index = len(self.parts) - 1
        where = {"item_id": self.id, "output_index": self.place, "content_index": index}
        return {"type": kind, **where, **more}


@dataclass(slots=True)
class ReasoningItem:
    """What the model thought."""

    id: str
    place: int
    pieces: list[str] = field(default_factory=list)
    status: str = IN_PROGRESS

    def written(self) -> Event:
        """The item as the response has it.  Nobody summarises it."""
        content = [self._part()] if self.pieces else []
        return {
            "id": self.id,
            "type": "reasoning",
            "status": self.status,
            "summary": [],
            "content": content,
        }

    def add(self, text: str) -> list[Event]:
        """The events of some more reasoning."""
        events = []
        if not self.pieces:
            events.append(self._event("response.content_part.added", part=self._part()))
        self.pieces.append(text)
        return [*events, self._event("response.reasoning_text.delta", delta=text)]

    def end(self) -> list[Event]:
        """The events that end its text."""
        part = self._part()
        return [
            self._event("response.reasoning_text.done", text=part["text"]),
            self._event("response.content_part.done", part=part),
        ]

    def _part(self) -> Event:
        return {"type": "reasoning_text", "text": "".join(self.pieces)}

    def _event(self, kind: str, **more: object) -> Event:
        where = {"item_id": self.id, "output_index": self.place, "content_index": 0}
        return {"type": kind, **where, **more}


@dataclass(slots=True)
class CallItem:
    """A call of a function."""

    id: str
    place: int
    call_id: str
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    status: str = IN_PROGRESS

    def written(self) -> Event:
        """The item as the response has it."""
        return {
            "id": self.id,
            "type": "function_call",
            "status": self.status,
            "call_id": self.call_id,
            "name": self.name,
            "arguments": "".join(self.pieces),
        }

    def add(self, arguments: str) -> list[Event]:
        """The event of some more arguments."""
        self.pieces.append(arguments)
        return [self._event("response.function_call_arguments.delta", delta=arguments)]

    def end(self) -> list[Event]:
        """The event that ends its arguments."""
        arguments = "".join(self.pieces)
        return [
            self._event(
                "response.function_call_arguments.done", name=self.name, arguments=arguments
            )
        ]

    def _event(self, kind: str, **more: object) -> Event:
        return {"type": kind, "item_id": self.id, "output_index": self.place, **more}


@dataclass(frozen=True, slots=True)
class CallPiece:
    """A piece of a call: which one of the answer's calls, and what is added to it."""

    number: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Output:
    """All items of one response.  Each method gives the events that tell of what it took in."""

    def __init__(self, id: str) -> None:
        self._id = id
        self._items: list[MessageItem | ReasoningItem | CallItem] = []
        self._message: MessageItem | None = None
        self._reasoning: ReasoningItem | None = None
        self._calls: dict[int, CallItem] = {}
        self._waiting: list[object] = []

    def add_reasoning(self, text: str) -> list[Event]:
        """Some more reasoning."""
        events: list[Event] = []
        if self._reasoning is None:
            self._reasoning = ReasoningItem(f"rs_{self._suffix}", len(self._items))
            events = self._begin(self._reasoning)
        return events + self._reasoning.add(text)

    def add_text(
        self, text: str, logprobs: Sequence[object] = (), *, is_refusal: bool = False
    ) -> list[Event]:
        """Some more text, with what is to be told of its tokens.

        A token that is a part of a character comes without text, and waits for some; the one that
        ends the answer waits for the end.
        """
        self._waiting += logprobs
        if not text:
            return []
        events = self._end_reasoning()
        if self._message is None:
            self._message = MessageItem(f"msg_{self._suffix}", len(self._items))
            events += self._begin(self._message)
        told, self._waiting = self._waiting, []
        return events + self._message.add(text, told, is_refusal=is_refusal)

    def add_call(self, piece: CallPiece) -> list[Event]:
        """Some more of a call."""
        events: list[Event] = []
        call = self._calls.get(piece.number)
        if call is None:
            events = self._end_reasoning() + self._end_message()
            call_id = piece.id or f"call_{self._suffix}"
            call = CallItem(f"fc_{self._suffix}", len(self._items), call_id, piece.name)
            self._calls[piece.number] = call
            events += self._begin(call)
        elif not call.name:
            call.name = piece.name
        return events + (call.add(piece.arguments) if piece.arguments else [])

    def end(self, *, is_complete: bool) -> list[Event]:
        """The end of all that is open.  What was last begun is what an incomplete answer lacks."""
        events: list[Event] = []
        last = self._items[-1] if self._items else None
        for item in self._items:
            if item.status == IN_PROGRESS:
                is_whole = is_complete or item is not last
                events += self._end(item, COMPLETED if is_whole else INCOMPLETE)
        return events

    def written(self) -> list[Event]:
        """The items as the response has them."""
        return [item.written() for item in self._items]

    @property
    def _suffix(self) -> str:
        """What ends the id of the next item."""
        return f"{self._id}_{len(self._items)}"

    def _begin(self, item: MessageItem | ReasoningItem | CallItem) -> list[Event]:
        self._items.append(item)
        added = {"output_index": item.place, "item": item.written()}
        return [{"type": "response.output_item.added", **added}]

    def _end_reasoning(self) -> list[Event]:
        item, self._reasoning = self._reasoning, None
        return [] if item is None else self._end(item, COMPLETED)

    def _end_message(self) -> list[Event]:
        item, self._message = self._message, None
        return [] if item is None else self._end(item, COMPLETED)

    def _end(self, item: MessageItem | ReasoningItem | CallItem, status: str) -> list[Event]:
        item.status = status
        if isinstance(item, MessageItem):
            item.parts[-1].logprobs += self._waiting
            self._waiting = []
        done = {"output_index": item.place, "item": item.written()}
        return [*item.end(), {"type": "response.output_item.done", **done}]
