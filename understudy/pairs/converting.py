"""Parts, read one after the other: their marks for the index, their payloads as rows."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from distill.causes import Cause, LeftOut
from distill.prompts import NORMALISATION, is_holdout, prompt_hash
from distill.rows import Format, Lesson, Manner, row_of
from gateway.stores.sealing import SealBroken
from understudy.pairs.index import COLUMNS, Index
from understudy.pairs.parts import batches_of, cascade_of
from understudy.pairs.places import Place
from understudy.pairs.sealed import Seals

BATCH_ROWS = 1000
_PAYLOADS = (
    "id", "request", "draft", "answer", "sealed", "draft_complete", "splice_handover",
)  # fmt: skip
_LINES = pa.schema([
    pa.field("place", pa.uint64()),
    pa.field("line", pa.binary()),
    pa.field("shape", pa.string()),
    pa.field("prompt_characters", pa.int64()),
    pa.field("target_characters", pa.int64()),
])  # fmt: skip

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a folder, in the order of their numbers, and what opens their content."""

    place: Place
    paths: Sequence[str]
    seals: Seals

    def index(self, index: Index, share: float, advance: Advance) -> None:
        """Bring all marks into the index; ``share`` of the prompts is held out."""
        for number, path in enumerate(self.paths):
            cascade, first = cascade_of(path), 0
            columns = (*COLUMNS, "request", "sealed")
            for batch in batches_of(self.place, path, columns, BATCH_ROWS * 4):
                marks = self._marks(pa.Table.from_batches([batch]), share)
                index.add(cascade, number, first, marks)
                first += batch.num_rows
                advance(batch.num_rows)

    def _marks(self, table: Any, share: float) -> Any:
        """The marks of some rows, with the hashes that are missing, and their sides."""
        hashes = table["prompt_hash"].to_pylist()
        broken = [False] * len(hashes)
        for row, known in enumerate(hashes):
            if known is None or not known.startswith(f"{NORMALISATION}:"):
                hashes[row], broken[row] = self._hash(table["request"][row], table["sealed"][row])
        held = [known is not None and is_holdout(known, share) for known in hashes]
        place = table.schema.get_field_index("prompt_hash")
        table = table.set_column(place, "prompt_hash", pa.array(hashes, pa.string()))
        table = table.drop_columns(["request", "sealed"])
        table = table.append_column("is_holdout", pa.array(held, pa.bool_()))
        return table.append_column("is_broken", pa.array(broken, pa.bool_()))

    def _hash(self, request: Any, sealed: Any) -> tuple[str | None, bool]:
        if sealed.is_valid:
            try:
                return prompt_hash(bytes(self.seals.opened(sealed.as_py()).request)), False
            except SealBroken:
                return None, True
        return (prompt_hash(request.as_py().encode()) if request.is_valid else None), False

    def chosen(self, index: Index, query: str, columns: Sequence[str]) -> Iterator["Chosen"]:
        """The rows of all parts whose (part, row) a query gives, a batch at a time."""
        for number, path in enumerate(self.paths):
            found = index.db.execute(f"{query} and part = ? order by row", [number]).fetchall()
            wanted = {row: rest for row, *rest in found}
            if not wanted:
                continue
            first = 0
            for batch in batches_of(self.place, path, columns, BATCH_ROWS):
                rows = [row for row in range(batch.num_rows) if first + row in wanted]
                if rows:
                    marks = [wanted[first + row] for row in rows]
                    places = [number * 2**32 + first + row for row in rows]
                    yield Chosen(cascade_of(path), batch.take(pa.array(rows)), places, marks)
                first += batch.num_rows


@dataclass(frozen=True, slots=True)
class Chosen:
    """Some rows of a part, with their places and what the query said of each."""

    cascade: str
    batch: Any
    places: Sequence[int]
    marks: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Converted:
    """The lines of one format in a file, and what it could not hold."""

    path: Path
    left_out: Counter[str]


def convert(
    index: Index,
    parts: Parts,
    forms: Sequence[Format],
    manners: Mapping[str, Manner],
    advance: Advance,
) -> dict[Format, Converted]:
    """Write what the index has not left out as lines of each format, into the folder for work.

    ``manners`` are by cascade.
    """
    made = {form: Converted(index.folder / f"{form}.lines", Counter()) for form in forms}
    writers = {form: pq.ParquetWriter(made[form].path, _LINES) for form in forms}
    query = "select row from consented where obstacle is null"
    try:
        for chosen in parts.chosen(index, query, _PAYLOADS):
            lessons = list(_lessons(chosen, parts.seals))
            for form in forms:
                lines = list(_lines(lessons, form, manners[chosen.cascade], made[form].left_out))
                if lines:
                    columns = [pa.array(each, kind.type) for each, kind in _columns(lines)]
                    writers[form].write_table(pa.Table.from_arrays(columns, schema=_LINES))
            advance(len(lessons))
    finally:
        for writer in writers.values():
            writer.close()
    return made


def _columns(lines: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, Any]]:
    yield from zip(zip(*lines, strict=True), _LINES, strict=True)


def _lessons(chosen: Chosen, seals: Seals) -> Iterator[tuple[int, Lesson]]:
    for place, row in zip(chosen.places, chosen.batch.to_pylist(), strict=True):
        request, draft, answer = row["request"], row["draft"], row["answer"]
        if row["sealed"] is not None:
            content = seals.opened(row["sealed"])
            request, answer = bytes(content.request), bytes(content.answer)
            draft = content.draft_or_none
        yield (
            place,
            Lesson(
                id=row["id"],
                request=_bytes(request),
                answer=_bytes(answer),
                draft=None if draft is None else _bytes(draft),
                is_draft_complete=row["draft_complete"],
                is_spliced=row["splice_handover"] is not None,
            ),
        )


def _bytes(payload: str | bytes) -> bytes:
    return payload.encode() if isinstance(payload, str) else payload


def _lines(
    lessons: Sequence[tuple[int, Lesson]], form: Format, manner: Manner, left_out: Counter[str]
) -> Iterator[tuple[Any, ...]]:
    for place, lesson in lessons:
        try:
            row = row_of(lesson, form, manner)
        except LeftOut as why:
            left_out[why.cause] += 1
        except (msgspec.MsgspecError, RecursionError):
            left_out[Cause.UNREADABLE] += 1
        else:
            yield place, row.line, row.shape, row.prompt_characters, row.target_characters
