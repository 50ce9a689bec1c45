"""The local journal: records are on disk here before the answer that they tell of is delivered, so
that neither an outage of Redis nor a killed gateway loses one.

One process writes to one directory, segment after segment.  One record is one ``write``; an
interval later it is on the disk itself.
"""

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.ports import Clock, Fate, PairEvents, StreamKind, Trouble
from gateway.stores.folder import FILE_MODE, Folder, trouble_of
from gateway.stores.group_sync import GroupSync
from gateway.stores.holdings import Holdings
from gateway.stores.progress import Position
from gateway.stores.reading import segment_path
from gateway.stores.segment import HEADER_BYTES, TooLarge, encode_frame, encode_header

SEGMENT_BYTES = 16 * 2**20
SEGMENT_SECONDS = 60.0
PROBE_BYTES = 2**20
_NO_PAIRS = frozenset({StreamKind.LEDGER, StreamKind.STORED})
_IS_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """``segment_bytes`` is where a segment ends; a bound so small that four do not fit has less."""

    max_bytes: int
    fsync_seconds: float = 0.1
    segment_bytes: int = SEGMENT_BYTES


class Journal:
    """Writes records to the segments of a directory.  Its errors are counted, never raised."""

    def __init__(
        self,
        folder: Folder,
        holdings: Holdings,
        options: JournalOptions,
        events: PairEvents,
        clock: Clock,
    ) -> None:
        """``clock`` counts seconds from 1970."""
        self.folder = folder
        self._holdings = holdings
        self._segment_bytes = min(options.segment_bytes, options.max_bytes // 4)
        self._events = events
        self._clock = clock
        self._file: int | None = None
        self._began = 0.0
        self._usual_size = 0.0
        self._lost_size = 0
        self._has_failed = False
        self._sync_trouble: OSError | None = None
        self._sync = GroupSync(options.fsync_seconds, self._note_sync_trouble)

    @property
    def has_room(self) -> bool:
        """Whether a record of usual size could be written now."""
        if self._has_failed:
            return False
        return self._has_room_for(max(int(self._usual_size), self._lost_size))

    def append(self, cascade: str, record: bytes, *, kind: StreamKind = StreamKind.PAIRS) -> bool:
        """Write one record, so that it survives this process; False where it is lost."""
        try:
            head, body = self._framed(kind, cascade, record)
        except TooLarge as error:  # it says nothing of the room that there is for others
            trouble = Trouble(str(self.folder.path), strerror=str(error))
            if kind is StreamKind.STORED:
                self._events.completions_became(cascade, Fate.LOST, "too_large")
            elif kind is not StreamKind.LEDGER:
                self._events.pair_lost(cascade, "too_large", trouble)
            return False
        size = len(head) + len(body)
        lost = self._write_or_make_room(head, body, size)
        if lost is None:
            self._sync.written()
        if kind in _NO_PAIRS:
            self._tell(kind, cascade, None if lost is None else lost[0])
            return lost is None
        self._usual_size += (size - self._usual_size) / 16
        if lost is not None:
            self._lost_size = size
            self._events.pair_lost(cascade, *lost)
            return False
        self._lost_size = 0
        self._has_failed = False
        self._events.pair_written(cascade)
        return True

    def _tell(self, kind: StreamKind, cascade: str, lost: str | None) -> None:
        """What became of a record that says nothing of how much room a pair needs.

        Whoever wrote a posting keeps what is refused.
        """
        if kind is StreamKind.STORED:
            fate = Fate.WRITTEN if lost is None else Fate.LOST
            self._events.completions_became(cascade, fate, lost)
        elif lost is None:
            self._events.posting_written()

    def rotate(self) -> None:
        """End the segment that is being written; the next record begins another."""
        if self._file is not None:
            self._file = None
            self.folder.active = None
            self._sync.use(None, self.folder.path)

    def tidy(self, now: float) -> None:
        """End a segment that is old enough; tell of what the thread that syncs has met.

        Only one that is being shipped: the others would not go for that.
        """
        active = self.folder.active
        if (
            active is not None
            and now - self._began >= SEGMENT_SECONDS
            and self.folder.progress.lowest.segment >= active
            and self.folder.sizes[active] > HEADER_BYTES
        ):
            self.rotate()
        trouble, self._sync_trouble = self._sync_trouble, None
        if trouble is not None:
            # What the system could not write it may count as written: nothing more goes there.
            self.rotate()
            self._events.journal_failed(trouble_of(trouble, self.folder.path))

    def probe(self) -> None:
        """Where a write has failed, try whether one would go well now.  May be called in a thread.

        Without this nobody would find out while no record is written because there is no room.
        """
        if not self._has_failed:
            return
        path = self.folder.path / "probe"
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            try:
                size = min(max(self._lost_size, int(self._usual_size)), PROBE_BYTES)
                if os.write(file, bytes(size)) == size:
                    os.fsync(file)
                    self._has_failed = False
            finally:
                os.close(file)
        except OSError:
            pass
        with suppress(OSError):
            path.unlink()

    def close(self) -> None:
        """Have everything on disk and write no more."""
        self.rotate()
        self._sync.close()

    def _framed(self, kind: StreamKind, cascade: str, record: bytes) -> tuple[bytes, bytes]:
        """Raises TooLarge where it could never be written."""
        head, body = encode_frame(kind, cascade, record)
        size, bound = len(head) + len(body), self._holdings.max_bytes
        if size + HEADER_BYTES > bound:
            raise TooLarge(f"{size} bytes, and UNDERSTUDY_JOURNAL_MAX_BYTES is {bound}")
        return head, body

    def _write_or_make_room(
        self, head: bytes, body: bytes, size: int
    ) -> tuple[str, Trouble] | None:
        """Write a frame; None, or why it is lost.  What is shipped makes room for it if it must."""
        active = self.folder.active
        so_far = HEADER_BYTES if active is None else self.folder.sizes[active]
        if so_far > HEADER_BYTES and so_far + size > self._segment_bytes:
            self.rotate()
        if not self._holdings.make_room(size + HEADER_BYTES):
            self._retire_shipped()
            if not self._holdings.make_room(size + HEADER_BYTES):
                held, bound = self._holdings.held_bytes, self._holdings.max_bytes
                full = f"{held} of {bound} bytes, UNDERSTUDY_JOURNAL_MAX_BYTES, are used"
                return "journal_full", Trouble(str(self.folder.path), strerror=full)
        while True:
            try:
                self._write(head, body, size)
                return None
            except OSError as error:
                if error.errno in _IS_FULL:  # maybe full of what is shipped
                    self._retire_shipped()
                    if self._holdings.drop_oldest_kept():
                        self._sync.let_go()
                        continue
                self._has_failed = True
                return "write_failed", trouble_of(error, self.folder.path)

    def _write(self, head: bytes, body: bytes, size: int) -> None:
        """Append a whole frame or nothing.  Raises OSError."""
        if self._file is None:
            self._begin_segment()
        file, active = self._file, self.folder.active
        if file is None or active is None:
            raise AssertionError("a segment has begun")
        try:
            written = os.writev(file, (head, body))
            if written < size:  # a disk takes what it has room for, and then says why
                rest = (head + body)[written:]
                while rest:
                    rest = rest[os.write(file, rest) :]
        except OSError:
            self._undo(file, active)
            raise
        self.folder.sizes[active] += size

    def _undo(self, file: int, active: int) -> None:
        """Take back what there is of a frame; where that fails, its segment ends there."""
        try:
            os.ftruncate(file, self.folder.sizes[active])
        except OSError:
            with suppress(OSError):
                self.folder.sizes[active] = os.fstat(file).st_size
            self.rotate()

    def _begin_segment(self) -> None:
        """Raises OSError, and leaves nothing then."""
        folder = self.folder
        number = max([0, folder.progress.main.segment, *folder.sizes]) + 1
        path: Path = segment_path(folder.path, number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        file = os.open(path, flags, FILE_MODE)
        self._began = self._clock()
        header = encode_header(self._began)
        try:
            if os.write(file, header) < len(header):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            os.close(file)
            with suppress(OSError):
                path.unlink()
            raise
        self._file = file
        folder.sizes[number] = len(header)
        folder.active = number
        self._sync.use(file, folder.path)

    def _retire_shipped(self) -> None:
        """End the segment that is being written, if all of it is shipped: so it may go."""
        active = self.folder.active
        if active is not None and self.folder.sizes[active] > HEADER_BYTES:
            end = Position(active, self.folder.sizes[active])
            if end <= self.folder.progress.lowest:
                self.rotate()

    def _has_room_for(self, size: int) -> bool:
        needed = size + HEADER_BYTES
        if self._holdings.has_room_for(needed):
            return True
        self._retire_shipped()
        return self._holdings.has_room_for(needed)

    def _note_sync_trouble(self, error: OSError) -> None:
        self._sync_trouble = error
