"""Parts: Parquet files of full records, one folder a cascade and day.

A column for each mark of a record, so that they can be queried; payloads as the JSON that was
written.  The cascade is in the path alone, as such folders have it; ``time`` in seconds since 1970.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from distill.pairs import Pair
from distill.prompts import prompt_hash
from understudy.pairs.places import Place
from understudy.telling import CommandError

# A part is written when it has so many rows, or so many bytes of records: this is what an exporter
# holds in memory, and what it has to do again when it is killed.
PART_ROWS = 20_000
PART_BYTES = 64 * 2**20
FOLDER = "parts"
COMPRESSION = "zstd"

_TEXT, _BOOL, _FLOAT, _INT = pa.string(), pa.bool_(), pa.float64(), pa.int64()
MARKS: dict[str, Any] = {
    "id": pa.field("id", _TEXT, nullable=False),
    "entry": pa.field("entry", _TEXT),
    "written_version": pa.field("written_version", _INT, nullable=False),
    "completes": pa.field("completes", _TEXT),
    "time": pa.field("time", _FLOAT, nullable=False),
    "tenant": pa.field("tenant", _TEXT),
    "request_id": pa.field("request_id", _TEXT, nullable=False),
    "is_stream": pa.field("is_stream", _BOOL),
    "served_by": pa.field("served_by", _TEXT, nullable=False),
    "reason": pa.field("reason", _TEXT),
    "group": pa.field("group", _TEXT),
    "confidence": pa.field("confidence", _FLOAT),
    "merit": pa.field("merit", _FLOAT),
    "propensity": pa.field("propensity", _FLOAT, nullable=False),
    "samples": pa.field("samples", _INT, nullable=False),
    "student_version": pa.field("student_version", _TEXT, nullable=False),
    "teacher_model": pa.field("teacher_model", _TEXT, nullable=False),
    "teacher_version": pa.field("teacher_version", _TEXT, nullable=False),
    "policy_version": pa.field("policy_version", _TEXT, nullable=False),
    "tenant_may_train": pa.field("tenant_may_train", _BOOL, nullable=False),
    "teacher_outputs_may_train": pa.field("teacher_outputs_may_train", _BOOL, nullable=False),
    "draft_complete": pa.field("draft_complete", _BOOL, nullable=False),
    "splice_handover": pa.field("splice_handover", _TEXT),
    "splice_after_tokens": pa.field("splice_after_tokens", _INT),
    "splice_after_characters": pa.field("splice_after_characters", _INT),
    "redactor": pa.field("redactor", _TEXT),
    "dropped": pa.field("dropped", _TEXT),
    "prompt_hash": pa.field("prompt_hash", _TEXT),
}
PAYLOADS: dict[str, Any] = {
    "signals": pa.field("signals", _TEXT, nullable=False),
    "legs": pa.field("legs", _TEXT, nullable=False),
    "request": pa.field("request", _TEXT),
    "draft": pa.field("draft", _TEXT),
    "answer": pa.field("answer", _TEXT),
    "released": pa.field("released", _TEXT),
    "sealed": pa.field("sealed", _TEXT),
}
SCHEMA = pa.schema([*MARKS.values(), *PAYLOADS.values()])


def columns_of(pair: Pair, entry: str) -> tuple[Any, ...]:
    """One row, in the order of SCHEMA.

    The hash of a sealed prompt is not written: it would tell equal prompts, and guessed ones.
    """
    content, splice = pair.content, pair.splice
    return (
        pair.id,
        entry,
        pair.written_version,
        pair.completes,
        pair.time,
        pair.tenant,
        pair.request_id,
        pair.is_stream,
        pair.served_by,
        pair.reason,
        pair.group,
        pair.confidence,
        pair.merit,
        pair.propensity,
        pair.samples,
        pair.student_version,
        pair.teacher_model,
        pair.teacher_version,
        pair.policy_version,
        pair.consent.tenant_may_train,
        pair.consent.teacher_outputs_may_train,
        pair.draft_complete,
        None if splice is None else splice.handover,
        None if splice is None else splice.after_tokens,
        None if splice is None else splice.after_characters,
        pair.redactor,
        pair.dropped,
        None if content is None else prompt_hash(bytes(content.request)),
        msgspec.json.encode(pair.signals),
        msgspec.json.encode(pair.legs),
        None if content is None else bytes(content.request),
        None if content is None else content.draft_or_none,
        None if content is None else bytes(content.answer),
        None if content is None else content.released,
        pair.sealed,
    )


def day_of(time: float) -> str:
    """The day in UTC, YYYY-MM-DD."""
    return datetime.fromtimestamp(time, UTC).date().isoformat()


def folder_of(cascade: str, day: str) -> str:
    """Where the parts of one cascade and day lie."""
    return f"{FOLDER}/cascade={cascade}/date={day}"


def cascade_of(path: str) -> str:
    """The cascade of a part, by its path."""
    (found,) = (
        step.removeprefix("cascade=") for step in path.split("/") if step.startswith("cascade=")
    )
    return found


@dataclass(slots=True)
class Buffer:
    """Rows that are not written yet, by day."""

    rows: int = 0
    bytes: int = 0
    by_day: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)

    def add(self, pair: Pair, entry: str, size: int) -> None:
        """Take one pair, whose record has so many bytes."""
        self.by_day.setdefault(day_of(pair.time), []).append(columns_of(pair, entry))
        self.rows += 1
        self.bytes += size

    @property
    def is_full(self) -> bool:
        """Whether it is time to write."""
        return self.rows >= PART_ROWS or self.bytes >= PART_BYTES

    def write(self, place: Place, cascade: str, name: str) -> list[str]:
        """Write everything, a part a day, each there whole or not at all; their paths."""
        written = []
        for day, rows in sorted(self.by_day.items()):
            path = f"{folder_of(cascade, day)}/part-{name}.parquet"
            with place.writing(path) as file:
                pq.write_table(table_of(rows), file, compression=COMPRESSION)
            written.append(path)
        return written


def table_of(rows: Sequence[tuple[Any, ...]]) -> Any:
    """Rows as an Arrow table."""
    columns = zip(*rows, strict=True)
    arrays = [
        pa.array(column, type=each.type) for column, each in zip(columns, SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def part_paths(place: Place, cascade: str | None = None) -> list[str]:
    """The parts there are, in order; of one cascade where one is named."""
    pattern = f"{FOLDER}/cascade={cascade or '*'}/date=*/part-*.parquet"
    return place.matching(pattern)


def batches_of(place: Place, path: str, columns: Sequence[str], most: int) -> Iterator[Any]:
    """A part's record batches, so many rows at most in each.  Raises CommandError and OSError."""
    with opened_part(place, path) as part:
        yield from part.iter_batches(batch_size=most, columns=list(columns))


@contextmanager
def opened_part(place: Place, path: str) -> Iterator[Any]:
    """A part, with all columns.  Raises CommandError where it is none, and OSError."""
    try:
        with place.reading(path) as file:
            part = pq.ParquetFile(file)
            if missing := set(SCHEMA.names) - set(part.schema_arrow.names):
                raise CommandError(f"it lacks {', '.join(sorted(missing))}")
            yield part
    except (pa.ArrowException, OSError, CommandError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not Arrow's
            raise
        raise CommandError(
            f"{place.path(path)}: is no whole part: {error}: put a copy of it in its place, or "
            "take it away and do without its pairs"
        ) from None
