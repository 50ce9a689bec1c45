"""The files of a data set: each there whole or not at all, with its rows, bytes and hash told."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distill.card import Written
from distill.rows import Format
from understudy.pairs.converting import Parts
from understudy.pairs.parts import COMPRESSION, SCHEMA
from understudy.pairs.places import Place
from understudy.pairs.selecting import SIDES, Selected

Advance = Callable[[int], None]
_RECORDS = SCHEMA.insert(0, pa.field("cascade", pa.string(), nullable=False))


def write_lines(out: Place, selected: Selected, form: Format, advance: Advance) -> list[Written]:
    """The lines of a format, a file for each side that has any."""
    written = []
    for side, is_holdout in SIDES:
        batches = selected.rows_of(is_holdout=is_holdout)
        if (first := next(batches, None)) is None:
            continue
        name, rows = f"{form.value}-{side}.jsonl", 0
        with out.writing(name) as file:
            hashing = _Hashing(file)
            for lines in _chained(first, batches):
                hashing.write(b"\n".join(lines) + b"\n")
                rows += len(lines)
                advance(len(lines))
        written.append(hashing.told(name, rows))
    return written


def write_records(out: Place, selected: Selected, parts: Parts, advance: Advance) -> list[Written]:
    """Full records, a Parquet file for each side that has any; sealed content stays so."""
    written = []
    for side, is_holdout in SIDES:
        query = (
            f"select row from {selected.table} where cause is null and is_holdout = {is_holdout}"  # noqa: S608
        )
        found = parts.chosen(selected.index, query, SCHEMA.names)
        if (first := next(found, None)) is None:
            continue
        name, rows = f"pairs-{side}.parquet", 0
        with out.writing(name) as file:
            hashing = _Hashing(file)
            sink = pa.PythonFile(hashing, mode="w")
            with pq.ParquetWriter(sink, _RECORDS, compression=COMPRESSION) as writer:
                for chosen in _chained(first, found):
                    table = pa.Table.from_batches([chosen.batch]).select(SCHEMA.names)
                    cascades = pa.array([chosen.cascade] * table.num_rows)
                    writer.write_table(table.add_column(0, "cascade", cascades).cast(_RECORDS))
                    rows += table.num_rows
                    advance(table.num_rows)
        written.append(hashing.told(name, rows))
    return written


@dataclass(slots=True)
class _Hashing:
    """Writes on to a file and remembers what went by."""

    file: Any
    bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    closed: bool = False

    def told(self, name: str, rows: int) -> Written:
        """What there is to say of the file."""
        return Written(name, rows, self.bytes, self.digest.hexdigest())

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.bytes += len(data)
        self.file.write(data)
        return len(data)

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        """The file is closed by whoever opened it."""


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest
