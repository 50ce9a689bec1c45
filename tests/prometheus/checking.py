"""What a finished run is checked for.  Each check fails with all that is wrong."""

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from decimal import Decimal
from pathlib import Path

from tests.fakes.serving import wait_until
from tests.prometheus.books import Key
from tests.prometheus.cascades import SETUPS, Rent
from tests.prometheus.counters import PICO, miscounted
from tests.prometheus.expected import FIRES, LOOSE, PANELS, RULES
from tests.prometheus.expecting import ALL, TINY, TOLERANCE, Shown, Window, differences, is_chosen
from tests.prometheus.history import JOB, History
from tests.prometheus.panels import PACE_SECONDS, RANGE_SECONDS, PanelQuery
from tests.prometheus.rules import Rule, hurried, in_order, rule_files, rules
from tests.prometheus.run import Run
from tests.prometheus.server import Labels, Prometheus, Sample, labels_of
from tests.prometheus.traffic import Player, total

SCRAPED_SECONDS = EVALUATED_SECONDS = SHIPPED_SECONDS = 20
# Times of the history at which everything is asked.
MOMENTS = ("outage", "mishaps", "store away", "end")
# A histogram begins with the first thing that it counts.  While it has few samples, Prometheus
# takes it to have begun half a scrape before the first.
WITHIN, YOUNG = {"end": TOLERANCE}, Decimal("0.15")
# What somebody may choose on a dashboard; a dot is a dot there.
CHOSEN = ("measured", "coder.v2")
UNTOLD = "say in tests/prometheus/expected_*.py what it has to show"


def check_pages(run: Run) -> None:
    """Every page says what the books say, at every moment."""
    for row in run.snapshots:
        wrong = [
            f"replica {number}, moment {row[number].moment}: {each}"
            for number, player in enumerate(run.players)
            for each in miscounted(row[number].page, player.books.counters(row[number].moment))
        ]
        assert not wrong, "\n".join(wrong)  # what goes wrong once is wrong from then on


def check_scraped(run: Run) -> None:
    """Prometheus has scraped what the books say."""
    over, prometheus = time.time(), run.prometheus

    def is_scraped() -> bool:
        seen = prometheus.vector("timestamp(understudy_build_info)")
        return len(seen) == len(run.players) and min(seen.values()) > over

    wait_until(is_scraped, seconds=SCRAPED_SECONDS)
    for player in run.players:
        instance = player.metrics_url.split("/")[2]
        found = prometheus.vector(f'{{job="{JOB}", instance="{instance}"}}')
        wrong = list(miscounted(_as_page(found), player.books.counters(player.books.moment)))
        assert not wrong, "\n".join(wrong)


def _as_page(found: Mapping[Labels, Decimal]) -> dict[Key, Decimal]:
    """Results as the page had them, without what Prometheus knows of the target."""
    page: dict[Key, Decimal] = {}
    for labels, value in found.items():
        known = dict(labels)
        name = known.pop("__name__")
        del known["job"], known["instance"]
        page[name, frozenset(known.items())] = value
    return page


def check_rent(run: Run) -> None:
    """GPUs cost what their time costs, and calls at most the time that their clients waited."""
    for number, player in enumerate(run.players):
        for before, after in zip(run.snapshots, run.snapshots[1:], strict=False):
            for setup in SETUPS:
                for role, price in setup.prices.items():
                    if isinstance(price, Rent):
                        where = {"cascade": setup.name, "role": role}
                        pages = [row[number].page for row in (before, after)]
                        rents = [summed_usd(page, "understudy_gpu_rent", where) for page in pages]
                        first, last = before[number].taken, after[number].taken
                        low, high = last[0] - first[1], last[1] - first[0]
                        _between(rents, price, low, high)
                        if setup.is_by_time(role):
                            paid = [summed_usd(page, "understudy_cost", where) for page in pages]
                            which = after[number].moment, setup.name
                            _between(paid, price, 0, player.seconds.get(which, 0.0))


def _between(usd: list[Decimal], price: Rent, low: float, high: float) -> None:
    grown = usd[1] - usd[0]
    least, most = (price.usd_per_second * Decimal(seconds) for seconds in (low, high))
    assert least - TINY <= grown <= most + TINY, f"{least} <= {grown} <= {most}"


def summed_usd(page: Mapping[Key, Decimal], stem: str, where: Mapping[str, str]) -> Decimal:
    """Dollars of one model, whatever they were paid for."""
    wanted = labels_of(**where)
    return sum(
        (value for (name, labels), value in page.items()
         if name == f"{stem}_usd_total" and wanted <= labels),
        Decimal(0),
    )  # fmt: skip


