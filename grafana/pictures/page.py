"""A dashboard as one picture: its grid, and in each cell a frame with title, drawing or excuse."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from matplotlib.figure import Figure

from grafana.pictures.answers import Answer
from grafana.pictures.paper import COLUMN, COLUMNS, FAINT, GAP, HEADER, ROW, Box, Page
from grafana.pictures.shapes import DRAWINGS

Ask = Callable[[Mapping[str, Any]], Answer]


def drawn(board: Mapping[str, Any], ask: Ask, end: float) -> Figure:
    """The whole dashboard; ``ask`` gives what each panel shows."""
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    page = Page(rows)
    page.text(GAP + 4, 10, board["title"], fontsize=15, weight="bold")
    page.text(GAP + 4, 36, board["description"], color=FAINT)
    stamp = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d %H:%M UTC")
    page.text(
        COLUMNS * COLUMN - 4,
        16,
        f"drawn from a Prometheus' answers, {stamp}",
        color=FAINT,
        ha="right",
    )
    for panel in board["panels"]:
        place = panel["gridPos"]
        box = Box(
            place["x"] * COLUMN + GAP,
            place["y"] * ROW + HEADER,
            place["w"] * COLUMN - GAP,
            place["h"] * ROW - GAP,
        )
        if panel["type"] == "row":
            page.text(box.left + 4, box.top + 8, panel["title"], fontsize=10, weight="bold")
        else:
            _panel(page, box, panel, ask(panel))
    return page.figure


def _panel(page: Page, box: Box, panel: Mapping[str, Any], answer: Answer) -> None:
    page.card(box)
    page.text(box.left + 8, box.top + 7, panel["title"], fontsize=8.5, weight="bold")
    inner = box.within(8, 26, 8, 6)
    if not answer.series:
        _excuse(page, inner, panel["fieldConfig"]["defaults"]["noValue"])
        return
    DRAWINGS[panel["type"]](page, inner, panel, answer)


def _excuse(page: Page, box: Box, text: str) -> None:
    """Why there is nothing, in the middle."""
    words, lines, most = text.split(), [""], int(box.width / 6.2)
    for word in words:
        if len(lines[-1]) + len(word) + 1 > most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    page.text(
        box.left + box.width / 2,
        box.top + box.height / 2,
        "\n".join(lines),
        ha="center",
        va="center",
        color=FAINT,
        style="italic",
    )
