"""The rules and alerts of deploy/prometheus: Prometheus takes them, they do what they say, and each
of them leads somewhere."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.facts import GenerationsTaken
from gateway.passage import Passage, PassedThrough
from gateway.telemetry.objective_metrics import Target
from gateway.wire.passing import PassedRoute
from routing.rollout_file import generations_from_document
from tests.fakes.generations import generation, state
from tests.gateway.telemetry.test_metrics import fact, metrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus"
RUNBOOK = ROOT / "deploy/runbook.md"
METRICS_PAGE = ROOT / "docs/metrics.md"
DASHBOARDS = ROOT / "grafana/dashboards"
UNIT_TESTS = sorted((RULES / "tests").glob("*.yaml"))
# Of much made-up history, which takes long to make.
LONG = frozenset({"months", "quiet_for_weeks", "routing", "service"})

PREFIX = "Understudy"
PARTS_OF_A_HEADING = ("**Users notice**", "**find out**", "**Now**", "**Later**")
# Metrics that are not the gateway's own: Prometheus' and its client library's.
FOREIGN = {"up", "process_start_time_seconds", "ALERTS"}
# Sums that no alert reads: what a month has saved, for people who ask.
FOR_PEOPLE = {
    "cascade:understudy_net_saving_usd:increase30d",
    "cascade:understudy_net_saving_usd:margin30d",
}

# What a gateway shows only once it has models.
SHOWN_LATER = {"understudy_upstream_max_calls", "understudy_upstream_open_calls"}

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool here (Debian: apt install prometheus): no rule was tried"
)

Rule = dict[str, Any]


def promtool(*arguments: str | Path) -> None:
    ran = subprocess.run(
        [str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@cache
def rules() -> tuple[Rule, ...]:
    return tuple(
        rule
        for name in ("recording.yaml", "alerts.yaml")
        for group in yaml.safe_load((RULES / name).read_text())["groups"]
        for rule in group["rules"]
    )


ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDED = [rule["record"] for rule in rules() if "record" in rule]


def short_name(alert: Rule) -> str:
    name: str = alert["alert"]
    assert name.startswith(PREFIX)
    return name.removeprefix(PREFIX)


def id_of(alert: Rule) -> str:
    return f"{alert['alert']}-{alert['labels']['severity']}"


every_alert = pytest.mark.parametrize("alert", ALERTS, ids=id_of)


@needs_promtool
def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", *sorted(RULES.glob("[ar]*.yaml")))


@needs_promtool
def test_prometheus_takes_the_example() -> None:
    promtool("check", "config", RULES / "prometheus.example.yaml")


@needs_promtool
@pytest.mark.timeout(300)  # seconds of one processor, which others may be using too
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.full if path.stem in LONG else ())
        for path in UNIT_TESTS
    ],
    ids=lambda path: path.stem,
)
def test_rules_do_what_their_unit_tests_say(
    path: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    is_full = bool(request.config.getoption("--full"))
    promtool("test", "rules", path if is_full else with_few_rules(path, tmp_path))


def with_few_rules(path: Path, folder: Path) -> Path:
    """The same unit tests, of the rules that they ask about and no others.

    In each of its tests promtool evaluates every rule there is, which takes four times as long.
    """
    document = yaml.safe_load(path.read_text())
    alerts, series = asked_of(document["tests"])
    if "ALERTS" in series:  # that none of them fires
        return path
    asked = [rule for rule in ALERTS if rule["alert"] in alerts]
    while more := [
        rule
        for rule in rules()
        if rule not in asked
        and rule.get("record") in series.union(*(names_in(each["expr"]) for each in asked))
    ]:
        asked += more
    for number, name in enumerate(document["rule_files"]):
        few = yaml.safe_load((path.parent / name).read_text())
        for group in few["groups"]:
            group["rules"] = [rule for rule in group["rules"] if rule in asked]
        few["groups"] = [group for group in few["groups"] if group["rules"]]
        (folder / f"rules-{number}.yaml").write_text(yaml.safe_dump(few))
        document["rule_files"][number] = f"rules-{number}.yaml"
    made = folder / path.name
    made.write_text(yaml.safe_dump(document, sort_keys=False))
    return made


def asked_of(tests: list[Rule]) -> tuple[set[str], set[str]]:
    """The alerts that unit tests expect something of, and the series that they ask for."""
    alerts = {case["alertname"] for test in tests for case in test.get("alert_rule_test", [])}
    queries = [case["expr"] for test in tests for case in test.get("promql_expr_test", [])]
    return alerts, set[str]().union(*map(names_in, queries))


@every_alert
def test_an_alert_says_how_bad_it_is_and_what(alert: Rule) -> None:
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in {"page", "ticket"}
    for name in ("summary", "description"):
        assert alert["annotations"][name].endswith("."), "a sentence"
    if alert["labels"]["severity"] == "page":
        assert re.fullmatch(r"[1-9]\d*m", alert["for"]), "nobody is woken for a moment"


def headings() -> dict[str, str]:
    """Each alert's heading in the runbook, with what stands below it."""
    parts = re.split(r"^#{2,3} (.+)$", RUNBOOK.read_text(), flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {name: text for name, text in found.items() if text.strip()}


@every_alert
def test_an_alert_leads_to_its_heading_in_the_runbook(alert: Rule) -> None:
    name = short_name(alert)
    assert alert["annotations"]["runbook_url"] == f"deploy/runbook.md#{name.lower()}"
    text = headings()[name]
    severity: str = alert["labels"]["severity"]
    assert severity in text.partition(".")[0].lower(), "its first word is how bad it is"
    for part in PARTS_OF_A_HEADING:
        assert part.lower() in text.lower(), part


def test_the_runbook_has_no_heading_without_an_alert() -> None:
    assert set(headings()) == set(map(short_name, ALERTS))


def test_links_within_the_runbook_lead_to_headings() -> None:
    targets = set(re.findall(r"\(#([^)]+)\)", RUNBOOK.read_text()))
    assert targets
    assert targets <= {name.lower() for name in headings()}


@every_alert
def test_an_alert_leads_to_a_panel_and_that_to_the_runbook(alert: Rule) -> None:
    url = alert["annotations"]["dashboard_url"]
    found = re.fullmatch(
        r"/d/understudy-([a-z]+)\?viewPanel=([1-9]\d*)"
        r"(?:&var-cascade=\{\{ \$labels\.cascade \}\})?",
        url,
    )
    assert found, url
    board = json.loads((DASHBOARDS / f"{found[1]}.json").read_text())
    assert board["uid"] == f"understudy-{found[1]}"
    links = panels_of(board)[int(found[2])].get("links", [])
    heading = short_name(alert).lower()
    assert [link for link in links if link["url"].endswith(f"/deploy/runbook.md#{heading}")]


def panels_of(board: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The panels of a dashboard by their ids, those in rows that are folded up too."""
    found: dict[int, dict[str, Any]] = {}
    for panel in board.get("panels", []):
        found |= {panel["id"]: panel, **panels_of(panel)}
    return found


def names_in(expression: str) -> set[str]:
    """Metrics and recorded series that an expression asks for."""
    bare = re.sub(r"\"[^\"]*\"|\{[^}]*\}|\[[^]]*\]", " ", expression)
    bare = re.sub(r"\b(?:by|on|without|ignoring|group_left|group_right) \([^)]*\)", " ", bare)
    names = re.findall(r"(?<![\w:.])[a-zA-Z_][\w:]*(?![\w:]|\s*\()", bare)
    words = {"and", "or", "unless", "offset", "bool", "by", "on", "group_left", "group_right"}
    return set(names) - words


def test_names_are_found_in_an_expression() -> None:
    found = names_in('sum by (role) (rate(a_total{code="x"}[5m])) > on (job) b:c:d offset 1h')
    assert found == {"a_total", "b:c:d"}


def documented() -> set[str]:
    return set(re.findall(r"^\| `(understudy_\w+)` \|", METRICS_PAGE.read_text(), re.MULTILINE))


def metric_of(series: str) -> str:
    """A histogram's series by the name of the histogram."""
    return re.sub(r"_(bucket|count|sum)$", "", series)


def test_every_metric_that_a_rule_asks_for_is_documented() -> None:
    asked = set[str]().union(*(names_in(rule["expr"]) for rule in rules()))
    metrics = {metric_of(name) for name in asked if ":" not in name} - FOREIGN
    assert metrics
    missing = sorted(metrics - documented())
    assert not missing, f"not in docs/metrics.md: {missing}"


def label_values() -> dict[tuple[str, str], set[str]]:
    """The values of each label of each metric that a gateway shows after one streamed answer, one
    promotion, a request to a named model and to none, and what cascades may be held to."""
    counted = metrics()
    counted.settled(fact(is_stream=True, first_byte_seconds=1.0))
    taken = generations_from_document(json.loads(state(1, generation(1, "http://elsewhere"))))
    counted.rollouts.taken(GenerationsTaken("a", None, taken, is_news=True))
    counted.pairs.completions_kept("assistant")
    counted.passed.begin("embed", [PassedRoute.EMBEDDINGS])
    counted.passed.passed_through(
        PassedThrough("r", None, PassedRoute.EMBEDDINGS, Passage.REJECTED, 404, 0.1)
    )
    for stands in ("gathering", "holding", "released"):
        counted.objectives.shown(f"one that is {stands}", stands, {})
    counted.objectives.aims("a", Target("spend", 12.0))
    found: dict[tuple[str, str], set[str]] = {}
    for family in text_string_to_metric_families(counted.exposition().decode()):
        for sample in family.samples:
            for label, value in sample.labels.items():
                found.setdefault((sample.name, label), set()).add(value)
    return found


def test_what_a_rule_chooses_by_is_what_a_gateway_shows() -> None:
    shown = label_values()
    wrong = [
        f"{name}{{{label}={value!r}}}"
        for rule in rules()
        for name, matchers in re.findall(r"\b(understudy_\w+)\{([^}]*)\}", rule["expr"])
        for label, values in re.findall(r"(\w+)[!=]=?~?\"([^\"]*)\"", matchers)
        for value in values.split("|")
        if name not in SHOWN_LATER and value not in shown.get((name, label), ())
    ]
    assert not wrong


def test_every_recorded_series_is_asked_for_and_every_one_asked_for_is_recorded() -> None:
    asked = set[str]().union(*(names_in(rule["expr"]) for rule in rules()))
    assert {name for name in asked if ":" in name} | FOR_PEOPLE == set(RECORDED)
    assert len(RECORDED) == len(set(RECORDED))


@cache
def unit_tests() -> tuple[Rule, ...]:
    return tuple(test for path in UNIT_TESTS for test in yaml.safe_load(path.read_text())["tests"])


def expected_alerts() -> Iterator[tuple[str, list[Rule]]]:
    for test in unit_tests():
        for case in test.get("alert_rule_test", []):
            yield case["alertname"], case["exp_alerts"]


@every_alert
def test_an_alert_has_a_unit_test_that_fires_and_one_that_is_silent(alert: Rule) -> None:
    severity = alert["labels"]["severity"]
    fires = [
        any(one["exp_labels"]["severity"] == severity for one in expected)
        for name, expected in expected_alerts()
        if name == alert["alert"]
    ]
    assert True in fires
    assert False in fires


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_series_has_a_unit_test_with_a_number_and_one_without(name: str) -> None:
    has_number = [
        bool(case["exp_samples"])
        for test in unit_tests()
        for case in test.get("promql_expr_test", [])
        if name in names_in(case["expr"])
    ]
    assert True in has_number
    assert False in has_number


def test_unit_tests_have_names_of_their_own() -> None:
    names = [test["name"] for test in unit_tests()]
    assert len(names) == len(set(names))
