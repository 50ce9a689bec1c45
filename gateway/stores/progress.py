"""How far one directory's records are on their way to the store: pure bookkeeping, kept as JSON.

All streams go forward together, from ``main`` on.  A stream that cannot go on, or that has to be
shipped again, falls behind with a position of its own until it has caught up.  Positions are
compared, never counted, so what is behind costs memory by streams and not by records.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from gateway.ports import StreamKind


class Position(NamedTuple):
    """A place in a directory: everything before that offset of that segment."""

    segment: int
    offset: int


BEGINNING = Position(0, 0)


class Stream(NamedTuple):
    """One stream of the store."""

    kind: StreamKind
    cascade: str


class Identity(NamedTuple):
    """Which server, since when, and of which history of writes; empty where it does not say."""

    run_id: str
    replication_id: str


@dataclass(frozen=True, slots=True)
class Lane:
    """Streams that are shipped together, from the same position on.

    ``streams`` are those; without ``is_listed`` they are all but those.
    """

    start: Position
    streams: frozenset[Stream]
    is_listed: bool

    def has(self, stream: Stream) -> bool:
        """Whether that stream is one of them."""
        return (stream in self.streams) is self.is_listed


@dataclass(slots=True)
class Progress:
    """What is shipped of one directory, and what of that may have to be shipped again.

    ``identities``: which server took a stream's records.  ``doubtful``: the first segment with
    records of a stream that this server may not have on its disk.  ``shipped_at``: since when a
    segment is wholly shipped, in seconds since 1970.  ``told``: up to where damage in a segment
    was told.
    """

    main: Position = BEGINNING
    behind: dict[Stream, Position] = field(default_factory=dict)
    identities: dict[Stream, Identity] = field(default_factory=dict)
    doubtful: dict[Stream, int] = field(default_factory=dict)
    shipped_at: dict[int, float] = field(default_factory=dict)
    told: dict[int, int] = field(default_factory=dict)

    @property
    def lowest(self) -> Position:
        """All records before it are shipped."""
        return min(self.main, *self.behind.values()) if self.behind else self.main

    def position(self, stream: Stream) -> Position:
        """Up to where that stream is shipped."""
        return self.behind.get(stream, self.main)

    def lanes(self) -> list[Lane]:
        """Everything that can be shipped: those behind by their positions, then all the others."""
        by_start: dict[Position, set[Stream]] = {}
        for stream, start in self.behind.items():
            by_start.setdefault(start, set()).add(stream)
        lanes = [Lane(start, frozenset(by_start[start]), True) for start in sorted(by_start)]
        return [*lanes, Lane(self.main, frozenset(self.behind), False)]

    def advance(self, lane: Lane, end: Position, failed: Mapping[Stream, Position]) -> None:
        """A lane is shipped up to ``end``, but for streams of which ``failed`` has the first
        record that is not."""
        if lane.is_listed:
            for stream in lane.streams:
                self._set(stream, failed.get(stream, end))
        else:
            self.main = max(self.main, end)
            for stream, position in failed.items():
                self._set(stream, position)

    def wrote(self, stream: Stream, identity: Identity, segment: int) -> bool:
        """That server took records of a stream, from that segment on; whether it is another server.

        Then what the one before may not have kept goes back to be shipped again.
        """
        before = self.identities.get(stream)
        self.identities[stream] = identity
        if before is not None and before != identity and stream in self.doubtful:
            self.rewind(stream)
            self.doubtful[stream] = min(self.doubtful[stream], segment)
            return True
        self.doubtful[stream] = min(self.doubtful.get(stream, segment), segment)
        return False

    def met(self, identity: Identity, cascades: Container[str]) -> None:
        """That server has the streams of these cascades, although nothing was written to it.

        Another one than before gets again what that one may not have kept.
        """
        for stream, before in list(self.identities.items()):
            if stream.cascade in cascades and before != identity and stream in self.doubtful:
                self.identities[stream] = identity
                self.rewind(stream)

    def confirm(self, identity: Identity) -> None:
        """All that this server took so far is on its disk."""
        for stream in [each for each in self.doubtful if self.identities.get(each) == identity]:
            del self.doubtful[stream]

    def rewind(self, stream: Stream) -> None:
        """Ship again what may not be on the store's disk."""
        segment = self.doubtful[stream]
        self._set(stream, min(self.position(stream), Position(segment, 0)))
        for number in [each for each in self.shipped_at if each >= segment]:
            del self.shipped_at[number]

    def is_durable(self, segment: int) -> bool:
        """Whether all of a wholly shipped segment is on the disk of the store."""
        return all(first > segment for first in self.doubtful.values())

    def forget(self, segment: int, remaining: Iterable[int]) -> None:
        """A segment is gone; ``remaining`` are those that are left."""
        self.shipped_at.pop(segment, None)
        self.told.pop(segment, None)
        left = sorted(remaining)
        for stream, first in list(self.doubtful.items()):
            later = [number for number in left if number >= first]
            if later:
                self.doubtful[stream] = later[0]
            else:
                del self.doubtful[stream]

    def _set(self, stream: Stream, position: Position) -> None:
        if position >= self.main:
            self.behind.pop(stream, None)
        else:
            self.behind[stream] = position


class _Kept(msgspec.Struct):
    """The form on disk: JSON has no tuples as keys."""

    main: tuple[int, int]
    behind: list[tuple[StreamKind, str, int, int]]
    identities: list[tuple[StreamKind, str, str, str]]
    doubtful: list[tuple[StreamKind, str, int]]
    shipped_at: dict[int, float]
    told: dict[int, int]


_kept = msgspec.json.Decoder(_Kept)


def encode_progress(progress: Progress) -> bytes:
    """As JSON."""
    return msgspec.json.encode(
        _Kept(
            progress.main,
            [(*stream, *position) for stream, position in progress.behind.items()],
            [(*stream, *identity) for stream, identity in progress.identities.items()],
            [(*stream, segment) for stream, segment in progress.doubtful.items()],
            progress.shipped_at,
            progress.told,
        )
    )


def decode_progress(data: bytes) -> Progress:
    """From JSON.  What makes no sense is no progress: all is shipped again, nothing is lost."""
    try:
        kept = _kept.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return Progress()
    return Progress(
        Position(*kept.main),
        {Stream(kind, name): Position(*at) for kind, name, *at in kept.behind},
        {Stream(kind, name): Identity(*who) for kind, name, *who in kept.identities},
        {Stream(kind, name): segment for kind, name, segment in kept.doubtful},
        kept.shipped_at,
        kept.told,
    )
