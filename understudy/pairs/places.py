"""Where parts and data sets lie: a folder of this machine, or of anything that fsspec knows.

A file is there whole or not at all.  On this machine it is written beside its place, flushed to the
disk and renamed; elsewhere fsspec's transaction shows it once it is complete.
"""

import glob
import os
import posixpath
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from understudy.telling import CommandError

PARTIAL = ".partial"
# Nobody writes on a file for so long without a word.
PARTIAL_SECONDS = 86_400.0
# Prompts and answers are for their owner.
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700
# What DuckDB reads as something else in the path of its own file.
_NOT_IN_PATHS = frozenset("?\\")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder; all paths are relative to it."""

    filesystem: Any
    root: str

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine."""
        return isinstance(self.filesystem, LocalFileSystem)

    def path(self, name: str) -> str:
        """A file's whole path."""
        return posixpath.join(self.root, name)

    @contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """A file to write, which is there once the block is left well, and not before."""
        path = self.path(name)
        if self.is_local:
            with _written_beside(path) as file:
                yield file
            return
        self.filesystem.makedirs(posixpath.dirname(path), exist_ok=True)
        with self.filesystem.transaction, self.filesystem.open(path, "wb") as file:
            yield file

    def reading(self, name: str) -> Any:
        """An open file."""
        return self.filesystem.open(self.path(name), "rb")

    def matching(self, pattern: str) -> list[str]:
        """Names of the files that match a pattern, in order."""
        found = self.filesystem.glob(posixpath.join(glob.escape(self.root), pattern))
        start = len(self.root.rstrip("/")) + 1
        return sorted(str(path)[start:] for path in found)

    def sweep(self) -> None:
        """Clear away what writers that were killed have left: it holds prompts."""
        if not self.is_local:
            return
        before = time.time() - PARTIAL_SECONDS
        for path in Path(self.root).rglob(f".*{PARTIAL}"):
            with suppress(FileNotFoundError):  # its writer was alive, and is done now
                if path.stat().st_mtime < before:
                    path.unlink()

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""
        with suppress(FileNotFoundError):
            self.filesystem.rm_file(self.path(name))


def place_at(where: str) -> Place:
    """The folder at a path or an URL.  Raises CommandError where there is no way to it."""
    try:
        filesystem, root = fsspec.core.url_to_fs(where)
    except (ImportError, ValueError) as error:
        raise CommandError(f"{where}: {error}") from None
    place = Place(filesystem, root)
    if place.is_local and not _NOT_IN_PATHS.isdisjoint(root):
        raise CommandError(f"{where}: choose a folder whose path has no ? and no \\ in it")
    return place


@contextmanager
def _written_beside(path: str) -> Iterator[Any]:
    folder, name = os.path.split(path)
    _make_folder(folder)
    beside = os.path.join(folder, f".{name}.{secrets.token_hex(4)}{PARTIAL}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(beside)
        if isinstance(error, OSError) and error.filename is None:  # a write does not know its file
            error.filename = path
        raise
    sync_folder(folder)


def _make_folder(folder: str) -> None:
    """Make a folder and those above it that are missing, each of them on the disk."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    _make_folder(above)
    with suppress(FileExistsError):  # another exporter was faster
        os.mkdir(folder, _FOLDER_MODE)
    sync_folder(above)


def sync_folder(folder: str) -> None:
    """Have the names in a folder on the disk too: else a crash may take back a rename."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
