"""The local journal of pairs: one append-only file, so that neither an outage of Redis nor a killed
gateway loses a pair whose answer was delivered.

A line is ``{"cascade": ..., "pair": {...}}``.  A second file holds how many bytes are shipped.
One process holds the directory; the lock goes with the process, however it ends.
"""

import fcntl
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import words_of
from gateway.ports import PairEvents, Trouble

READ_BYTES = 256 * 2**10
COMPACT_BYTES = 64 * 2**20
ROOM_BYTES = 64 * 2**10  # more than most pairs take
_FILE_MODE = 0o600


def trouble_of(error: OSError, path: Path) -> Trouble:
    """What the system says of a file."""
    return Trouble(str(error.filename or path), error.errno, words_of(error))


class JournalBusy(Exception):
    """Another process holds this directory."""


def _for_owner_alone(path: str, flags: int) -> int:
    return os.open(path, flags, _FILE_MODE)


@dataclass(frozen=True, slots=True)
class Batch:
    """Complete lines from the journal, and the offset in bytes behind the last of them."""

    lines: Sequence[bytes]
    end: int


class Journal:
    """Appends pairs, and hands out those that have not been shipped."""

    def __init__(self, directory: Path, *, max_bytes: int, events: PairEvents) -> None:
        """Open or create the journal in ``directory``.

        Raises JournalBusy where another process holds it, and OSError where it cannot be written.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._max_bytes = max_bytes
        self._events = events
        self._has_failed = False
        self.path = directory / "pairs.jsonl"
        self._offset_path = directory / "pairs.shipped"
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise JournalBusy(
                f"{directory} is in use by another gateway: give each its own UNDERSTUDY_STATE_DIR"
            ) from None
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self.path, flags, _FILE_MODE)
        self.size = os.fstat(self._file).st_size
        self._end_torn_line()
        self.shipped = self._read_offset()
        self._events.journal_changed(self.size - self.shipped)

    @property
    def has_room(self) -> bool:
        """Whether a pair of usual size could be written; asks the disk once a write has failed."""
        if self._has_failed:
            disk = os.statvfs(self.path.parent)
            self._has_failed = disk.f_bavail * disk.f_frsize < ROOM_BYTES
        return not self._has_failed and self.size + ROOM_BYTES <= self._max_bytes

    def append(self, cascade: str, record: bytes) -> bool:
        """Write one pair, so that it survives this process.  Never raises: a loss is counted."""
        line = b'{"cascade":%s,"pair":%s}\n' % (json.dumps(cascade).encode(), record)
        trouble = self._write_or_empty(line)
        if trouble is not None:
            self._has_failed = True
            self._events.pair_lost(cascade, *trouble)
            return False
        self._events.pair_written(cascade)
        self._events.journal_changed(self.size - self.shipped)
        return True

    def _write_or_empty(self, line: bytes) -> tuple[str, Trouble] | None:
        """Append a line; None, or why it is lost.  What is shipped makes room for it if it must."""
        if self.size + len(line) > self._max_bytes:
            full = f"{self.size} of {self._max_bytes} bytes, UNDERSTUDY_JOURNAL_MAX_BYTES, are used"
            return "journal_full", Trouble(str(self.path), strerror=full)
        try:
            if self._write(line) is None:
                return None
            if self.size and self.shipped == self.size:  # a full disk, full of what is shipped
                os.ftruncate(self._file, 0)
                self.size = self.shipped = 0
            trouble = self._write(line)
        except OSError as error:
            trouble = trouble_of(error, self.path)
        return None if trouble is None else ("write_failed", trouble)

    def _write(self, line: bytes) -> Trouble | None:
        """Append a whole line or nothing: half a line would spoil the next one."""
        written = 0
        try:
            while written < len(line):  # a disk takes what it has room for, and then says why
                written += os.write(self._file, line[written:])
        except OSError as error:
            if written:
                os.ftruncate(self._file, self.size)
            return trouble_of(error, self.path)
        self.size += written
        return None

    def next_batch(self, most: int) -> Batch:
        """The oldest pairs that have not been shipped, ``most`` at most; maybe none."""
        data = os.pread(self._file, READ_BYTES, self.shipped)
        while b"\n" not in data and self.shipped + len(data) < self.size:
            more = os.pread(self._file, READ_BYTES, self.shipped + len(data))
            if not more:  # somebody shortened the file
                self.size = os.fstat(self._file).st_size
                self.shipped = min(self.shipped, self.size)
                self._events.pair_lost(None, "journal_shortened", Trouble(str(self.path)))
                return Batch((), self.shipped)
            data += more
        lines = data.split(b"\n")[:-1][:most]
        return Batch(lines, self.shipped + sum(len(line) + 1 for line in lines))

    def mark_shipped(self, end: int) -> None:
        """Note that everything before ``end`` is in the store.

        What is shipped stays on disk until the file is large: the store may not have written it to
        its own disk yet.  Raises OSError where the note cannot be written: the next process ships
        those pairs again.
        """
        if end == self.size and end >= min(COMPACT_BYTES, self._max_bytes // 2):
            # Truncated first: a crash in between leaves an offset beyond the file: it reads as 0.
            os.ftruncate(self._file, 0)
            self.size = end = 0
        self.shipped = end
        self._events.journal_changed(self.size - self.shipped)
        beside = self._offset_path.with_suffix(".part")
        try:
            with open(beside, "w", opener=_for_owner_alone) as file:
                file.write(str(end))
            beside.replace(self._offset_path)
        except OSError as error:  # a full disk does not say which file it has no room for
            raise OSError(error.errno, error.strerror, str(beside)) from None

    def close(self) -> None:
        """Flush to disk and let the directory go."""
        os.fsync(self._file)
        os.close(self._file)
        os.close(self._lock)

    def _end_torn_line(self) -> None:
        """End the half line that a process leaves when it is killed while it writes."""
        if self.size and os.pread(self._file, 1, self.size - 1) != b"\n":
            with suppress(OSError):  # on a full disk it spoils one more line
                self.size += os.write(self._file, b"\n")

    def _read_offset(self) -> int:
        try:
            offset = int(self._offset_path.read_text())
        except (FileNotFoundError, ValueError):
            return 0  # shipped again rather than lost: readers drop the second of two equal ids
        return offset if 0 <= offset <= self.size else 0
