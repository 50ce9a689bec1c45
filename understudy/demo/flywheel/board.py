"""What the flywheel shows while it runs: a row per generation and what is being done.

On a terminal that is a live table.  Elsewhere every step is a line, with the time since the start.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from understudy.demo.flywheel.figures import (
    MILLION,
    Check,
    Result,
    Tallies,
    Turn,
    all_of,
    checks,
    learnable,
    unlearnable,
)

COLUMNS = (
    "generation", "pairs", "student right", "cascade right", "escalated", "of the learnable",
    "of products", "USD per million",
)  # fmt: skip


class Board:
    """The rows so far, and the current step."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` tells seconds; the first reading is the start."""
        self._console = console
        self._clock = clock
        self._started = clock()
        self._turns: list[Turn] = []
        self._step = ""
        self._step_started = self._started
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._picture, console=console, transient=True)

    @contextmanager
    def shown(self) -> Iterator["Board"]:
        """Show it meanwhile."""
        if not self._console.is_terminal:
            yield self
            return
        with self._live:
            yield self

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock() - self._started

    def begin(self, generation: int, step: str) -> None:
        """Something else is being done now."""
        self._step, self._step_started = f"generation {generation}: {step}", self._clock()
        self._line(self._step)

    def tell(self, detail: str) -> None:
        """How far the current step is; shown on a terminal alone."""
        self._spinner.update(text=f"{self._step}, {detail}")

    def add(self, turn: Turn) -> None:
        """A generation is through."""
        self._turns.append(turn)
        named = zip(COLUMNS, row(turn), strict=True)
        self._line(", ".join(f"{name} {value}".strip() for name, value in named))

    def _line(self, text: str) -> None:
        self._spinner.update(text=text)
        if not self._console.is_terminal:
            told = f"{clock_time(self.seconds)}  {text}"
            self._console.print(told, highlight=False, markup=False, soft_wrap=True)

    def _picture(self) -> Group:
        step = self._clock() - self._step_started
        times = f"{clock_time(step)} of {clock_time(self.seconds)}"
        return Group(table_of(self._turns), Group(self._spinner, times))


def table_of(turns: Sequence[Turn]) -> Table:
    """A row per generation."""
    # As narrow as it can be: terminals of 80 columns are common.
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for name in COLUMNS:
        first, _, last = name.rpartition(" ")
        table.add_column(f"{first}\n{last}".strip(), no_wrap=True)
    for turn in turns:
        table.add_row(*row(turn))
    return table


def row(turn: Turn) -> tuple[str, ...]:
    """A generation's figures, one for each of ``COLUMNS``."""
    cascade = all_of(turn.cascade)
    return (
        f"{turn.number} {turn.fate}",
        "" if turn.training is None else str(turn.training.pairs),
        all_of(turn.student).accuracy.percent,
        cascade.accuracy.percent,
        cascade.escalation.percent,
        learnable(turn.cascade).escalation.percent,
        unlearnable(turn.cascade).escalation.percent,
        usd(turn.cascade),
    )


def usd(tallies: Tallies) -> str:
    """What a million requests cost, in USD."""
    return f"{MILLION * all_of(tallies).usd_per_request:.2f}"


def summary(result: Result) -> Group:
    """The whole run, for the console."""
    lines = [f"generation {turn.number}: {escape(turn.why)}" for turn in result.turns if turn.why]
    teacher = f"The teacher alone: {all_of(result.teacher).accuracy} right, "
    teacher += f"{usd(result.teacher)} USD per million requests."
    marks = [_mark(check) for check in checks(result)]
    return Group(table_of(result.turns), teacher, *lines, *marks)


def _mark(check: Check) -> str:
    mark = "[bold green]holds[/]" if check.holds else "[bold red]fails[/]"
    return f"{mark}  {escape(check.name)}: {escape(check.told)}"


def clock_time(seconds: float) -> str:
    """Minutes and seconds, as clocks have them."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
