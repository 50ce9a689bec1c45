"""Which lines of one format become its files: one a prompt, so many a tenant, in a fixed order.

The order is by time, but for the first lines: they show every shape that the file has, because
whoever reads it in pieces (``datasets`` does) takes its types from the first piece.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.causes import Cause
from distill.rows import Format
from understudy.pairs.choice import Choice
from understudy.pairs.index import Index, parquet_at

# What is shown first is less than the 10 MiB that ``datasets`` reads at first.
LEADING_BYTES = 8 * 2**20
FETCH_ROWS = 1000

SIDES = (("train", False), ("holdout", True))


@dataclass(frozen=True, slots=True)
class Selected:
    """The table of one format in the index: ``place``, ``is_holdout``, ``cause`` and ``rank``."""

    index: Index
    table: str
    lines: Path | None

    def rows_of(self, *, is_holdout: bool) -> Iterator[list[bytes]]:
        """The lines of one side, in order, some at a time."""
        if self.lines is None:
            return
        reader: Any = self.index.db.sql(
            f"select l.line from {parquet_at(self.lines)} l "  # noqa: S608
            f"join {self.table} t on t.place = l.place "
            f"where t.cause is null and t.is_holdout = {is_holdout} "
            "order by t.lead desc, t.time, t.id"
        ).to_arrow_reader(FETCH_ROWS)
        for batch in reader:
            yield batch.column(0).to_pylist()

    def counted(self, column: str) -> list[tuple[Any, int]]:
        """How many of the chosen rows have each value of a mark."""
        return self.index.rows(
            f"select p.{column}, count(*) from {self.table} t join pairs p on p.place = t.place "  # noqa: S608
            "where t.cause is null group by all"
        )

    def buckets(self, column: str) -> list[tuple[int, int]]:
        """How many of the chosen rows have at most so many characters, in powers of two."""
        if self.lines is None:
            return []
        return self.index.rows(
            f"select case when {column} = 0 then 0 "  # noqa: S608
            f"else (2 ** ceil(log2({column})))::bigint end as bucket, count(*) from {self.table} "
            "where cause is null group by bucket order by bucket"
        )


def select(index: Index, form: Format, lines: Path | None, choice: Choice) -> Selected:
    """Choose among a format's lines, or among all pairs where it has none."""
    table = f"selected_{form.value.replace('-', '_')}"
    index.db.execute(_among_lines(table, lines) if lines is not None else _among_pairs(table))
    selected = Selected(index, table, lines)
    if choice.deduplicate == "prompt":
        _leave_out(index, table, Cause.DUPLICATE_PROMPT, _older(table))
    if choice.tenant_cap is not None:
        _leave_out(index, table, Cause.OVER_TENANT_CAP, _over(table, choice.tenant_cap))
    index.db.execute(f"update {table} set lead = true where place in ({_leading(table)})")  # noqa: S608
    return selected


def _among_lines(table: str, lines: Path) -> str:
    return (
        f"create table {table} as select p.place, p.part, p.row, p.id, p.time, p.tenant, "  # noqa: S608
        "p.prompt_hash, p.is_holdout, l.shape, octet_length(l.line) as size, l.prompt_characters, "
        "l.target_characters, null::varchar as cause, false as lead "
        f"from {parquet_at(lines)} l join pairs p on p.place = l.place"
    )


def _among_pairs(table: str) -> str:
    return (
        f"create table {table} as select place, part, row, id, time, tenant, prompt_hash, "  # noqa: S608
        "is_holdout, '' as shape, 0 as size, null::varchar as cause, false as lead "
        "from pairs where cause is null"
    )


def _leave_out(index: Index, table: str, cause: Cause, places: str) -> None:
    index.db.execute(f"update {table} set cause = ? where place in ({places})", [cause.value])  # noqa: S608


def _older(table: str) -> str:
    """The newest of equal prompts stays.  What has no prompt to compare stays too."""
    return (
        f"select t.place from {table} t join (select prompt_hash, "  # noqa: S608
        f"max_by(place, {{'time': time, 'id': id}}) as newest from {table} "
        "where prompt_hash is not null group by prompt_hash) n "
        "on n.prompt_hash = t.prompt_hash where t.place <> n.newest"
    )


def _over(table: str, most: int) -> str:
    """Beyond a tenant's cap, in an order that has nothing to do with sides, times or lengths."""
    return (
        "select place from (select place, row_number() over (partition by tenant "  # noqa: S608
        f"order by md5(coalesce(prompt_hash, '') || id), id) as number from {table} "
        f"where cause is null) where number > {most}"
    )


def _leading(table: str) -> str:
    """The shortest line of each shape, as many as go into the first piece of a file."""
    return (
        "select place from (select place, sum(size) over (partition by is_holdout "  # noqa: S608
        "order by size, shape) as until from (select is_holdout, shape, "
        "min_by(place, {'size': size, 'id': id}) as place, min(size) as size "
        f"from {table} where cause is null group by is_holdout, shape)) "
        f"where until <= {LEADING_BYTES}"
    )
