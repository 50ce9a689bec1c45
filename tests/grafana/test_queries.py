import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from grafana import queries
from grafana.interpolation import Window, interpolated
from routing import baseline
from tests.architecture.source import ROOT, modules
from tests.architecture.test_documented import METRICS, METRICS_PAGE, metrics_of
from tests.grafana.committed import metrics_in
from tests.grafana.committed import queries as all_queries

PROMTOOL = shutil.which("promtool")
HOUR = Window(end=0, seconds=3600, step=30)
QUERIES = all_queries()
each_query = pytest.mark.parametrize(
    "promql", [promql for _, promql in QUERIES], ids=[name for name, _ in QUERIES]
)

SERIES_OF_A_HISTOGRAM = ("_bucket", "_count", "_sum")
ROW = re.compile(r"^\| `(?P<name>\w+)` \|[^|]*\|(?P<labels>[^|]*)\|", re.MULTILINE)
SELECTOR = re.compile(r"(understudy_[a-z0-9_]+)\{([^}]*)\}")
GROUPED = re.compile(r"\bby \(([^)]*)\) \(+(?:(?:rate|increase)\()?(understudy_[a-z0-9_]+)")


def _family(series: str, known: set[str]) -> str:
    """The metric that a series belongs to."""
    for end in SERIES_OF_A_HISTOGRAM:
        if series not in known and series.removesuffix(end) in known:
            return series.removesuffix(end)
    return series


def _documented_labels() -> dict[str, set[str]]:
    page = (ROOT / METRICS_PAGE).read_text(encoding="utf-8")
    return {
        row["name"]: {label.strip() for label in row["labels"].split(",") if label.strip()}
        for row in ROW.finditer(page)
    }


def test_every_metric_that_is_asked_for_exists() -> None:
    telemetry = [each for each in modules() if each.path.startswith(METRICS)]
    known = set[str]().union(*map(metrics_of, telemetry))
    asked = {series for _, promql in QUERIES for series in metrics_in(promql)}
    assert asked
    assert {_family(series, known) for series in asked} <= known


def test_queries_use_the_labels_that_a_metric_has() -> None:
    labels = _documented_labels()
    for name, promql in QUERIES:
        for series, matchers in SELECTOR.findall(promql):
            used = {re.split(r"[=!]", each)[0] for each in matchers.split(", ")}
            metric = _family(series, set(labels))
            assert used - {"le", "namespace", "job"} <= labels.get(metric, used), (
                f"{name}: {series} {used}"
            )
        for grouping, series in GROUPED.findall(promql):
            used = {each.strip() for each in grouping.split(",")}
            metric = _family(series, set(labels))
            assert used - {"le", "instance"} <= labels.get(metric, used), f"{name}: {series} {used}"


@each_query
def test_counters_are_read_by_their_growth_alone(promql: str) -> None:
    """Their absolute value is lost with each restart."""
    for found in re.finditer(r"understudy_\w+(?:_total|_bucket|_count|_sum)\b", promql):
        before = promql[: found.start()]
        assert before.endswith(("rate(", "increase(")), found[0]


@each_query
def test_gauges_are_no_counters(promql: str) -> None:
    for found in re.finditer(r"(?:rate|increase)\((\w+)", promql):
        assert found[1].endswith(("_total", "_bucket", "_count", "_sum")), found[1]


@each_query
def test_buckets_of_all_replicas_are_added_up_before_a_quantile_is_taken(promql: str) -> None:
    for found in re.finditer(r"histogram_quantile\(", promql):
        assert re.match(r"0\.\d+, sum by \(le", promql[found.end() :])


@each_query
def test_nothing_is_divided_by_what_may_be_zero(promql: str) -> None:
    for found in re.finditer(r" / (?:on \(\) group_left \(\) )?", promql):
        divisor = promql[found.end() :]
        assert divisor.startswith("(")
        depth = 0
        for place, letter in enumerate(divisor):
            depth += {"(": 1, ")": -1}.get(letter, 0)
            if depth == 0:
                assert divisor[: place + 1].endswith("> 0)"), divisor[: place + 1]
                break


@each_query
def test_gateways_and_cascades_can_be_chosen_wherever_a_metric_has_them(promql: str) -> None:
    labels = _documented_labels()
    for series in metrics_in(promql):
        has_cascades = "cascade" in labels.get(_family(series, set(labels)), {"cascade"})
        assert f'{series}{{namespace=~"$namespace", job=~"$job"' in promql
        assert has_cascades == (f"{series}{{{queries.OF}" in promql), series


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: queries went unparsed")
def test_promtool_can_parse_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"q:{number}", "expr": interpolated(promql, HOUR)}
        for number, (_, promql) in enumerate(QUERIES)
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    assert PROMTOOL is not None
    told = subprocess.run(
        [PROMTOOL, "check", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_grafana_leaves_no_variable_of_ours_in_a_query() -> None:
    for name, promql in QUERIES:
        assert "$" not in interpolated(promql, HOUR), name


def test_the_rate_interval_holds_four_scrapes() -> None:
    assert interpolated("rate(x[$__rate_interval])", HOUR) == "rate(x[60000ms])"
    wide = Window(end=0, seconds=86400, step=120)
    assert interpolated("rate(x[$__rate_interval])", wide) == "rate(x[135000ms])"


def test_the_range_is_what_is_shown_and_all_cascades_are_chosen() -> None:
    promql = interpolated('increase(x{cascade=~"$cascade"}[$__range])', HOUR)
    assert promql == 'increase(x{cascade=~".+"}[3600000ms])'


def test_a_share_is_nought_where_its_part_never_was() -> None:
    assert queries.share("a", "b") == "((a) or 0 * (b)) / ((b) > 0)"


def test_the_interval_is_the_bills() -> None:
    assert float(queries.DEVIATIONS) == baseline.NORMAL_95
    assert queries.LEAST_HELD_OUT == baseline.LEAST_HELD_OUT
