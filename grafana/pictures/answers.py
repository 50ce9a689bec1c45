"""Asks a Prometheus what the panels of a dashboard ask, as Grafana would."""

import json
import math
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from grafana.interpolation import Window, interpolated

TIMEOUT_SECONDS = 30
LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels, its name in the legend, its (time, value) points."""

    ref: str
    labels: Mapping[str, str]
    name: str
    points: Sequence[tuple[float, float]]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1]


@dataclass(frozen=True)
class Answer:
    """What a panel shows: series with at least one point each, and the time that it is about."""

    series: Sequence[Series]
    start: float
    end: float


class Prometheus:
    """The HTTP API of a Prometheus.  ``scrape`` is how often it looks, in seconds."""

    def __init__(self, url: str, scrape: float) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no address of a Prometheus: http://HOST:PORT")
        self._url = url.rstrip("/")
        self._scrape = scrape

    def ask(self, panel: Mapping[str, Any], end: float, seconds: float) -> Answer:
        """What a panel shows of the ``seconds`` before ``end``, or of its own period.

        Raises OSError where Prometheus is not to be had, ValueError where it refuses a query.
        """
        window = self._window(panel, end, seconds)
        series = [
            each
            for target in panel["targets"]
            for each in self._answer(target, window)
            if each.points
        ]
        return Answer(series, window.end - window.seconds, window.end)

    def _window(self, panel: Mapping[str, Any], end: float, seconds: float) -> Window:
        if panel.get("timeFrom") is not None:
            start, end = period(panel["timeFrom"], panel.get("timeShift"), end)
            seconds = max(end - start, 1.0)
        # A point for about every five pixels of a panel, and none closer than the panel says.
        points = panel["gridPos"]["w"] * 13
        step = max(seconds / points, _seconds(panel["interval"]), 1.0)
        return Window(end=end, seconds=seconds, step=step, scrape=self._scrape)

    def _answer(self, target: Mapping[str, Any], window: Window) -> list[Series]:
        query = {"query": interpolated(target["expr"], window)}
        if target["instant"]:
            found = self._get("query", query | {"time": f"{window.end:.3f}"})
        else:
            # Grafana's steps lie on whole multiples, so that a graph does not jitter.
            start = math.floor((window.end - window.seconds) / window.step) * window.step
            times = {"start": start, "end": window.end, "step": window.step}
            found = self._get("query_range", query | {k: f"{v:.3f}" for k, v in times.items()})
        return [
            Series(
                target["refId"],
                one["metric"],
                _named(target["legendFormat"], one["metric"]),
                _points(one.get("values") or [one["value"]]),
            )
            for one in found
        ]

    def _get(self, path: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        body = urllib.parse.urlencode(parameters).encode()
        request = urllib.request.Request(f"{self._url}/api/v1/{path}", body)  # noqa: S310 - checked
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as reply:  # noqa: S310
                told = json.load(reply)
        except urllib.error.HTTPError as error:
            raise ValueError(f"{error.read().decode()}: {parameters['query']}") from error
        data = told["data"]
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        found: list[dict[str, Any]] = data["result"]
        return found


def period(since: str, shift: str | None, end: float) -> tuple[float, float]:
    """Start and end of a panel's own period, in UTC: this month so far, or the month before it.

    Raises ValueError for periods that no dashboard of ours has.
    """
    month = datetime.fromtimestamp(end, UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    match (since, shift):
        case ("now/M", None):
            return month.timestamp(), end
        case ("now/M", "1M/M"):
            before = (month - timedelta(days=1)).replace(day=1)
            return before.timestamp(), month.timestamp() - 0.001
        case _:
            raise ValueError(f"no picture of the period {since!r}, shifted by {shift!r}")


def _named(legend: str, labels: Mapping[str, str]) -> str:
    return LABEL.sub(lambda label: labels.get(label[1], ""), legend)


def _points(values: Sequence[Sequence[Any]]) -> list[tuple[float, float]]:
    points = ((float(at), float(value)) for at, value in values)
    return [(at, value) for at, value in points if math.isfinite(value)]


def _seconds(interval: str) -> float:
    return float(interval[:-1]) * {"s": 1, "m": 60, "h": 3600}[interval[-1]]
