"""How a bill is printed: for people, for spreadsheets, for scripts."""

import csv
import io
import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from understudy.bill.books import Span
from understudy.bill.statement import BASELINE, By, Row, Value, columns

# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_ALONE = "-"
_ANY_WIDTH = 10_000


def as_csv(rows: Sequence[Row], by: Sequence[By]) -> str:
    """A line for each row below the names of its columns; what nobody knows is empty.

    A name that a spreadsheet could take for a formula gets an apostrophe before it.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*by, *columns(by)])
    for row in rows:
        writer.writerow([*map(_harmless, row.key), *row.values.values()])
    return file.getvalue()


def _harmless(name: str) -> str:
    return f"'{name}" if name.startswith(_FORMULA) and name != _ALONE else name


def as_json(rows: Sequence[Row], total: Row, by: Sequence[By], span: Span) -> str:
    """One document; dollars are texts, because no float holds them."""
    told = {
        "from": span.first.isoformat(),
        "to": span.last.isoformat(),
        "by": list(by),
        "rows": [{**dict(zip(by, row.key, strict=True)), **row.values} for row in rows],
        "total": total.values,
    }
    return json.dumps(told)


def show(rows: Sequence[Row], total: Row, by: Sequence[By], span: Span) -> None:
    """A table or, where it is too wide, a list for each row; figures that are 0 are left out."""
    console = Console()
    title = f"{span.first} to {span.last}, days by UTC, US dollars"
    if not rows:
        console.print(f"The ledger has nothing from {span.first} to {span.last}.", highlight=False)
        return
    shown = [name for name in columns(by) if not _is_empty(name, total.values[name])]
    table = _table(rows, total, by, shown)
    needed = console.measure(table, options=console.options.update(max_width=_ANY_WIDTH))
    if needed.minimum <= console.width:
        table.title = title
        console.print(table)
        return
    console.print(title, highlight=False)
    for row in rows:
        names = ", ".join(f"{name} {text}" for name, text in zip(by, row.key, strict=True))
        console.print(_listed(names, row, shown))
    console.print(_listed("total", total, shown))


def _is_empty(column: str, value: Value) -> bool:
    """Whether there is nothing in a column; a cost that nobody knows is something."""
    return value in (0, "0.0") or (value is None and column in BASELINE)


def _table(rows: Sequence[Row], total: Row, by: Sequence[By], shown: Sequence[str]) -> Table:
    table = Table(*by, show_footer=True)
    for name in shown:
        table.add_column(_heading(name), Text(_told(total.values[name])), justify="right")
    if by:
        table.columns[0].footer = Text("total")
    for row in rows:
        table.add_row(*map(Text, row.key), *(Text(_told(row.values[name])) for name in shown))
    return table


def _listed(names: str, row: Row, shown: Sequence[str]) -> Table:
    figures = Table(Column(Text(names)), Column(justify="right"), box=None, pad_edge=False)
    for name in shown:
        figures.add_row(f"  {_heading(name)}", Text(_told(row.values[name])))
    return figures


def _heading(column: str) -> str:
    return column.replace("_usd", "").replace("_", " ")


def _told(value: Value) -> str:
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else value
