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
from understudy.demo.evidence import PAIRS_KEY
from understudy.demo.figures import Run, Share
from understudy.demo.services import CASCADE, KEEP_AT_LEAST, STUDENT_PRICE, TEACHER_PRICE
from understudy.demo.workload import Task

OUTCOMES = ("kept", "escalated", "degraded", "failed")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the demo's things are: two URLs and three paths."""

    gateway: str
    store: str
    config: Path
    journal: Path
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
    body = f'{{"model":"{CASCADE}","messages":[{{"role":"user","content":"{question}"}}]}}'
    store = _without_password(places.store)
    read = f"redis.Redis.from_url({store!r}).xrevrange({PAIRS_KEY!r}, count=1)"
    lines = [
        "Ask it:",
        f"  curl -si {places.gateway}/v1/chat/completions \\",
        f"    -H 'content-type: application/json' -d '{body}'",
        f"The bill:  curl -s {places.gateway}/metrics | grep understudy_",
        "The stream of pairs:",
        f"  redis-cli -u {store} XREVRANGE '{PAIRS_KEY}' + - COUNT 1",
        f'  {sys.executable} -c "import redis; print({read})"',
    ]
    if is_up:
        return "\n".join([*lines, "All of it is up.  Ctrl-C stops it."])
    kept = [
        f"The configuration that it ran with:  {places.config}",
        f"The pairs, one a line:  {places.journal}",
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
    table = Table("right answers", "cascade", "student alone", "teacher alone")
    everyone = (run.cascade, run.student, run.teacher)
    for family in figures.families([reply.task for reply in run.cascade]):
        table.add_row(family, *(str(figures.accuracy(each, family)) for each in everyone))
    table.add_section()
    table.add_row("all", *(f"[bold]{figures.accuracy(each)}" for each in everyone))
    return Group(
        table,
        "The student alone: its drafts in this run, kept or not.  "
        "The teacher alone: asked once more, for everything.",
    )


def _money(run: Run) -> Group:
    table = Table("money", "USD")
    cost, teacher_only = run.metrics.cost_usd, figures.bill(run.teacher)
    table.add_row("the cascade", _usd(cost))
    table.add_row("  of that for drafts thrown away", _usd(run.metrics.wasted_usd))
    table.add_row("the teacher alone, from its own usage", _usd(teacher_only))
    table.add_row("  the gateway's estimate of the same", _usd(run.metrics.baseline_usd))
    if teacher_only:
        saving = teacher_only - cost
        table.add_row("net saving", f"[bold]{_usd(saving)} ({saving / teacher_only:.1%})")
    return Group(
        table,
        "The prices are an example, in USD per million tokens: "
        f"student {_price(STUDENT_PRICE)}; teacher {_price(TEACHER_PRICE)}.",
        f"A draft is kept from confidence {KEEP_AT_LEAST} on, by the uncalibrated default rule.",
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
