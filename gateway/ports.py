"""What the life of a request needs of the world.  Adapters fit these; nothing inherits them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.wire.chat import Chat, Prefix
from gateway.wire.chunk import Chunk
from gateway.wire.completion import Completion
from routing.money import Usage
from routing.vocabulary import Grant


class ChatStream(Protocol):
    """An answer that is being written.  ``close`` it, or the server goes on."""

    @property
    def usage(self) -> Usage | None:
        """What it has cost so far; None where the server does not say."""

    @property
    def is_over(self) -> bool:
        """Whether the answer is whole."""

    async def read(self, until: float | None = None) -> Sequence[Chunk] | None:
        """The chunks that came, at least one; none at the end of the answer.

        None where none came until that time of the running loop's clock.  Raises UpstreamError.
        """

    def close(self, cause: BaseException | None = None) -> None:
        """Have the server stop, unless it is through.

        ``cause`` is what its reader found wrong with it, or CancelledError where nobody waits for
        it any more; None is the reader's own choice, which says nothing of the server.
        """


class ChatModel(Protocol):
    """A student or a teacher behind HTTP."""

    def reserve(self) -> Grant:
        """Say whether the model may be asked now; a Granted must be followed by a call."""

    @property
    def can_continue(self) -> bool:
        """Whether it was seen to go on from the first words of an answer."""

    async def complete(self, chat: Chat) -> Completion:
        """Ask it.  Raises UpstreamError where it fails, UpstreamRefused where it refuses."""

    async def stream(
        self, chat: Chat, prefix: Prefix | None = None, until: float | None = None
    ) -> ChatStream:
        """Ask it for an answer as it comes, from ``prefix`` on.  Raises as ``complete`` does.

        One that does not begin by ``until``, of the running loop's clock, has failed.
        """


class Clock(Protocol):
    """Seconds of a steady clock."""

    def __call__(self) -> float:
        """The time now."""


class StreamKind(StrEnum):
    """What a record is, and so which of its cascade's streams it goes to."""

    PAIRS = "pairs"
    AUDITS = "audits"


class PairLog(Protocol):
    """Where the records of escalations go."""

    def append(self, cascade: str, record: bytes) -> None:
        """Write one record so that it survives the process; never waits, never raises."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the system says of a file or a server, for whoever has to mend it.

    ``place`` is a path, or an address without user and password; the rest is None where the system
    says nothing.
    """

    place: str
    errno: int | None = None
    strerror: str | None = None


class PairEvents(Protocol):
    """Who hears what becomes of pairs."""

    def pair_written(self, cascade: str) -> None:
        """A pair stands in the journal."""

    def pair_shipped(self, cascade: str) -> None:
        """A pair stands in the store."""

    def pair_lost(self, cascade: str | None, cause: str, trouble: Trouble) -> None:
        """A pair is gone; ``cascade`` is None where not even that can be read any more."""

    def journal_changed(self, unshipped_bytes: int) -> None:
        """The journal holds so many bytes that are not in the store."""

    def store_failed(self, error: str, trouble: Trouble) -> None:
        """Pairs could not be taken to the store; it will be tried again."""
