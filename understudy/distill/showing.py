"""A training on a terminal: a bar there, plain lines where stderr is a file or a pipe."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from distill.progress import Moment, duration, line_of

# A file is read later: a line for each step would bury what matters.
SECONDS_BETWEEN_LINES = 10.0


class Lines:
    """A line for every measurement and the end of each part, and one every few seconds between."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._last = -SECONDS_BETWEEN_LINES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def note(self, text: str) -> None:
        """A sentence on a line of its own."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def at(self, moment: Moment) -> None:
        """A line, if it tells a measurement or the end, or the last one is old enough."""
        is_due = self._clock() - self._last >= SECONDS_BETWEEN_LINES
        if not (is_due or moment.is_measured or moment.step == moment.steps):
            return
        self._last = self._clock()
        self.note(line_of(moment))


class Bar:
    """A bar for each part, with losses and the time that is left."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
        )
        self._progress = Progress(*columns, console=console)
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """A sentence above the bar."""
        self._progress.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def at(self, moment: Moment) -> None:
        """The bar moves."""
        if moment.stage not in self._tasks:
            task = self._progress.add_task(moment.stage, total=moment.steps, told="")
            self._tasks[moment.stage] = task
        told = []
        if moment.loss is not None:
            told.append(f"loss {moment.loss:.3f}")
        if moment.holdout_loss is not None:
            told.append(f"holdout {moment.holdout_loss:.3f}")
        if moment.seconds_left is not None:
            told.append(f"{duration(moment.seconds_left)} left")
        task_id = self._progress.task_ids[self._tasks[moment.stage]]
        self._progress.update(task_id, completed=moment.step, told=" · ".join(told))


def watcher(console: Console) -> Bar | Lines:
    """What suits the console."""
    return Bar(console) if console.is_terminal else Lines(console)
