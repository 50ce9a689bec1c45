"""What the life of a request needs of the world.  Adapters fit these; nothing inherits them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from gateway.errors import UpstreamError
from gateway.facts import Leg, RequestSettled
from gateway.wire.chat import Chat, Prefix
from gateway.wire.chunk import Chunk
from gateway.wire.completion import Completion
from gateway.wire.messages.request import MessageRequest
from gateway.wire.passing import PassedRoute
from gateway.wire.received import Received
from routing.lease import Ask, Drawn
from routing.money import Usage
from routing.room import Room
from routing.vocabulary import Grant, Limit, Role


class ChatStream(Protocol):
    """An answer that is being written.  ``close`` it, or the server goes on."""

    @property
    def usage(self) -> Usage | None:
        """What it has cost so far; None where the server does not say."""

    @property
    def received(self) -> Received:
        """What came since the server last said what it cost, or ever."""

    @property
    def is_over(self) -> bool:
        """Whether the answer is whole."""

    @property
    def opening(self) -> bytes:
        """The first chunk that said something, as the server sent it; empty before that."""

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended, in the server's word; None before that."""

    async def read(self, until: float | None = None) -> Sequence[Chunk] | None:
        """The chunks that came, at least one; none at the end of the answer.

        None where none came until that time of the running loop's clock.  Raises UpstreamError.
        """

    def close(self, cause: BaseException | None = None) -> None:
        """Have the server stop, unless it is through.

        ``cause`` is what its reader found wrong with it, or CancelledError where nobody waits for
        it any more; None is the reader's own choice, which says nothing of the server.
        """


class Try(Struct, frozen=True):
    """How one call is made this time.

    ``headers`` are lines that it has beside those of all, each with its end.  One that does not
    begin to stream by ``until``, of the running loop's clock, has failed.  ``spent_seconds`` is how
    long servers were asked before in vain: what is left of the timeout is less by that.
    """

    headers: bytes = b""
    until: float | None = None
    spent_seconds: float = 0.0


FIRST = Try()


class ChatServer(Protocol):
    """One server of a model."""

    @property
    def number(self) -> int:
        """Which of the model's servers it is, from 0."""

    async def complete(self, chat: Chat, how: Try = FIRST) -> Completion:
        """Ask it.  Raises UpstreamError where it fails, UpstreamRefused where it refuses."""

    async def stream(
        self, chat: Chat, prefix: Prefix | None = None, how: Try = FIRST
    ) -> ChatStream:
        """Ask it for an answer as it comes, from ``prefix`` on.  Raises as ``complete`` does."""


class ChatModel(Protocol):
    """A student or a teacher behind HTTP: one server, or several of which any may be asked."""

    @property
    def can_continue(self) -> bool:
        """Whether it was seen to go on from the first words of an answer."""

    @property
    def room(self) -> Room | None:
        """What its context holds; None where nobody knows."""

    @property
    def has_spare_room(self) -> bool:
        """Whether it may be asked what can wait, without anybody having to wait for it."""

    @property
    def is_left_alone(self) -> bool:
        """Whether none of its servers is asked, because each failed too often of late."""

    def reserve(self) -> Grant:
        """Say whether the model may be asked now; a Granted must be followed by a call."""

    def server(self) -> ChatServer:
        """Who is asked by the call that is made now."""

    def another(
        self, tried: Sequence[ChatServer], failure: UpstreamError, spent_seconds: float
    ) -> ChatServer | None:
        """Who is asked in place of the last that was tried, after so many seconds; None: nobody."""


class Spending(Protocol):
    """What one request may have its cascade spend on the teacher."""

    def take(self) -> bool:
        """Take what an escalation is expected to cost, once; False where there is not as much."""


class TokenCounter(Protocol):
    """Says how many tokens a model would read."""

    async def count(self, request: MessageRequest) -> int:
        """How many a request has.

        Raises CannotCount where the model's server does not say, else as a model does.
        """


class CallSpan(Protocol):
    """The span of one call to a model; ``headers`` are lines that tell the server of it."""

    @property
    def headers(self) -> bytes:
        """Lines of a request's head, each with its end."""

    def answered(self, body: bytes, finish_reasons: Sequence[str | None]) -> None:
        """The server answered: ``body`` is its reply, or a chunk of it."""

    def over(self, leg: Leg) -> None:
        """The call is over, and this is what it came to; told in the order of the legs."""

    def handed_on(self) -> "CallSpan":
        """What is still to come of this call, off the request path."""


class Trace(Protocol):
    """The spans of one request; ``id`` is None where nobody traces."""

    @property
    def id(self) -> str | None:
        """The trace's id, 32 hexadecimal digits."""

    def admitted(self, cascade: str) -> None:
        """The request is understood; its plan is made now."""

    def reserved(self, role: Role, grant: Grant) -> None:
        """Whether a model may be asked."""

    def call(self, role: Role) -> CallSpan:
        """A model is asked."""

    def end(self, fact: RequestSettled | None) -> None:
        """The last byte has left; None where nothing is known of the request."""


class Tracing(Protocol):
    """Who makes spans of requests, or hands on what clients say of theirs."""

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> Trace:
        """A request came, with these headers; names are in lower case."""

    async def close(self) -> None:
        """Send what is not sent, within a bound; then send no more."""


class Clock(Protocol):
    """Seconds of a steady clock."""

    def __call__(self) -> float:
        """The time now."""


class StreamKind(StrEnum):
    """What a record is, and so which of its cascade's streams it goes to."""

    PAIRS = "pairs"
    AUDITS = "audits"
    LEDGER = "ledger"  # postings, which are added to the cascade's books and make no stream
    STORED = "stored"  # completions for clients to read again, which make no stream either


