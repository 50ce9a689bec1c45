"""The committed dashboards, as tests read them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "grafana" / "dashboards"
FILES = sorted(FOLDER.glob("*.json"))
STRING = re.compile(r'"[^"]*"')
METRIC = re.compile(r"\b(?:understudy|gen_ai)_[a-z0-9_]+")


def boards() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each dashboard by its file's name."""
    return ((path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in FILES)


def panels() -> list[tuple[str, dict[str, Any]]]:
    """Each panel of each dashboard, rows left out, with a name to tell it by."""
    return [
        (f"{name}-{panel['id']}", panel)
        for name, board in boards()
        for panel in board["panels"]
        if panel["type"] != "row"
    ]


def queries() -> list[tuple[str, str]]:
    """Each query of each panel, with a name to tell it by."""
    return [
        (f"{name}-{target['refId']}", target["expr"])
        for name, panel in panels()
        for target in panel["targets"]
    ]


def metrics_in(promql: str) -> set[str]:
    """The metrics that a query asks for; labels are no metrics."""
    return set(METRIC.findall(STRING.sub("", promql)))
