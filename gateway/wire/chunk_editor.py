"""The events of one client's stream of chat completion chunks, made of a model server's chunks.

What the client is given differs from what the server wrote in the id, the model, log-probabilities
and usage.  Chunks that one stencil fits differ from each other in their parts alone, and so do
their events: the parts are set into what stands around them there, and nothing is encoded again.
"""

from collections.abc import Mapping

import msgspec

from gateway.wire.chat import Chat
from gateway.wire.chunk import Chunk
from gateway.wire.client_reply import client_logprobs
from gateway.wire.raw import one_line
from gateway.wire.replay import event
from gateway.wire.sse import DONE
from gateway.wire.stencil import MARKED_CONTENT, MARKED_LOGPROBS, Cut, Stencil

_NULL = msgspec.Raw(b"null")
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_fields_or_null = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class ChunkEditor:
    """Makes of a model server's chunks the events of one client's stream.

    All chunks get the id and the time of the first, also where a second server goes on with the
    answer of a first; the model is the client's word for it, log-probabilities are what it asked
    for, and so is usage.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._identity: dict[str, object] | None = None
        self._report: dict[str, object] = {}
        self._stencil: Stencil | None = None
        self._frame: _Frame | None = None

    def edit(
        self,
        chunk: Chunk,
        *,
        is_continuation: bool = False,
        content: str | None = None,
        understudy: Mapping[str, object] | None = None,
    ) -> bytes:
        """The event for the client; empty where it gets none, as of a usage report.

        ``is_continuation`` leaves out the role, which the client has from the server before;
        ``content`` then takes the place of the chunk's own, where it is given.
        ``understudy`` is what the gateway says of the answer, in the last chunk.
        """
        stencil, cut = chunk.stencil, chunk.cut
        if stencil is not None and cut is not None and understudy is None and not is_continuation:
            if stencil is not self._stencil:
                self._stencil, self._frame = stencil, self._framed(stencil)
            if self._frame is not None:
                return self._frame.around(stencil, cut, chunk.body)
        return self._edited(chunk, content, understudy, is_continuation=is_continuation)

    def _framed(self, stencil: Stencil) -> "_Frame | None":
        """What stands around the parts in the client's events, seen where they are marked."""
        marked = Chunk(body=stencil.marked(), has_choice=True)
        return _Frame.of(self._edited(marked, None, None, is_continuation=False), self._chat)

    def _edited(
        self,
        chunk: Chunk,
        content: str | None,
        understudy: Mapping[str, object] | None,
        *,
        is_continuation: bool,
    ) -> bytes:
        fields = self._envelope(chunk)
        if chunk.is_usage_report:
            self._report = fields
            return b""
        if chunk.has_choice:
            (choice,) = _choices.decode(fields["choices"])  # type: ignore[arg-type]  # a Raw is a buffer
            fields["choices"] = [self._choice(choice, content, is_continuation=is_continuation)]
        if understudy is not None:
            fields["understudy"] = understudy
        return event(fields)

    def usage_event(
        self,
        usage: Mapping[str, object] | msgspec.Raw | None,
        understudy: Mapping[str, object] | None = None,
    ) -> bytes:
        """The last chunk of a client that asked for usage: no choices, and the bill if it is known.

        Whatever else the server's own usage report said goes along.
        """
        fields = {"object": "chat.completion.chunk", **(self._identity or {}), **self._report}
        fields |= {"model": self._chat.model, "choices": [], "usage": usage}
        if understudy is not None:
            fields["understudy"] = understudy
        return event(fields)

    def closing_event(self, understudy: Mapping[str, object]) -> bytes:
        """A chunk that says nothing but what the gateway has to say of the answer."""
        return self._own_event({}, understudy)

    def restart_event(self, discarded_characters: int) -> bytes:
        """The chunk after which the answer starts again: what came before it is to be thrown away.

        It is a chunk like any other, with an empty delta, because official clients read every
        event as one.
        """
        delta = {"role": "assistant", "content": ""}
        told = {"event": "restart", "discarded_characters": discarded_characters}
        return self._own_event(delta, told)

    def _own_event(self, delta: Mapping[str, object], understudy: Mapping[str, object]) -> bytes:
        fields: dict[str, object] = {"object": "chat.completion.chunk", **(self._identity or {})}
        fields["model"] = self._chat.model
        fields["choices"] = [{"index": 0, "delta": delta, "finish_reason": None}]
        if self._chat.is_usage_wanted:
            fields["usage"] = None
        fields["understudy"] = understudy
        return event(fields)

    def done(self) -> bytes:
        """The event that ends the stream."""
        return b"data: " + DONE + b"\n\n"

    def _envelope(self, chunk: Chunk) -> dict[str, object]:
        sent = _fields.decode(chunk.body)
        fields: dict[str, object] = {**sent}
        if self._identity is None and (chunk.has_choice or chunk.is_usage_report):
            # Copies, for what is undecoded keeps the whole chunk alive that it was a part of.
            self._identity = {key: sent[key].copy() for key in ("id", "created") if key in sent}
        fields |= self._identity or {}
        fields["model"] = self._chat.model
        if self._chat.is_usage_wanted:
            fields["usage"] = None
        else:
            fields.pop("usage", None)
        return fields

    def _choice(
        self, choice: dict[str, msgspec.Raw], content: str | None, *, is_continuation: bool
    ) -> dict[str, object]:
        edited: dict[str, object] = {**choice}
        if "logprobs" in choice:
            edited["logprobs"] = client_logprobs(choice["logprobs"], self._chat.top_logprobs)
        if is_continuation:
            sent = _fields_or_null.decode(choice.get("delta", _NULL)) or {}
            delta: dict[str, object] = {**sent}
            delta.pop("role", None)
            if content is not None:
                delta["content"] = content
            edited["delta"] = delta
        return edited


class _Frame:
    """What stands around the text, and the log-probabilities where the client gets them."""

    def __init__(
        self, before: bytes, between: bytes | None, after: bytes, most: int | None
    ) -> None:
        self._before = before
        self._between = between
        self._after = after
        self._most = most

    @classmethod
    def of(cls, marked: bytes, chat: Chat) -> "_Frame | None":
        """The frame of an event with marks; None where these do not tell the places."""
        before, found, after = marked.partition(MARKED_CONTENT)
        if not found or MARKED_CONTENT in after or MARKED_LOGPROBS in before:
            return None
        between, found, rest = after.partition(MARKED_LOGPROBS)
        if not found:
            return cls(before, None, after, chat.top_logprobs)
        return None if MARKED_LOGPROBS in rest else cls(before, between, rest, chat.top_logprobs)

    def around(self, stencil: Stencil, cut: Cut, body: bytes) -> bytes:
        """The event of a chunk that the stencil fits."""
        content = stencil.content(body, cut)
        if self._between is None:
            return b"".join((self._before, content, self._after))
        logprobs = client_logprobs(msgspec.Raw(stencil.logprobs(body, cut)), self._most)
        told = one_line(msgspec.json.encode(logprobs))
        return b"".join((self._before, content, self._between, told, self._after))