class Fate(StrEnum):
    """What became of a completion that a client had stored."""

    WRITTEN = "written"  # it stands in the journal
    SHIPPED = "shipped"  # it stands in the store, where clients read it
    LOST = "lost"
    EXPIRED = "expired"  # its age, or the size of all of them, was beyond the cascade's bounds


class PairLog(Protocol):
    """Where records go: those of escalations, postings of the ledger, stored completions."""

    @property
    def has_room(self) -> bool:
        """Whether a record of usual size could be written now.

        False once a write failed or the bound was hit, until there is room again.
        """

    def append(self, cascade: str, record: bytes, *, kind: StreamKind = StreamKind.PAIRS) -> bool:
        """Write one record so that it survives the process; never waits for Redis, never raises.

        False where it is lost; that is counted and logged already.  A posting is not lost with
        that: whoever has it keeps it.
        """


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the system says of a file or a server, for whoever has to mend it.

    ``place`` is a path, or an address without user and password; the rest is None where the system
    says nothing.
    """

    place: str
    errno: int | None = None
    strerror: str | None = None


@dataclass(frozen=True, slots=True)
class JournalState:
    """How a journal stands.  Bytes are those of all directories that this process holds.

    ``oldest_unshipped`` is the time, in seconds since 1970, of the oldest record that is not in
    the store; None where all are.
    """

    unshipped_bytes: int
    kept_bytes: int
    oldest_unshipped: float | None
    has_room: bool


@dataclass(frozen=True, slots=True)
class Damage:
    """A range of a segment that could not be read.  ``kept`` is the file with its bytes, if any.

    ``is_torn`` tells the end of a segment, as a crash leaves it, from anything else.
    """

    place: str
    offset: int
    size: int
    is_torn: bool
    kept: str | None


class PassedTo(Protocol):
    """A model that is asked as clients ask it."""

    @property
    def routes(self) -> frozenset[PassedRoute]:
        """What it may be asked for."""

    def reserve(self) -> None:
        """Raise UpstreamError where it may not be asked now; a call must follow where it may."""

    async def ask(self, route: PassedRoute, body: bytes, headers: bytes = b"") -> bytes:
        """The answer's body.  Raises UpstreamError, and UpstreamRefused where it blames the client.

        ``headers`` are lines that this request has beside those of all, each with its end.
        """

    def close(self) -> None:
        """Close the connections."""


class PairEvents(Protocol):
    """Who hears what becomes of pairs, and of postings."""

    def pair_written(self, cascade: str) -> None:
        """A record stands in the journal."""

    def pair_shipped(self, cascade: str) -> None:
        """A record stands in the store."""

    def posting_written(self) -> None:
        """A part of the ledger stands in the journal."""

    def posting_shipped(self) -> None:
        """A part of the ledger is in the store's books."""

    def completions_became(
        self, cascade: str, fate: Fate, cause: str | None = None, count: int = 1
    ) -> None:
        """What became of stored completions; ``cause`` says why they are lost or expired."""

    def pair_lost(self, cascade: str | None, cause: str, trouble: Trouble) -> None:
        """A record is gone; ``cascade`` is None where not even that can be read any more."""

    def pairs_expired(self, cascade: str, cause: str, count: int) -> None:
        """So many records went from the store: their ``age``, or the ``size`` of all of them."""

    def pairs_deleted(self, cascade: str, count: int) -> None:
        """So many records went from the journal or the store because somebody asked for it."""

    def pairs_counted(self, cascade: str, stored: int | None, unread: int | None) -> None:
        """So many pairs are in the store now, and so many of them in no export yet.

        None is unknown; ``unread`` also where nobody ever exported.
        """

    def journal_damaged(self, damage: Damage) -> None:
        """A part of the journal cannot be read."""

    def journal_failed(self, trouble: Trouble) -> None:
        """Something but the writing of a record went wrong with the journal's files."""

    def journal_adopted(self, place: str, unshipped_bytes: int) -> None:
        """A directory that a dead process left is this one's now."""

    def store_changed(self, *, is_durable: bool) -> None:
        """Whether the store says of records that they are on its disk."""

    def store_seen(self, *, is_evicting: bool) -> None:
        """Whether the store throws keys away when it is full; told every few seconds."""

    def store_failed(
        self,
        error: str,
        trouble: Trouble,
        cascade: str | None = None,
        records: StreamKind | None = None,
    ) -> None:
        """Records could not be taken to the store; it will be tried again.

        ``cascade`` and ``records`` are None where it concerns all of them.
        """

    def shipping_ended(self) -> None:
        """A bug: the exception that is being handled ended the shipping."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of the books of one client's key, by its name."""

    key: str
    asks: Mapping[Limit, Ask]


@dataclass(frozen=True, slots=True)
class DrawFailed:
    """Nobody knows whether an order was booked.  ``error`` and ``trouble`` are for the operator."""

    error: str
    trouble: Trouble


class LimitBooks(Protocol):
    """What all replicas together have drawn of keys' limits."""

    async def draw(self, orders: Sequence[Order]) -> Sequence[Mapping[Limit, Drawn] | DrawFailed]:
        """Book orders of different keys, each whole or not at all.  Raises nothing."""

    async def close(self) -> None:
        """Close all connections."""


class LimitEvents(Protocol):
    """Who hears what becomes of limits."""

    def limited(self, limit: Limit | None) -> None:
        """A request was over a limit; None: nobody could say, and it may not ask the teacher."""

    def draw_failed(self) -> None:
        """The books of a key could not be asked."""

    def limits_changed(self, failure: DrawFailed | None) -> None:
        """The books of some keys cannot be asked any more; None: those of all can again."""
