"""The log of a training: what each logged step said, kept in a file over kills and restarts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

# The loss that a card tells is the mean over the last so much of the steps: one step is noise.
_LAST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Point:
    """A logged step.  ``seconds`` counts the training itself, without pauses between runs."""

    stage: str
    step: int
    seconds: float
    loss: float | None = None
    holdout_loss: float | None = None
    learning_rate: float | None = None


class Trail:
    """Points in the order of their steps; every one is in the file before the next comes."""

    def __init__(self, path: Path | None) -> None:
        """``path`` None keeps it in memory: only one process of several writes."""
        self._path = path
        self.points: list[Point] = []
        if path is not None and path.is_file():
            self.points = _read(path.read_bytes())

    @property
    def seconds(self) -> float:
        """How long the training has taken."""
        return self.points[-1].seconds if self.points else 0.0

    def go_back(self, stage: str, step: int) -> None:
        """Forget what came after a step: it is done again."""
        at = [name for name, point in enumerate(self.points) if point.stage == stage]
        first = at[0] if at else len(self.points)
        kept = [
            point for point in self.points[first:] if point.stage == stage and point.step <= step
        ]
        self.points = [*self.points[:first], *kept]
        if self._path is not None:
            self._path.write_bytes(b"".join(map(_line, self.points)))

    def add(self, point: Point) -> None:
        """One more."""
        self.points.append(point)
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(_line(point))

    def metrics(self, stage: str) -> dict[str, Any]:
        """What the card says of a stage."""
        points = [point for point in self.points if point.stage == stage]
        losses = [(point.step, point.loss) for point in points if point.loss is not None]
        steps = max((point.step for point in points), default=0)
        last = [loss for step, loss in losses if step > steps * (1 - _LAST_SHARE)] or [
            loss for _, loss in losses[-1:]
        ]
        measured = [point for point in points if point.holdout_loss is not None]
        before = [point.holdout_loss for point in measured if point.step == 0]
        return {
            "steps": steps,
            "loss": sum(last) / len(last) if last else None,
            "holdout_loss": best_of(points),
            "holdout_loss_before": before[0] if before else None,
        }


def best_of(points: Sequence[Point]) -> float | None:
    """The lowest loss on the holdout after any step."""
    return min(
        (each.holdout_loss for each in points if each.step > 0 and each.holdout_loss is not None),
        default=None,
    )


def _read(content: bytes) -> list[Point]:
    points = []
    for line in content.splitlines():
        try:
            points.append(msgspec.json.decode(line, type=Point))
        except msgspec.DecodeError:  # a kill cut the last line; what it said is done again
            break
    return points


def _line(point: Point) -> bytes:
    told = msgspec.to_builtins(point)
    return msgspec.json.encode({k: v for k, v in told.items() if v is not None}) + b"\n"
