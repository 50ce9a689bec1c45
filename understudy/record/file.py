"""The file of records: whole lines only, one writer, and nothing from another set of questions."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

READ_BYTES = 2**20


class RecordFileError(Exception):
    """A file that no record may be added to.  The message says why and what to do."""


class RecordFile:
    """Open for one process at a time.  Every line that is there is whole."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; a last line that was cut short is taken away.

        Raises RecordFileError.
        """
        self.path = path
        if path.suffix == ".gz":
            raise RecordFileError(f"{path}: records are written plain: name a file without .gz")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise RecordFileError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise RecordFileError(
                f"{path}: another process is writing it: wait, or name another file"
            ) from None
        self.cut_bytes = self._cut_last()

    def lines(self) -> Iterator[Mapping[str, Any]]:
        """What is there, one at a time.  Raises RecordFileError for what is no record."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                record = _parsed(line)
                if not isinstance(record, dict) or not isinstance(record.get("id"), str):
                    message = f"{self.path}, line {number}: is no record: name another file"
                    raise RecordFileError(message)
                yield record

    def append(self, record: Mapping[str, object]) -> None:
        """Add a record, in one piece.  Raises RecordFileError where the disk takes no more."""
        line = msgspec.json.encode(record) + b"\n"
        try:
            while line:  # a signal may cut a write short
                line = line[os.write(self._file, line) :]
        except OSError as error:
            raise RecordFileError(
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