def check_ledger(run: Run) -> None:
    """The ledger, which the gateways keep in Redis, says the same to the pico-dollar."""
    wait_until(lambda: all(map(_is_shipped, run.players)), seconds=SHIPPED_SECONDS)
    command = [sys.executable, "-m", "understudy", "bill", "--by", "cascade,role,kind"]
    options = ["--from", "2000-01-01", "--format", "json", "--redis-url", run.store.url]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {
        (row["cascade"], row["role"], row["kind"]): Decimal(row["cost_usd"] or 0)
        for row in json.loads(done.stdout)["rows"]
    }
    due: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for player in run.players:
        for line in player.books.lines:
            due[line.cascade, line.role, line.kind] += line.usd or 0
    models = {(setup.name, role): setup for setup in SETUPS for role in setup.prices}
    wrong = [
        f"{which} is {found.get(which)} in the ledger, and it was {due.get(which)}"
        for which in sorted({*found, *due})
        if not models[which[:2]].is_by_time(which[1])
        and found.get(which, Decimal(0)) != due.get(which, Decimal(0)).quantize(PICO)
    ]
    assert not wrong, "\n".join(wrong)


def _is_shipped(player: Player) -> bool:
    page = player.page()
    names = ("understudy_ledger_waiting_seconds", "understudy_journal_unshipped_bytes")
    return not any(total(page, name) for name in names)


def check_panel(prometheus: Prometheus, history: History, query: PanelQuery) -> None:
    """It shows the right number, whatever is chosen."""
    for moment in MOMENTS:
        check_panel_at(prometheus, history, query, moment)
    check_panel_at(prometheus, history, query, "end", CHOSEN)


def check_panel_at(
    prometheus: Prometheus,
    history: History,
    query: PanelQuery,
    moment: str,
    chosen: Collection[str] = ALL,
) -> None:
    """The same at one time."""
    assert query.place in PANELS, UNTOLD
    begin, end = query.shown(history.times[moment])
    shown = Shown(
        Window(history, end, end - begin, chosen), Window(history, end, PACE_SECONDS, chosen)
    )
    due = {
        labels: value
        for labels, value in PANELS[query.place](shown).items()
        if is_chosen(labels, chosen)
    }
    promql = query.filled(end - begin, **({"cascade": list(chosen)} if chosen else {}))
    within, by = WITHIN.get(moment, YOUNG), LOOSE.get(query.place, TINY)
    wrong = differences(prometheus.vector(promql, end), due, within, by)
    assert not wrong, "\n".join([f"{moment}: {promql}", *wrong])


def record(prometheus: Prometheus, history: History) -> list[Rule]:
    """Record what the rules record, at the times at which all is asked; gives all rules."""
    every = list(rules(rule_files()))
    for step in in_order([rule for rule in every if not rule.is_alert]):
        lines = [
            Sample(rule.name, dict(labels), str(value), at).line()
            for at in sorted(history.times[moment] for moment in MOMENTS)
            for rule in step
            for labels, value in prometheus.vector(rule.expr, at).items()
        ]
        prometheus.stop()
        prometheus.backfill(lines)
        prometheus.start()
    return every


def check_rule(prometheus: Prometheus, history: History, rule: Rule) -> None:
    """It looks at the right number; an alert fires when it has to, and is silent otherwise."""
    assert rule.place in RULES, UNTOLD
    for moment in MOMENTS:
        at = history.times[moment]
        shown = Shown(Window(history, at, RANGE_SECONDS), Window(history, at, PACE_SECONDS))
        found = _unnamed(prometheus.vector(rule.unbarred, at))
        wrong = differences(found, RULES[rule.place](shown), WITHIN.get(moment, YOUNG))
        assert not wrong, "\n".join([f"{moment}: {rule.unbarred}", *wrong])
        if rule.is_alert:
            fires = _unnamed(prometheus.vector(rule.expr, at)).keys()
            assert fires == FIRES.get((rule.place, moment), set()), moment


def _unnamed(found: Mapping[Labels, Decimal]) -> dict[Labels, Decimal]:
    """Without the metric's name, which some expressions keep."""
    return {
        frozenset((name, value) for name, value in labels if name != "__name__"): number
        for labels, number in found.items()
    }


def check_loaded(prometheus: Prometheus, folder: Path) -> None:
    """Prometheus itself runs the files as they are, but for how often, and no rule fails."""
    prometheus.stop()
    prometheus.rules = hurried(rule_files(), folder)
    prometheus.start()

    def is_evaluated() -> bool:
        loaded = prometheus.loaded_rules()
        return bool(loaded) and all(rule["health"] != "unknown" for rule in loaded)

    wait_until(is_evaluated, seconds=EVALUATED_SECONDS)
    failed = {rule["name"]: rule.get("lastError") for rule in prometheus.loaded_rules()
              if rule["health"] != "ok"}  # fmt: skip
    assert not failed, failed
