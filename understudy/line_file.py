"""A file of JSON lines, each with an id, that a command adds to and goes on with: whole lines only.

One process writes it at a time.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

READ_BYTES = 2**20


class LineFileError(Exception):
    """A file that nothing may be added to.  The message says why and what to do."""


class LineFile:
    """Open for one process at a time.  Every line that is there is whole."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; a last line that was cut short is taken away.

        Raises LineFileError.
        """
        self.path = path
        if path.suffix == ".gz":
            raise LineFileError(f"{path}: lines are written plain: name a file without .gz")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise LineFileError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise LineFileError(
                f"{path}: another process is writing it: wait, or name another file"
            ) from None
        self.cut_bytes = self._cut_last()

    def lines(self) -> Iterator[Mapping[str, Any]]:
        """What is there, one at a time.  Raises LineFileError for what is no such line."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                record = _parsed(line)
                if not isinstance(record, dict) or not isinstance(record.get("id"), str):
                    message = (
                        f"{self.path}, line {number}: is no line of this kind: name another file"
                    )
                    raise LineFileError(message)
                yield record

    def append(self, record: Mapping[str, object]) -> None:
        """Add a line, in one piece.  Raises LineFileError where the disk takes no more."""
        line = msgspec.json.encode(record) + b"\n"
        try:
            while line:  # a signal may cut a write short
                line = line[os.write(self._file, line) :]
        except OSError as error:
            raise LineFileError(
                f"{self.path}: cannot be written: {error.strerror}: mend that, and run it again"
            ) from None

    def close(self) -> None:
        """Have it on the disk, and let go of it."""
        os.fsync(self._file)
        os.close(self._file)

    def _cut_last(self) -> int:
        """Take away what follows the last line break; how many bytes that was."""
        end = os.fstat(self._file).st_size
        start = end
        while start > 0:
            first = max(0, start - READ_BYTES)
            found = os.pread(self._file, start - first, first).rfind(b"\n")
            if found >= 0:
                start = first + found + 1
                break
            start = first
        if start < end:
            os.ftruncate(self._file, start)
        return end - start


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
