"""What the life of a request needs of the world.  Adapters fit these; nothing inherits them."""

from typing import Protocol

from gateway.wire.chat import Chat
from gateway.wire.completion import Completion
from routing.vocabulary import Grant


class ChatModel(Protocol):
    """A student or a teacher behind HTTP."""

    def reserve(self) -> Grant:
        """Say whether the model may be asked now; a Granted must be followed by ``complete``."""

    async def complete(self, chat: Chat) -> Completion:
        """Ask it.  Raises UpstreamError where it fails, UpstreamRefused where it refuses."""


class Clock(Protocol):
    """Seconds of a steady clock."""

    def __call__(self) -> float:
        """The time now."""


class PairLog(Protocol):
    """Where the records of escalations go."""

    def append(self, cascade: str, record: bytes) -> None:
        """Write one record so that it survives the process; never waits, never raises."""


class PairEvents(Protocol):
    """Who hears what becomes of pairs."""

    def pair_written(self, cascade: str) -> None:
        """A pair stands in the journal."""

    def pair_shipped(self, cascade: str) -> None:
        """A pair stands in the store."""

    def pair_lost(self, cascade: str | None, cause: str) -> None:
        """A pair is gone; ``cascade`` is None where not even that can be read any more."""

    def journal_changed(self, unshipped_bytes: int) -> None:
        """The journal holds so many bytes that are not in the store."""

    def store_failed(self, error: str) -> None:
        """The store could not be written; it will be tried again."""
