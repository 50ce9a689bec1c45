"""One locked directory of the journal: its segments, and how far they are shipped.

A process holds its own and those that dead processes left.  The lock goes with the process, however
it ends; so whoever gets the lock of a directory may go on with it.
"""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gateway.ports import Damage, PairEvents, Trouble
from gateway.roots import words_of
from gateway.stores.progress import (
    Lane,
    Position,
    Progress,
    decode_progress,
    encode_progress,
)
from gateway.stores.reading import Batch, Limits, Placed, Stretch, read_batch
from gateway.stores.reading import segment_numbers as numbers_in
from gateway.stores.reading import segment_path as path_of
from gateway.stores.segment import HEADER_BYTES, VERSION, Range, blank, decode_header

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
LOCK = "lock"
PROGRESS = "progress.json"
DAMAGED = "damaged"
# Of what cannot be read so much is kept for whoever wants to look at it.
DAMAGED_MAX_BYTES = 64 * 2**20
_ATTEMPTS = 100


def trouble_of(error: OSError, path: Path) -> Trouble:
    """What the system says of a file."""
    return Trouble(str(error.filename or path), error.errno, words_of(error))


def sync_directory(path: Path) -> None:
    """Have the names of a directory's files on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes) -> None:
    """Replace a file as a whole, for its owner alone.  Raises OSError that names the file."""
    beside = path.with_suffix(".part")
    try:
        with open(beside, "wb", opener=_for_owner_alone) as file:
            file.write(data)
        beside.replace(path)
    except OSError as error:  # a full disk does not say which file it has no room for
        raise OSError(error.errno, error.strerror, str(beside)) from None


def _for_owner_alone(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)


class NewerFormat(Exception):
    """A directory was written by a later version of the gateway."""


class Folder:
    """A directory whose lock this process holds.  ``sizes`` are its segments, the oldest first.

    ``active`` is the segment that is being written, where one is.
    """

    def __init__(self, path: Path, lock: int, events: PairEvents) -> None:
        """Read what is there.  Raises OSError and NewerFormat; the lock is the caller's then."""
        self.path = path
        self.active: int | None = None
        self._lock = lock
        self._events = events
        self.sizes = {number: path_of(path, number).stat().st_size for number in numbers_in(path)}
        for number in self.sizes:
            with path_of(path, number).open("rb") as file:
                header = decode_header(file.read(HEADER_BYTES))
            if header is not None and header.version > VERSION:
                raise NewerFormat(f"segment {number} has format {header.version}")
        self.progress = self._read_progress()
        self._saved = b""

    @property
    def held_bytes(self) -> int:
        """What its segments take."""
        return sum(self.sizes.values())

    @property
    def end(self) -> Position:
        """Behind all that is written."""
        if not self.sizes:
            return self.progress.main
        last = max(self.sizes)
        return Position(last, self.sizes[last])

    @property
    def unshipped_bytes(self) -> int:
        """From the oldest record on that is not in the store."""
        lowest = self.progress.lowest
        return sum(
            size - max(lowest.offset if number == lowest.segment else 0, HEADER_BYTES)
            for number, size in self.sizes.items()
            if Position(number, max(size, HEADER_BYTES)) > lowest and size > HEADER_BYTES
        )

    def stretch(self, lane: Lane) -> Stretch:
        """What a lane has to read: those behind only up to where all the others are."""
        until = self.progress.main if lane.is_listed else self.end
        return Stretch(self.path, list(self.sizes.items()), lane.start, until)

    def everything(self) -> Stretch:
        """All that is written by now."""
        return Stretch(self.path, list(self.sizes.items()), Position(0, 0), self.end)

    def read(self, lane: Lane, limits: Limits) -> Batch:
        """The next records of a lane.  Raises OSError."""
        return read_batch(self.stretch(lane), lane.has, limits)

    def unshipped(self) -> list[tuple[Stretch, Lane]]:
        """What is not in the store, lane by lane."""
        if not self.unshipped_bytes:
            return []
        return [(self.stretch(lane), lane) for lane in self.progress.lanes()]

    def note_damage(self, batch: Batch) -> bool:
        """Tell, once, of what a batch could not read; whether segments are not what they were."""
        for number, size in batch.short:
            self._events.pair_lost(
                None, "journal_shortened", Trouble(str(path_of(self.path, number)))
            )
            actual = size
            with suppress(OSError):
                actual = path_of(self.path, number).stat().st_size
            self.sizes[number] = actual
            # What was written since somebody shortened the file may lie before the position.
            self.progress.main = min(self.progress.main, Position(number, 0))
        for number, damaged in batch.skipped:
            if damaged.end > self.progress.told.get(number, 0):
                self.progress.told[number] = damaged.end
                self._tell_damage(number, damaged)
        return bool(batch.short)

    def note_shipped(self, now: float) -> None:
        """Note since when segments are wholly shipped."""
        for number in self.shipped_segments():
            self.progress.shipped_at.setdefault(number, now)

    def shipped_segments(self) -> list[int]:
        """Those of which everything is in the store, the oldest first; never the active one."""
        lowest = self.progress.lowest
        return [
            number
            for number, size in self.sizes.items()
            if number != self.active and (size <= HEADER_BYTES or Position(number, size) <= lowest)
        ]

    def drop(self, number: int) -> None:
        """Remove a segment.  Raises OSError."""
        with suppress(FileNotFoundError):
            path_of(self.path, number).unlink()
        self.sizes.pop(number, None)
        self.progress.forget(number, self.sizes)

    def drop_spent(self, now: float, keep_seconds: float) -> None:
        """Remove what the store has on its disk, and what was kept long enough.  Raises OSError."""
        for number in self.shipped_segments():
            since = self.progress.shipped_at.setdefault(number, now)
            if self.progress.is_durable(number) or since + keep_seconds <= now:
                self.drop(number)

    def blank(self, placed: Placed) -> None:
        """Overwrite a record where it stands, and have that on disk.  Raises OSError."""
        try:
            file = os.open(path_of(self.path, placed.segment), os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # it went meanwhile, and the record with it
        try:
            os.pwrite(file, blank(placed.frame), placed.frame.offset)
            os.fsync(file)
        finally:
            os.close(file)

    def save_progress(self) -> None:
        """Keep it for the next process.  Raises OSError."""
        data = encode_progress(self.progress)
        if data != self._saved:
            write_file(self.path / PROGRESS, data)
            self._saved = data

    def close(self) -> None:
        """Let it go; whoever finds it may have it."""
        os.close(self._lock)

    def remove(self) -> None:
        """Remove it, with the lock as the last file.  Raises OSError where something is left."""
        for name in (PROGRESS, "progress.part", LOCK):
            with suppress(FileNotFoundError):
                (self.path / name).unlink()
        self.path.rmdir()

    def _read_progress(self) -> Progress:
        try:
            progress = decode_progress((self.path / PROGRESS).read_bytes())
        except FileNotFoundError:
            return Progress()
        for number in (set(progress.shipped_at) | set(progress.told)) - set(self.sizes):
            progress.forget(number, self.sizes)
        return progress

    def _tell_damage(self, number: int, damaged: Range) -> None:
        path = path_of(self.path, number)
        kept = self.path.parent.parent / DAMAGED / f"{self.path.name}-{number}-{damaged.offset}"
        is_kept = False
        with suppress(OSError):  # what cannot be kept is told all the same
            is_kept = _keep(path, damaged, kept)
        is_torn = damaged.end == self.sizes.get(number) and number != self.active
        size = damaged.end - damaged.offset
        where = str(kept) if is_kept else None
        self._events.journal_damaged(Damage(str(path), damaged.offset, size, is_torn, where))


def _keep(path: Path, damaged: Range, kept: Path) -> bool:
    """Copy a damaged range aside, where there is room for it."""
    kept.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    size = damaged.end - damaged.offset
    if sum(each.stat().st_size for each in kept.parent.iterdir()) + size > DAMAGED_MAX_BYTES:
        return False
    with path.open("rb") as file:
        file.seek(damaged.offset)
        write_file(kept, file.read(size))
    return True


def adopted(path: Path, events: PairEvents) -> Folder | None:
    """The directory, if nobody holds it; None otherwise.  Raises OSError and NewerFormat."""
    lock = _locked(path, create=False)
    if lock is None:
        with suppress(OSError):  # a process that ended before it had a lock; never one with files
            path.rmdir()
        return None
    try:
        return Folder(path, lock, events)
    except BaseException:
        os.close(lock)
        raise


def is_lockless(path: Path) -> bool:
    """Whether it has records and no lock, so that no process takes it.  Raises OSError."""
    try:
        return path.is_dir() and not (path / LOCK).exists() and bool(numbers_in(path))
    except FileNotFoundError:  # its holder has just removed it
        return False


def created(root: Path, new_name: Callable[[], str], events: PairEvents) -> Folder:
    """A directory of this process alone below ``root``.  Raises OSError."""
    for _ in range(_ATTEMPTS):
        path = root / new_name()
        with suppress(FileExistsError):
            path.mkdir(mode=DIRECTORY_MODE)
            # Until it is locked, another process may take it for one that was left.
            lock = _locked(path, create=True)
            if lock is not None:
                sync_directory(root)
                return Folder(path, lock, events)
    raise OSError(None, "no directory could be locked", str(root))


def _locked(path: Path, *, create: bool) -> int | None:
    """A lock of that directory; None where there is none to be had."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    try:
        lock = os.open(path / LOCK, flags, FILE_MODE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last holder may have removed the file before the lock was free.
        here = os.stat(path / LOCK)
        if os.path.samestat(here, os.fstat(lock)):
            return lock
    except (BlockingIOError, FileNotFoundError, NotADirectoryError):
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None
