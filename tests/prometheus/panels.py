"""The queries of all dashboards, with Grafana's variables filled in as Grafana does it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.prometheus.history import SCRAPE_SECONDS

DASHBOARDS = Path(__file__).parents[2] / "grafana" / "dashboards"

# What is shown, in seconds, and how far apart the points of a graph are.
RANGE_SECONDS = 3600
STEP_SECONDS = 30
# Grafana's rule: four scrapes, or a step and a scrape where that is longer.
PACE_SECONDS = max(4 * SCRAPE_SECONDS, STEP_SECONDS + SCRAPE_SECONDS)
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::(\w+))?\}|(\w+))")


@dataclass(frozen=True)
class PanelQuery:
    """One query of one panel: ``place`` is the dashboard's uid, the panel's id, the query's.

    ``period`` and ``earlier`` are the panel's own time, where it has one.
    """

    place: tuple[str, int, str]
    title: str
    promql: str
    variables: Mapping[str, str]
    period: str | None = None
    earlier: str | None = None

    def shown(self, at: float) -> tuple[float, float]:
        """From when to when it shows, on a dashboard that shows an hour up to a time."""
        if self.period is None:
            assert self.earlier is None
            return at - RANGE_SECONDS, at
        assert self.period == "now/M"
        month = datetime.fromtimestamp(at, UTC).replace(day=1, hour=0, minute=0, second=0)
        if self.earlier is None:
            return month.timestamp(), at
        assert self.earlier == "1M/M"
        before = (month - timedelta(days=1)).replace(day=1)
        return before.timestamp(), month.timestamp()

    def filled(self, seconds: float, **chosen: list[str]) -> str:
        """The query as Grafana sends it for a range of so many seconds.

        ``chosen`` are values of variables, all of them by default.
        """
        known = {
            **self.variables,
            **{name: _joined(values) for name, values in chosen.items()},
            "__rate_interval": f"{PACE_SECONDS}s",
            "__interval": f"{STEP_SECONDS}s",
            "__range": f"{seconds:.0f}s",
            "__range_s": f"{seconds:.0f}",
        }
        return _VARIABLE.sub(lambda match: known[match[1] or match[3]], self.promql)


def _joined(values: list[str]) -> str:
    """Several values in a label matcher, as Grafana's Prometheus writes them."""
    escaped = [re.sub(r"([\\^$*+?.()|{}\[\]])", r"\\\\\1", value) for value in values]
    return escaped[0] if len(escaped) == 1 else "(" + "|".join(escaped) + ")"


def panel_queries(folder: Path = DASHBOARDS) -> Iterator[PanelQuery]:
    """Every query of every panel of every dashboard in a folder."""
    for path in sorted(folder.glob("*.json")):
        dashboard = json.loads(path.read_text())
        variables = dict(_all_of(dashboard.get("templating", {}).get("list", ())))
        for panel in _panels(dashboard["panels"]):
            for target in panel.get("targets", ()):
                place = (dashboard["uid"], panel["id"], target["refId"])
                yield PanelQuery(
                    place=place,
                    title=panel["title"],
                    promql=target["expr"],
                    variables=variables,
                    period=panel.get("timeFrom"),
                    earlier=panel.get("timeShift"),
                )


def _panels(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Panels, those in folded rows among them."""
    for panel in panels:
        yield from _panels(panel.get("panels") or [])
        if panel["type"] != "row":
            yield panel


def _all_of(variables: Any) -> Iterator[tuple[str, str]]:
    """What each variable that a query may name stands for while all is chosen."""
    for variable in variables:
        if variable["type"] == "query":
            assert variable.get("allValue"), f"{variable['name']}: no value for all of it"
            yield variable["name"], variable["allValue"]
