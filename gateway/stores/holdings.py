"""All journal directories that this process holds, its own first: what they take, and what may go.

What is shipped and only kept may go at any time to make room.  What is not shipped never does.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.ports import PairEvents, Trouble
from gateway.stores.folder import (
    DIRECTORY_MODE,
    LOCK,
    Folder,
    NewerFormat,
    adopted,
    created,
    is_lockless,
    trouble_of,
)
from gateway.stores.progress import Lane
from gateway.stores.reading import JOURNALS, Stretch


class Holdings:
    """The directories, and the bound that holds for all of them together."""

    def __init__(
        self, state_dir: Path, new_name: Callable[[], str], max_bytes: int, events: PairEvents
    ) -> None:
        """Take a directory that was left for this process' own, or make one.

        So a process that starts again goes on with its directory.  Raises OSError where there is
        none to be had.
        """
        self.max_bytes = max_bytes
        self.folders: list[Folder] = []
        self._root = state_dir / JOURNALS
        self._events = events
        self._failing: set[Path] = set()
        state_dir.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        self._root.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        for path in sorted(self._root.iterdir()):
            if (folder := self._adopted(path)) is not None:
                self.take([folder])
                return
        self.folders.append(created(self._root, new_name, events))

    @property
    def own(self) -> Folder:
        """The one that is written to."""
        return self.folders[0]

    @property
    def held_bytes(self) -> int:
        """What all segments take."""
        return sum(folder.held_bytes for folder in self.folders)

    def find_orphans(self) -> list[Folder]:
        """Directories that nobody holds; their locks are taken."""
        held = {folder.path for folder in self.folders}
        try:
            paths = sorted(self._root.iterdir())
        except OSError as error:
            self._tell(self._root, trouble_of(error, self._root))
            return []
        self._failing.discard(self._root)
        found = (self._adopted(path) for path in paths if path not in held)
        return [folder for folder in found if folder is not None]

    def take(self, orphans: Iterable[Folder]) -> None:
        """These are this process' own from now on."""
        for folder in orphans:
            self.folders.append(folder)
            self._events.journal_adopted(str(folder.path), folder.unshipped_bytes)

    def has_room_for(self, size: int) -> bool:
        """Whether so many bytes more are within the bound, should all that may go have gone."""
        held = self.held_bytes
        return held + size <= self.max_bytes or held + size - self._kept_bytes() <= self.max_bytes

    def make_room(self, size: int) -> bool:
        """Drop what may go, the oldest first, until so many bytes are within the bound."""
        while self.held_bytes + size > self.max_bytes:
            if not self.drop_oldest_kept():
                return False
        return True

    def drop_oldest_kept(self) -> bool:
        """Drop the oldest segment that is shipped; False where there is none."""
        since = [
            (folder.progress.shipped_at.get(number, 0.0), folder, number)
            for folder in self.folders
            for number in folder.shipped_segments()
        ]
        if not since:
            return False
        _, folder, number = min(since, key=lambda each: each[0])
        try:
            folder.drop(number)
        except OSError as error:
            self._tell(folder.path, trouble_of(error, folder.path))
            return False
        return True

    def tidy(self, now: float, keep_seconds: float) -> None:
        """Drop what is spent, remove adopted directories of which nothing is left."""
        for folder in list(self.folders):
            try:
                folder.note_shipped(now)
                folder.drop_spent(now, keep_seconds)
                if not folder.sizes and folder is not self.own:
                    self.folders.remove(folder)
                    folder.remove()
                    folder.close()
                else:
                    folder.save_progress()
                self._failing.discard(folder.path)
            except OSError as error:
                self._tell(folder.path, trouble_of(error, folder.path))

    @property
    def unshipped_bytes(self) -> int:
        """From the oldest record on that is not in the store, in each directory."""
        return sum(folder.unshipped_bytes for folder in self.folders)

    def unshipped(self) -> list[tuple[Stretch, Lane]]:
        """What is not in the store."""
        return [each for folder in self.folders for each in folder.unshipped()]

    def close(self) -> None:
        """Keep how far all of it is, remove what is empty, let the rest go."""
        for folder in self.folders:
            try:
                if folder.sizes:
                    folder.save_progress()
                else:
                    folder.remove()
            except OSError as error:
                self._tell(folder.path, trouble_of(error, folder.path))
            folder.close()

    def _adopted(self, path: Path) -> Folder | None:
        """One directory, if nobody holds it, and it can be used."""
        try:
            folder = adopted(path, self._events)
            if folder is None and is_lockless(path):
                words = (
                    f"records without a file {LOCK!r}: when nobody writes there, make an empty one"
                )
                self._tell(path, Trouble(str(path), strerror=words))
            return folder
        except OSError as error:
            self._tell(path, trouble_of(error, path))
        except NewerFormat as error:
            self._tell(path, Trouble(str(path), strerror=str(error)))
        return None

    def _tell(self, path: Path, trouble: Trouble) -> None:
        """Once, until it goes well again: it is tried every second."""
        if path not in self._failing:
            self._failing.add(path)
            self._events.journal_failed(trouble)

    def _kept_bytes(self) -> int:
        return sum(
            folder.sizes[number] for folder in self.folders for number in folder.shipped_segments()
        )
