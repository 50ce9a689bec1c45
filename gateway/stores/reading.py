"""Reads records from segments, a bounded part at a time.  It only reads, and may do so in a thread
of its own: what it has to know of a directory is handed to it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gateway.stores.progress import Lane, Position, Stream
from gateway.stores.segment import HEADER_BYTES, Frame, Range, decode_header, scan

WINDOW_BYTES = 2**20
SUFFIX = ".seg"
JOURNALS = "journals"


def segment_path(folder: Path, number: int) -> Path:
    """Where a segment is."""
    return folder / f"{number:010d}{SUFFIX}"


def segment_numbers(folder: Path) -> list[int]:
    """The segments of a directory, the oldest first."""
    found = [path.stem for path in folder.iterdir() if path.suffix == SUFFIX]
    return sorted(int(stem) for stem in found if stem.isdecimal())


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one batch has at most; one record more than all of its bytes, if it is large.

    ``scanned_bytes`` bounds what is read in search of records that are wanted.
    """

    records: int = 1000
    bytes: int = 4 * 2**20
    scanned_bytes: int = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Stretch:
    """What to read: known segments with their sizes, from ``start`` to before ``until``."""

    folder: Path
    sizes: Sequence[tuple[int, int]]
    start: Position
    until: Position


@dataclass(frozen=True, slots=True)
class Placed:
    """A record with its place."""

    segment: int
    frame: Frame

    @property
    def position(self) -> Position:
        """Where it begins."""
        return Position(self.segment, self.frame.offset)

    @property
    def stream(self) -> Stream:
        """Where it belongs."""
        return Stream(self.frame.kind, self.frame.cascade)


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in the order in which they were written.

    ``end`` is behind all that was read; ``skipped`` could not be read, by segment; ``short`` are
    segments with fewer bytes than they should have, and how many these are.
    """

    records: Sequence[Placed]
    end: Position
    skipped: Sequence[tuple[int, Range]]
    short: Sequence[tuple[int, int]]


def read_batch(
    stretch: Stretch, is_wanted: Callable[[Stream], bool], limits: Limits = Limits()
) -> Batch:
    """Read on.  Deleted records are passed over.  Raises OSError where the disk fails."""
    records: list[Placed] = []
    skipped: list[tuple[int, Range]] = []
    short: list[tuple[int, int]] = []
    end, taken, scanned = stretch.start, 0, 0
    for number, size in stretch.sizes:
        if number < stretch.start.segment or Position(number, 0) >= stretch.until:
            continue
        begin = stretch.start.offset if number == stretch.start.segment else 0
        limit = stretch.until.offset if number == stretch.until.segment else size
        for window in _windows(segment_path(stretch.folder, number), begin, limit):
            skipped += ((number, each) for each in window.skipped)
            scanned += window.bytes
            for frame in window.frames:
                placed = Placed(number, frame)
                if frame.is_blank or not is_wanted(placed.stream):
                    continue
                if records and (
                    len(records) >= limits.records or taken + len(frame.record) > limits.bytes
                ):
                    return Batch(records, placed.position, skipped, short)
                records.append(placed)
                taken += len(frame.record)
            end = Position(number, window.end)
            if window.is_short:
                short.append((number, window.end))
            if scanned >= limits.scanned_bytes or len(records) >= limits.records:
                return Batch(records, end, skipped, short)
    return Batch(records, end, skipped, short)


@dataclass(frozen=True, slots=True)
class _Window:
    frames: Sequence[Frame]
    skipped: Sequence[Range]
    end: int
    bytes: int
    is_short: bool = False


def _windows(path: Path, begin: int, limit: int) -> Iterator[_Window]:
    """The readable parts of one segment from ``begin`` to ``limit``."""
    if begin >= limit:
        return
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield _Window((), (), 0, 0, is_short=True)
        return
    try:
        at, wants = begin, 0
        if at < HEADER_BYTES:
            header = decode_header(os.pread(file, HEADER_BYTES, 0))
            at = HEADER_BYTES if header is not None else at
        while at < limit:
            asked = min(max(WINDOW_BYTES, wants), limit - at)
            data = os.pread(file, asked, at)
            if not data:
                yield _Window((), (), at, 0, is_short=True)
                return
            # Fewer bytes than asked for: the next read finds none, unless somebody still writes.
            found = scan(data, at, at + len(data) if len(data) < asked else limit)
            yield _Window(found.frames, found.skipped, found.end, len(data))
            at, wants = found.end, found.wants
    finally:
        os.close(file)


def oldest_time(unshipped: Sequence[tuple[Stretch, Lane]]) -> float | None:
    """The time of the oldest record in these stretches; None where there is none."""
    times = []
    for stretch, lane in unshipped:
        with suppress(OSError):  # told where it is read to be shipped
            times.append(_first_time(stretch, lane.has))
    return min((time for time in times if time is not None), default=None)


def _first_time(stretch: Stretch, is_wanted: Callable[[Stream], bool]) -> float | None:
    """A record that does not say its time has that of its segment."""
    batch = read_batch(stretch, is_wanted, Limits(records=1, scanned_bytes=WINDOW_BYTES))
    if not batch.records:
        return None
    first = batch.records[0]
    try:
        return _timed.decode(first.frame.record).time
    except (msgspec.MsgspecError, RecursionError):
        with segment_path(stretch.folder, first.segment).open("rb") as file:
            header = decode_header(file.read(HEADER_BYTES))
        return None if header is None else header.created


class _Timed(msgspec.Struct):
    time: float


_timed = msgspec.json.Decoder(_Timed)
