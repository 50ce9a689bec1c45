"""What was played, as a table for people and as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from evaluation.scenarios.expectations import Held, held
from evaluation.scenarios.measures import Measures, summary_of
from evaluation.scenarios.scenario import Scenario
from evaluation.scenarios.timeline import Timeline

LEAST_WIDTH = 90
COLUMNS = ("mean", "p90", "most")
YES_OR_NO = frozenset({"violated", "detected"})  # of each run: the mean says it all

# What is shown of a measure: words, and whether it is a share.
WORDS = {
    "bill_usd": ("bill, USD", False),
    "bill_per_1000_usd": ("bill per 1,000 requests, USD", False),
    "bill_of_teacher_alone": ("bill / that of the teacher alone", True),
    "oracle_usd": ("the oracle's bill, USD", False),
    "bill_over_oracle": ("bill above the oracle's", True),
    "bill_over_oracle_now": ("the same in the last tenth", True),
    "kept_share": ("requests kept", True),
    "kept_over_oracle": ("kept / kept by the oracle", True),
    "kept_over_oracle_now": ("the same in the last tenth", True),
    "first_kept_requests": ("requests before the first was kept", False),
    "escalated_share": ("requests escalated", True),
    "denied_share": ("requests served degraded", True),
    "audits": ("audits", False),
    "audit_usd": ("audits, USD", False),
    "violated": ("runs ever above the promised disagreement", True),
    "above_share": ("time above it", True),
    "disagreement_most": ("worst true disagreement", True),
    "disagreement_unseen_most": ("the same without the comparator's noise", True),
    "alarms": ("alarms", False),
    "false_alarms": ("false alarms", False),
    "detected": ("runs in which a regression was detected", True),
    "detection_requests": ("requests until it was", False),
    "detection_seconds": ("seconds until it was", False),
    "hour_most": ("worst hour", False),
    "hour_over_target": ("worst hour above the target", True),
    "hour_off_target": ("an hour off the target, after the first", True),
    "hour_over_cap": ("worst hour above the cap", True),
    "swings": ("share kept, ups and downs an hour", True),
    "latency_seconds_most": ("teacher's longest latency, s", False),
    "waiting_most": ("most calls waiting", False),
    "busy_share": ("requests served degraded for want of room", True),
    "pressure_most": ("most pressure", False),
    "limit_least": ("fewest calls that the limit allowed", False),
}


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """The runs of a scenario; ``first`` is the first of them, second by second."""

    scenario: Scenario
    seed: int
    measures: tuple[Measures, ...]
    first: Timeline
    took_seconds: float

    @property
    def requests(self) -> float:
        """Of all runs."""
        return sum(each["requests"] or 0.0 for each in self.measures)

    @property
    def times_real(self) -> float:
        """How many seconds were played in one."""
        return len(self.measures) * self.scenario.traffic.seconds / self.took_seconds

    @property
    def held(self) -> list[Held]:
        """What the scenario expects, beside what was found."""
        return held(self.scenario.expect, summary_of(self.measures))

    @property
    def is_as_expected(self) -> bool:
        """Whether all of it was met."""
        return all(each.is_met for each in self.held)


def document_of(played: Played) -> dict[str, Any]:
    """All of it, for ``--json``."""
    return {
        "scenario": played.scenario.name,
        "seed": played.seed,
        "runs": len(played.measures),
        "took_seconds": played.took_seconds,
        "requests_per_second": played.requests / played.took_seconds,
        "times_real_time": played.times_real,
        "measures": summary_of(played.measures),
        "each_run": list(played.measures),
        "expected": [
            {"name": each.name, "limit": each.limit, "found": each.found, "is_met": each.is_met}
            for each in played.held
        ],
        "first_run": {
            "shown": dict(played.first.shown),
            "lines": [{"second": second, "line": line} for second, line in played.first.lines],
        },
    }


def show(played: Played, console: Console) -> None:
    """The table, what was expected, and how fast it went."""
    if console.width < LEAST_WIDTH:
        console = Console(width=LEAST_WIDTH)
    console.print(_table(played))
    for line in _sentences(played):
        console.print(line, highlight=False, soft_wrap=True)


def _table(played: Played) -> Table:
    runs = len(played.measures)
    hours = played.scenario.traffic.seconds / 3600
    title = f"{played.scenario.name}: {runs} {'run' if runs == 1 else 'runs'} of {hours:g} hours, "
    title += f"{played.requests / runs:,.0f} requests each"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    columns = COLUMNS if runs > 1 else COLUMNS[:1]
    for name in columns:
        table.add_column(name if runs > 1 else "", justify="right")
    summary = summary_of(played.measures)
    for measure, (words, is_share) in WORDS.items():
        if summary.get(measure, {}).get("runs"):
            told = columns[:1] if measure in YES_OR_NO else columns
            cells = (_cell(summary[measure][name], is_share=is_share) for name in told)
            table.add_row(words, *cells)
    return table


def _cell(value: float | None, *, is_share: bool) -> str:
    if value is None:
        return "-"
    if is_share:
        return f"{100 * value:.1f}%"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _sentences(played: Played) -> Iterator[str]:
    for each in played.held:
        found = "nothing" if each.found is None else f"{each.found:.4g}"
        yield f"{'met' if each.is_met else 'NOT MET'}: {each.name} {each.limit:g}, found {found}"
    if played.first.lines:
        second, line = played.first.lines[-1]
        yield f"At the end of the first run, since {second} s: {line}"
    yield (
        f"{played.requests:,.0f} requests in {played.took_seconds:.1f} s: "
        f"{played.requests / played.took_seconds:,.0f} a second, "
        f"{played.times_real:,.0f} times as fast as they would come."
    )
