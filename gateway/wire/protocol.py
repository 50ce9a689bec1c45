"""What a client's protocol is to the gateway: a mapping to one internal form, and back.

Inside there is one form of a request, ``Chat``, and one of an answer, OpenAI's ``chat.completion``
and its chunks.  Whoever decides, bills or keeps pairs knows no other.  A protocol fits ``Wire``;
nothing inherits it.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from gateway.errors import GatewayError
from gateway.wire.chat import Chat
from gateway.wire.chunk import Chunk
from gateway.wire.completion import Completion


class StreamEditor(Protocol):
    """Makes of a model server's chunks the events of one client's stream, in order."""

    def edit(
        self,
        chunk: Chunk,
        *,
        is_continuation: bool = False,
        content: str | None = None,
        understudy: Mapping[str, object] | None = None,
    ) -> bytes:
        """The events for the client, which may be none.

        ``is_continuation``: a second server goes on with the answer of a first; ``content`` then
        takes the place of the chunk's own, where it is given.  ``understudy`` is what the gateway
        says of the answer, which goes out with its last chunk.
        """

    def usage_event(
        self,
        usage: Mapping[str, object] | msgspec.Raw | None,
        understudy: Mapping[str, object] | None = None,
    ) -> bytes:
        """Once, after the last chunk, where ``chat.is_usage_wanted``; None is an unknown bill."""

    def closing_event(self, understudy: Mapping[str, object]) -> bytes:
        """What the gateway says of an answer that ended without a last chunk to say it in."""

    def restart_event(self, discarded_characters: int) -> bytes:
        """The answer starts again; asked only where ``can_restart``."""

    def done(self) -> bytes:
        """The end of the stream."""


class Asked(Protocol):
    """One request in its client's protocol."""

    @property
    def chat(self) -> Chat:
        """The same in the internal form."""

    @property
    def can_restart(self) -> bool:
        """Whether its stream can tell that what is out is to be thrown away."""

    def whole(self, completion: Completion) -> bytes:
        """The response's body."""

    def editor(self) -> StreamEditor:
        """Makes the response's events while the answer is written."""

    def replay(self, completion: Completion, understudy: Mapping[str, object]) -> Iterable[bytes]:
        """The response's events where the answer is whole before the first of them leaves."""

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        """The end of its stream where that fails, whatever of it is out by then."""

    def client_param(self, param: str) -> str:
        """What the client calls what the internal form, or a model server, calls ``param``."""


class Wire(Protocol):
    """One protocol, for one path."""

    def read(self, body: bytes, group: str | None) -> Asked:
        """Understand a request.  Raises RequestError, which names the client's own parameter."""

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """The body of an error response."""
