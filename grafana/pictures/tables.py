"""Tables: the answers of several queries joined by their labels, as the panel's own merge does."""

from collections.abc import Mapping, Sequence
from typing import Any

from grafana.pictures.answers import Answer, Series
from grafana.pictures.paper import FAINT, Box, Page
from grafana.pictures.values import written

LINE = 20


def table(page: Page, box: Box, panel: Mapping[str, Any], answer: Answer) -> None:
    """A row for each set of labels, a column for each label and each query."""
    labels, columns, rows = joined(panel, answer.series)
    units = _units(panel)
    widths = [1.6] * len(labels) + [1.0] * len(columns)
    total = sum(widths)
    places = [sum(widths[:place]) / total for place in range(len(widths) + 1)]

    def cell(row: int, column: int, text: str, **style: Any) -> None:
        is_label = column < len(labels)
        at = places[column] if is_label else places[column + 1]
        left = box.left + at * (box.width - 8) + (0 if is_label else 4)
        page.text(left, box.top + 4 + row * LINE, text, ha="left" if is_label else "right", **style)

    for column, name in enumerate((*labels, *columns)):
        cell(0, column, name, color=FAINT, weight="bold", fontsize=7.5)
    most = int(box.height / LINE) - 1
    for number, (key, values) in enumerate(rows[:most], start=1):
        for column, text in enumerate(key):
            cell(number, column, text)
        for column, name in enumerate(columns, start=len(labels)):
            value = values.get(name)
            cell(number, column, "" if value is None else written(value, units[name]))


Rows = list[tuple[tuple[str, ...], dict[str, float]]]


def joined(panel: Mapping[str, Any], series: Sequence[Series]) -> tuple[list[str], list[str], Rows]:
    """The names of labels, the names of columns, and the rows in the order of their labels."""
    renamed = next(
        each["options"]["renameByName"]
        for each in panel["transformations"]
        if each["id"] == "organize"
    )
    names = {column.removeprefix("Value #"): name for column, name in renamed.items()}
    labels = list(dict.fromkeys(label for each in series for label in each.labels))
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    for each in series:
        key = tuple(each.labels.get(label, "") for label in labels)
        name = names.get(each.ref, names.get("Value", each.ref))
        rows.setdefault(key, {})[name] = each.last
    return labels, list(renamed.values()), sorted(rows.items())


def _units(panel: Mapping[str, Any]) -> dict[str, str]:
    """Each column's unit: the panel's, unless the column has one of its own."""
    config = panel["fieldConfig"]
    own = {
        override["matcher"]["options"]: each["value"]
        for override in config.get("overrides", ())
        for each in override["properties"]
        if each["id"] == "unit"
    }
    columns = panel["transformations"][-1]["options"]["renameByName"].values()
    return {name: own.get(name, config["defaults"]["unit"]) for name in columns}
