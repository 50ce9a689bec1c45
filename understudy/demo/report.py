"""What the demo shows: the live table while it runs, the summary at its end, where to look next."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from understudy.demo import figures
from understudy.demo.asking import Reply
from understudy.demo.calibrating import TARGET
from understudy.demo.evidence import PAIRS_KEY
from understudy.demo.figures import Run, Share
from understudy.demo.services import CASCADE, KEEP_AT_LEAST, STUDENT_PRICE, TEACHER_PRICE
from understudy.demo.workload import Task

OUTCOMES = ("kept", "escalated", "degraded", "failed")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the demo's things are.  ``pairs`` is None where they are in somebody else's store."""

    gateway: str
    store: str
    config: Path
    pairs: Path | None
    logs: Path


class Watch:
    """The progress bar and the live table of a run."""

    def __init__(self, console: Console, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._counts: Counter[tuple[str, str]] = Counter()
        self._progress = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._live = Live(
            get_renderable=self._picture, console=console, refresh_per_second=8, transient=True
        )

    @contextmanager
    def shown(self) -> Iterator["Watch"]:
        """Show it meanwhile; where the output is no terminal, nothing is shown."""
        with self._live:
            yield self

    def begin(self, description: str, total: int) -> "Stage":
        """A bar for one more stage of the run."""
        return Stage(self._progress, self._progress.add_task(description, total=total))

    def count(self, reply: Reply) -> None:
        """Take one of the gateway's replies into the table."""
        self._counts[reply.task.family, figures.outcome(reply)] += 1
        self._counts[reply.task.family, "right"] += reply.is_right

    def _picture(self) -> Group:
        columns = (*OUTCOMES, "right")
        table = Table("through the gateway", *columns)
        for family in figures.families(self._tasks):
            table.add_row(family, *(str(self._counts[family, column]) for column in columns))
        return Group(table, self._progress)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage's progress bar."""

    progress: Progress
    number: TaskID

    def advance(self, _reply: Reply) -> None:
        """One request more is done."""
        self.progress.advance(self.number)


def summary(run: Run) -> Group:
    """All figures of a run, for the console."""
    return Group(_answers(run), _accuracies(run), _money(run), _agreement(run), _verdict(run))


def next_steps(places: Places, *, is_up: bool) -> str:
    """Where to look next: at the running demo, or at what it left on disk."""
    question = "Rewrite as YYYY-MM-DD: 5 March 2021"
    messages = f'[{{"role":"user","content":"{question}"}}]'
    body = f'{{"model":"{CASCADE}","temperature":0,"messages":{messages}}}'
    store = _without_password(places.store)
    read = f"redis.Redis.from_url({store!r}).xrevrange({PAIRS_KEY!r}, count=1)"
    lines = [
        "Ask it:",
        f"  curl -si {places.gateway}/v1/chat/completions \\",
        f"    -H 'content-type: application/json' -H 'x-understudy-group: date' -d '{body}'",
        f"The bill:  understudy bill --by role,kind --redis-url {store}",
        f"The metrics:  curl -s {places.gateway}/metrics | grep understudy_",
        "The stream of pairs:",
        f"  redis-cli -u {store} XREVRANGE '{PAIRS_KEY}' + - COUNT 1",
        f'  {sys.executable} -c "import redis; print({read})"',
    ]
    if is_up:
        return "\n".join([*lines, "All of it is up.  Ctrl-C stops it."])
    kept = [
        f"The configuration that it ran with:  {places.config}",
        *([] if places.pairs is None else [f"The pairs, in Valkey's files:  {places.pairs}"]),
        f"The logs:  {places.logs}",
        "Everything is stopped.  `--serve` keeps it up, and `--port` gives it a fixed address:",
    ]
    return "\n".join([*kept, *(f"  {line}" for line in lines)])


def _answers(run: Run) -> Table:
    table = Table("answers of the gateway", "")
    names = {
        "kept": "served by the student",
        "escalated": "escalated to the teacher",
        "degraded": "degraded",
        "failed": "failed",
    }
    for outcome, words in names.items():
        share = Share(figures.count(run.cascade, outcome), len(run.cascade))
        table.add_row(words, str(share))
    return table


def _accuracies(run: Run) -> Group:
    """Who is right how often, and what is kept: before calibration and now."""
    before = None if run.calibration is None else run.calibration.before
    names = ["right answers", "cascade", "kept"]
    names += [] if before is None else ["uncalibrated", "kept"]
    table = Table(*names, "student alone", "teacher alone")
    tasks = [reply.task for reply in run.cascade]
    for family in (*figures.families(tasks), None):
        if family is None:
            table.add_section()
        shares = [figures.accuracy(run.cascade, family), figures.kept(run.cascade, family)]
        if before is not None:
            shares += [figures.right_before(before, family), figures.kept_before(before, family)]
        shares += [figures.accuracy(run.student, family), figures.accuracy(run.teacher, family)]
        table.add_row("all" if family is None else family, *(each.percent for each in shares))
    alone = (
        "The student alone: its drafts in this run, kept or not.  "
        "The teacher alone: asked once more, for everything."
    )
    said = [alone]
    if before is not None:
        said.append(
            f"Uncalibrated: what the default rule makes of the {len(before)} labelled questions."
        )
    return Group(table, *said)


def _money(run: Run) -> Group:
    table = Table("money", "USD")
    cost, teacher_only = run.metrics.cost_usd, figures.bill(run.teacher)
    table.add_row("the cascade", _usd(cost))
    table.add_row("  of that for drafts thrown away", _usd(run.metrics.wasted_usd))
    if (before := figures.bill_before(run)) is not None:
        table.add_row("  the same uncalibrated, estimated", _usd(before))
    table.add_row("the teacher alone, from its own usage", _usd(teacher_only))
    table.add_row("  the gateway's estimate of the same", _usd(run.metrics.baseline_usd))
    if teacher_only:
        saving = teacher_only - cost
        table.add_row("net saving", f"[bold]{_usd(saving)} ({saving / teacher_only:.1%})")
        if before is not None:
            rest = teacher_only - before
            table.add_row("  uncalibrated", f"{_usd(rest)} ({rest / teacher_only:.1%})")
    return Group(
        table,
        "The prices are an example, in USD per million tokens: "
        f"student {_price(STUDENT_PRICE)}; teacher {_price(TEACHER_PRICE)}.",
        _rule(run),
    )


def _rule(run: Run) -> str:
    """What decided which drafts were kept."""
    default = (
        f"A draft is kept from confidence {KEEP_AT_LEAST} on, by the uncalibrated default rule."
    )
    if run.calibration is None:
        return default
    if run.calibration.policy is None:
        return f"{run.calibration.why}: {default[0].lower()}{default[1:]}"
    return (
        f"The policy promises {TARGET} of the teacher's with probability 0.95: "
        f"understudy explain {run.calibration.policy}"
    )


def _agreement(run: Run) -> Group:
    table = Table("who says what", "the client", "/metrics", "the stream", "")
    for figure in figures.witnesses(run):
        mark = "[green]agree" if figure.agree else "[bold red]differ"
        seen = (figure.client, figure.metrics, figure.stream)
        table.add_row(figure.name, *map(_exactly, seen), mark)
    before, after = run.before.length, run.after.length
    return Group(table, f"The stream {PAIRS_KEY}: {before} pairs before, {after} after.")


def _verdict(run: Run) -> str:
    errors = Counter(reply.error for reply in (*run.cascade, *run.student, *run.teacher))
    del errors[None]
    lines = [f"[bold red]{number} x failed:[/] {escape(str(e))}" for e, number in errors.items()]
    if all(figure.agree for figure in figures.witnesses(run)):
        lines.append("[bold green]Client, metrics and stream agree to the unit.")
    else:
        lines.append("[bold red]Client, metrics and stream do not agree.")
    return "\n".join(lines)


def _usd(amount: Decimal | None) -> str:
    return "unknown: no usage was told" if amount is None else f"{amount:.6f}"


def _exactly(figure: int | Decimal | None) -> str:
    """The figure to its last digit: money to the pico-dollar; nothing where it is not known."""
    match figure:
        case None:
            return ""
        case Decimal():
            return f"{figure:.12f}"
        case int():
            return str(figure)


def _price(price: Mapping[str, str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {usd}" for name, usd in price.items())


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":PASSWORD@", 1)
