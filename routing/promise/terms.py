"""What is promised, of whom, and what was known before the first request."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from routing.errors import PolicyError
from routing.promise.bets import STAKES, Wealth
from routing.promise.grid import Grid, check_grid

SIXTEENTHS = 16  # losses are counted in these, rounded up, which errs on the safe side


@dataclass(frozen=True, slots=True)
class HeadStart:
    """Levels, and labelled records of the same student, from before it was served.

    ``counts`` has shape (k, 17): how many records whose strictest level is that one had a loss of
    0, 1/16 up to 1.  ``below`` is how many no level keeps.  The levels were fixed without these
    records.  Raises PolicyError where there is nothing, or the shapes do not fit.
    """

    thresholds: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]
    below: int = 0

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.thresholds) or any(
            len(row) != SIXTEENTHS + 1 or min(row) < 0 for row in self.counts
        ):
            raise PolicyError(
                f"head_start.counts: must have {SIXTEENTHS + 1} counts for each threshold"
            )
        if self.below < 0 or not self.records:
            raise PolicyError("head_start: there must be records, and no negative number of them")
        check_grid(self.grid, "head_start")

    @property
    def records(self) -> int:
        """How many records there are."""
        return sum(map(sum, self.counts)) + self.below

    @property
    def grid(self) -> Grid:
        """The levels, with the shares of the records that they keep."""
        kept = accumulate(map(sum, self.counts))
        return Grid(self.thresholds, tuple(number / self.records for number in kept))


@dataclass(frozen=True, slots=True)
class Terms:
    """At most ``alpha`` of the kept drafts differ materially, with probability 1 - ``delta``.

    ``audit_share`` is the share of all judged requests that is audited in quiet times, ``complete``
    of the drafts that are given up, finished to learn from.  All is escalated until the certified
    level keeps ``release`` times what the point estimate would, for ``hold_at_most`` judged
    requests that can prove anything.  A conversation is over after ``idle_seconds``.  ``subject``
    names whom this is about: student, policy, teacher and comparator; where it changes, the promise
    is earned anew.
    """

    alpha: float
    delta: float
    audit_share: float = 0.02
    complete: float = 0.05
    release: float = 0.8
    hold_at_most: int = 6_000
    idle_seconds: float = 600.0
    subject: str = ""
    head_start: HeadStart | None = None

    def __post_init__(self) -> None:
        if not (0.0 < self.alpha <= 0.5 and 0.0 < self.delta <= 0.5):
            raise ValueError(f"alpha and delta must lie in (0, 0.5]: {self.alpha}, {self.delta}")
        if not (0.0 < self.audit_share <= 1.0 and 0.0 <= self.complete <= 1.0):
            raise ValueError("audit_share must lie in (0, 1], complete in [0, 1]")
        if not (0.0 < self.release <= 1.0 and self.hold_at_most >= 0):
            raise ValueError("release must lie in (0, 1], hold_at_most must not be negative")
        if not self.idle_seconds >= 0.0:
            raise ValueError(f"idle_seconds must not be negative: {self.idle_seconds}")


def wealth_of_records(counts: Sequence[Sequence[int]], alpha: float) -> Wealth:
    """What bets on labelled records came to; each was sure to be labelled."""
    gains = [
        [math.log1p(-stake * (step / SIXTEENTHS - alpha) / (1.0 - alpha)) for stake in STAKES]
        for step in range(SIXTEENTHS + 1)
    ]
    return tuple(
        tuple(
            sum(number * gains[step][stake] for step, number in enumerate(row))
            for stake in range(len(STAKES))
        )
        for row in counts
    )
