"""The marks of all pairs in a DuckDB file, and which of them are left out and why.

Payloads never come here, so that millions of pairs fit; what does not fit in memory goes to the
disk.  A pair's ``place`` is the number of its part and its row in it.
"""

import glob
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from distill.causes import Cause
from distill.deletions import Deletions
from understudy.pairs.choice import Choice
from understudy.telling import CommandError

ROWS_A_PART = 2**32
THREADS = 2

COLUMNS = (
    "id", "completes", "time", "tenant", "request_id", "reason", "confidence", "student_version",
    "teacher_model", "teacher_version", "policy_version", "tenant_may_train",
    "teacher_outputs_may_train", "dropped", "prompt_hash",
)  # fmt: skip

_CREATE = """
create table marks (
    place ubigint, part uinteger, row uinteger, cascade varchar,
    id varchar, completes varchar, time double, tenant varchar, request_id varchar, reason varchar,
    confidence double, student_version varchar, teacher_model varchar, teacher_version varchar,
    policy_version varchar, tenant_may_train boolean, teacher_outputs_may_train boolean,
    dropped varchar, prompt_hash varchar, is_holdout boolean, is_broken boolean
);
create table deleted_requests (cascade varchar, request_id varchar);
create table deleted_tenants (cascade varchar, tenant varchar, until double);
"""

# What is deleted is so in every copy, because copies are equal; of the others the first stays.
_RECORDS = """
create table records as
with wished as (
    select m.*, r.request_id is not null or m.time <= coalesce(t.until, '-infinity') as is_deleted
    from marks m
    left join deleted_requests r on r.cascade = m.cascade and r.request_id = m.request_id
    left join deleted_tenants t on t.cascade = m.cascade and t.tenant = m.tenant
), firsts as (
    select id, min(place) as place from wished group by id
)
select w.*, case
    when is_deleted then 'deleted'
    when w.place <> f.place then 'duplicate_id'
    when $cascade is not null and cascade <> $cascade then 'other_cascade'
    when len($reasons) > 0 and not list_contains($reasons, coalesce(reason, '')) then 'other_reason'
    when time < coalesce($since, '-infinity'::double)
        or time >= coalesce($until, 'infinity'::double) then 'other_time'
    when len($versions) > 0 and not list_contains($versions, student_version)
        then 'other_student_version'
    when ($least is not null or $most is not null) and (confidence is null
        or confidence < coalesce($least, 0) or confidence > coalesce($most, 1))
        then 'other_confidence'
end as cause
from wished w join firsts f on f.id = w.id
"""

# A draft that was finished later came with a record of its own, which has all that this one has.
_PAIRS = """
create table pairs as
with finished as (
    select distinct completes as id from records where cause is null and completes is not null
)
select r.* exclude (cause), case
    when r.cause is not null then r.cause
    when f.id is not null then 'completed_later'
end as cause
from records r left join finished f on f.id = r.id
"""

# Of training sets alone: who may learn from a pair, and whether there is anything to learn.
_CONSENT = """
create view consented as
select *, case
    when cause is not null then cause
    when not tenant_may_train then 'tenant_may_not_train'
    when not teacher_outputs_may_train then 'teacher_outputs_may_not_train'
    when dropped is not null then 'content_dropped'
    when is_broken then 'seal_broken'
end as obstacle
from pairs
"""


def parquet_at(path: Path) -> str:
    """A Parquet file as queries name it: nothing in its path is a quote or a pattern."""
    literal = glob.escape(str(path)).replace("'", "''")
    return f"read_parquet('{literal}')"


class Index:
    """One DuckDB file in a folder for work that is thrown away afterwards."""

    def __init__(self, folder: Path, memory_limit: str) -> None:
        """Raises CommandError where the limit is none."""
        self.folder = folder
        self.db = duckdb.connect(str(folder / "index.duckdb"))
        try:
            self.db.execute("set memory_limit = ?", [memory_limit])
        except duckdb.Error as error:
            raise CommandError(f"--memory-limit: {error}") from None
        self.db.execute("set temp_directory = ?", [str(folder / "spill")])
        self.db.execute("set threads = ?", [THREADS])
        self.db.execute("set enable_progress_bar = false")
        self.db.execute(_CREATE)

    def add(self, cascade: str, part: int, first_row: int, marks: Any) -> None:
        """Take the marks of some rows of a part: a table of COLUMNS, is_holdout and is_broken."""
        rows = range(first_row, first_row + marks.num_rows)
        places = pa.array([part * ROWS_A_PART + row for row in rows], pa.uint64())
        table = marks.append_column("place", places)
        self.db.register("added", table)
        named = ", ".join(COLUMNS)
        self.db.execute(
            f"insert into marks (place, part, row, cascade, {named}, is_holdout, is_broken) "  # noqa: S608
            f"select place, ?, place % {ROWS_A_PART}, ?, {named}, is_holdout, is_broken from added",
            [part, cascade],
        )
        self.db.unregister("added")

    def choose(self, choice: Choice, cascade: str | None, wishes: Mapping[str, Deletions]) -> None:
        """Say of every pair whether it is left out, and why."""
        for name, deletions in wishes.items():
            self._insert("deleted_requests", [(name, each) for each in deletions.requests])
            self._insert("deleted_tenants", [(name, *each) for each in deletions.tenants.items()])
        since, until = choice.span()
        self.db.execute(
            _RECORDS,
            {
                "cascade": cascade,
                "reasons": list(choice.reason),
                "since": since,
                "until": until,
                "versions": list(choice.student_version),
                "least": choice.min_confidence,
                "most": choice.max_confidence,
            },
        )
        self.db.execute(_PAIRS)
        self.db.execute(_CONSENT)

    def _insert(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self.db.executemany(f"insert into {table} values ({marks})", rows)  # noqa: S608

    def causes(self, table: str, column: str) -> Counter[str]:
        """How many rows of a table each cause left out."""
        return Counter(dict(self.db.execute(
            f"select {column}, count(*) from {table} where {column} is not null group by all"  # noqa: S608
        ).fetchall()))  # fmt: skip

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self.value(f"select count(*) from {table}"))  # noqa: S608

    def value(self, query: str) -> Any:
        """The one value that a query gives."""
        ((found,),) = self.rows(query)
        return found

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows that a query gives: for few of them."""
        return self.db.execute(query).fetchall()

    def without_consent(self) -> list[dict[str, Any]]:
        """Who was left out for want of consent, and how often."""
        causes = (Cause.TENANT_MAY_NOT_TRAIN, Cause.TEACHER_OUTPUTS_MAY_NOT_TRAIN)
        found = self.db.execute(
            "select cascade, tenant, teacher_model, obstacle, count(*) from consented "
            "where list_contains(?, obstacle) group by all order by all",
            [[cause.value for cause in causes]],
        ).fetchall()
        names = ("cascade", "tenant", "teacher", "cause", "pairs")
        return [dict(zip(names, row, strict=True)) for row in found]

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()


@contextmanager
def opened_index(folder: Path, memory_limit: str) -> Iterator[Index]:
    """An index in a folder, closed at the end.

    Raises CommandError where the limit is none or too little, or the disk fails.
    """
    try:
        index = Index(folder, memory_limit)
        try:
            yield index
        finally:
            index.close()
    except duckdb.OutOfMemoryException:
        raise CommandError(
            f"--memory-limit: {memory_limit} is too little for so many pairs, or the disk beside "
            "the parts is full: say more, or make room there"
        ) from None
    except duckdb.IOException as error:
        words = str(error).splitlines()[0].removeprefix("IO Error: ")
        raise CommandError(f"{folder.parent}: {words}") from None
