from datetime import UTC, datetime
from typing import Any

import pytest

from grafana.pictures.answers import Prometheus, period
from tests.grafana.pictures.prometheus import answering

NOON = datetime(2026, 3, 17, 12, tzinfo=UTC).timestamp()


def panel(*, instant: bool, promql: str = 'sum(rate(x{cascade=~"$cascade"}[$__range]))') -> Any:
    target = {"refId": "A", "expr": promql, "instant": instant, "legendFormat": "{{role}} of {{x}}"}
    return {"targets": [target], "interval": "30s", "gridPos": {"w": 12}}


def test_a_graph_asks_for_the_time_shown_with_no_step_below_the_panels() -> None:
    found = [{"metric": {"role": "student"}, "values": [[NOON - 30, "1.5"], [NOON, "NaN"]]}]
    with answering(found) as prometheus:
        answer = Prometheus(prometheus.url, 2).ask(panel(instant=False), NOON, 600)
    ((path, asked),) = prometheus.asked
    assert path == "/api/v1/query_range"
    assert asked["query"] == 'sum(rate(x{cascade=~".+"}[600000ms]))'
    assert (float(asked["start"]), float(asked["end"])) == (NOON - 600, NOON)
    assert float(asked["step"]) == 30
    (series,) = answer.series
    assert series.name == "student of "
    assert series.points == [(NOON - 30, 1.5)]
    assert (answer.start, answer.end) == (NOON - 600, NOON)


def test_a_number_asks_for_one_moment() -> None:
    with answering([{"metric": {}, "value": [NOON, "7"]}]) as prometheus:
        answer = Prometheus(prometheus.url, 15).ask(panel(instant=True), NOON, 600)
    ((path, asked),) = prometheus.asked
    assert path == "/api/v1/query"
    assert float(asked["time"]) == NOON
    assert [each.last for each in answer.series] == [7]


def test_series_without_a_number_are_left_out() -> None:
    with answering([{"metric": {}, "value": [NOON, "NaN"]}]) as prometheus:
        assert not Prometheus(prometheus.url, 15).ask(panel(instant=True), NOON, 600).series


def test_a_refused_query_is_told_with_its_reason() -> None:
    with (
        answering([], refused="sum(") as prometheus,
        pytest.raises(ValueError, match=r"parse error.*sum\("),
    ):
        Prometheus(prometheus.url, 15).ask(panel(instant=True), NOON, 600)


def test_a_panel_with_a_period_of_its_own_asks_for_that() -> None:
    shown = panel(instant=True) | {"timeFrom": "now/M", "timeShift": "1M/M"}
    with answering([]) as prometheus:
        Prometheus(prometheus.url, 15).ask(shown, NOON, 600)
    ((_, asked),) = prometheus.asked
    last_moment = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    assert float(asked["time"]) == pytest.approx(last_moment, abs=0.01)
    assert "[2419200000ms]" in asked["query"] or "[2419199999ms]" in asked["query"]


def test_this_month_begins_on_its_first() -> None:
    start, end = period("now/M", None, NOON)
    assert datetime.fromtimestamp(start, UTC) == datetime(2026, 3, 1, tzinfo=UTC)
    assert end == NOON


def test_the_month_before_january_is_december() -> None:
    start, end = period("now/M", "1M/M", datetime(2026, 1, 5, tzinfo=UTC).timestamp())
    assert datetime.fromtimestamp(start, UTC) == datetime(2025, 12, 1, tzinfo=UTC)
    assert datetime.fromtimestamp(end, UTC).year == 2025


def test_a_period_that_no_panel_has_is_refused() -> None:
    with pytest.raises(ValueError, match="now/y"):
        period("now/y", None, NOON)


def test_only_a_web_address_is_a_prometheus() -> None:
    with pytest.raises(ValueError, match="file:"):
        Prometheus("file:///etc/passwd", 15)
