"""Has written bytes on disk at an interval, in a thread of its own: one fsync for many records."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from gateway.stores.folder import sync_directory

Sync = Callable[[int], None]
sync_data: Sync = getattr(os, "fdatasync", os.fsync)  # not everywhere


class GroupSync:
    """Syncs the segment that is being written, and closes those that are full.

    With an interval of 0 it has no thread: whoever writes waits for the disk.
    """

    def __init__(
        self, seconds: float, on_trouble: Callable[[OSError], None], sync: Sync = sync_data
    ) -> None:
        """``on_trouble`` is called from the thread."""
        self._seconds = seconds
        self._on_trouble = on_trouble
        self._sync = sync
        self._guard = threading.Lock()
        self._is_dirty = threading.Event()
        self._is_closing = threading.Event()
        self._file: int | None = None
        self._full: list[int] = []
        self._directory: Path | None = None
        self._thread: threading.Thread | None = None
        if seconds > 0:
            self._thread = threading.Thread(target=self._run, name="journal-fsync", daemon=True)
            self._thread.start()

    def use(self, file: int | None, directory: Path) -> None:
        """From now on this is the file; the one before is synced once more, and closed."""
        with self._guard:
            if self._file is not None:
                self._full.append(self._file)
            self._file = file
            self._directory = directory
        self.written()

    def written(self) -> None:
        """Something was written to the file."""
        if self._thread is None:
            self._flush()
        elif not self._is_dirty.is_set():
            self._is_dirty.set()

    def let_go(self) -> None:
        """Close full files that were removed, without a sync: until then they take their room."""
        with self._guard:
            gone = [each for each in self._full if os.fstat(each).st_nlink == 0]
            self._full = [each for each in self._full if each not in gone]
        for each in gone:
            os.close(each)

    def close(self) -> None:
        """Sync and close everything."""
        self._is_closing.set()
        self._is_dirty.set()
        if self._thread is not None:
            self._thread.join()
        if self._file is not None:
            self._full.append(self._file)
            self._file = None
        self._flush()

    def _run(self) -> None:
        # Asked at each turn: what `close` sets to wake this thread may be cleared a moment later.
        while not self._is_closing.is_set():
            self._is_dirty.wait()
            if self._is_closing.wait(self._seconds):
                return
            self._is_dirty.clear()
            self._flush()

    def _flush(self) -> None:
        with self._guard:
            full, self._full = self._full, []
            file, directory = self._file, self._directory
            self._directory = None
        try:
            for each in full:
                self._sync(each)
            if file is not None:
                self._sync(file)
            if directory is not None:
                sync_directory(directory)
        except OSError as error:
            self._on_trouble(error)
        finally:
            for each in full:
                os.close(each)
