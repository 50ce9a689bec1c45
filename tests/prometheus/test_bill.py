"""A real Prometheus beside real gateways, under traffic of known cost.

It is one test, for the traffic is dear; each number that it checks is a subtest.
"""

from pathlib import Path

import pytest

from tests.prometheus import checking
from tests.prometheus.expected import PANELS, RULES
from tests.prometheus.panels import panel_queries
from tests.prometheus.rules import rule_files, rules
from tests.prometheus.run import play_all, running
from tests.prometheus.server import binaries


@pytest.mark.timeout(180)
def test_prometheus_shows_what_the_traffic_cost(tmp_path: Path, subtests: pytest.Subtests) -> None:
    binaries()
    with running(tmp_path) as run:
        play_all(run)
        for check in (checking.check_pages, checking.check_scraped, checking.check_rent):
            with subtests.test(check.__doc__):
                check(run)
        with subtests.test(checking.check_ledger.__doc__):
            checking.check_ledger(run)
        history, prometheus = run.history(), run.prometheus
        prometheus.stop()
        prometheus.backfill(history.lines())
        prometheus.start()
        for query in panel_queries():
            with subtests.test(f"{query.place}: {query.title}"):
                checking.check_panel(prometheus, history, query)
        for rule in checking.record(prometheus, history):
            with subtests.test(rule.place):
                checking.check_rule(prometheus, history, rule)
        with subtests.test(checking.check_loaded.__doc__):
            checking.check_loaded(prometheus, tmp_path)


def test_every_panel_and_rule_is_expected_to_show_something_and_nothing_else_is() -> None:
    queries = {query.place for query in panel_queries()}
    every = {rule.place for rule in rules(rule_files())}
    assert queries == PANELS.keys()
    assert every == RULES.keys()
