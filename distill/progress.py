"""How a training tells what it is doing, and how long it will take."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Moment:
    """After a step.  ``seconds_left`` is None until there is something to judge by.

    ``is_measured``: the holdout was measured just now.
    """

    stage: str
    step: int
    steps: int
    seconds_left: float | None
    loss: float | None
    holdout_loss: float | None
    is_measured: bool = False


class Watcher(Protocol):
    """Who is told."""

    def note(self, text: str) -> None:
        """A sentence about what is done next, or was found."""

    def at(self, moment: Moment) -> None:
        """A step is done."""


class Nobody:
    """The watcher of every process but the first."""

    def note(self, text: str) -> None:
        """Nothing is told."""

    def at(self, moment: Moment) -> None:
        """Nothing is told."""


def seconds_left(step: int, steps: int, begun_at: int, seconds: float) -> float | None:
    """By the pace of this run's own steps: it has been ``seconds`` since ``begun_at`` was done."""
    done = step - begun_at
    return seconds / done * (steps - step) if done > 0 else None


def line_of(moment: Moment) -> str:
    """A moment as a line of text."""
    told = [f"{moment.stage} step {moment.step:,} of {moment.steps:,}"]
    if moment.loss is not None:
        told.append(f"loss {moment.loss:.4f}")
    if moment.holdout_loss is not None:
        told.append(f"holdout loss {moment.holdout_loss:.4f}")
    if moment.seconds_left is not None:
        told.append(f"{duration(moment.seconds_left)} left")
    return ", ".join(told)


def duration(seconds: float) -> str:
    """In the two largest units that matter: ``48 s``, ``3 min 20 s``, ``5 h 12 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
