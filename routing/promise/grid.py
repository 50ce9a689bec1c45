"""Levels: the thresholds of which one will be in force, fixed before any label is used.

A grid made from the drafts whose labels are then counted would be chosen by them; so it comes from
earlier drafts, or from the first ones of an epoch, whose labels are passed over.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from routing.errors import PolicyError

LEVELS = 50  # 2% of the traffic each
MOST_LEVELS = 1_000
# Stricter levels hold too few drafts to prove anything: the chain begins where so much is kept.
START_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Grid:
    """Thresholds from strict to permissive, and the share of drafts that each is taken to keep.

    Both have shape (k,), at least 1; the first strictly decreases, the second never does.
    """

    thresholds: tuple[float, ...]
    shares: tuple[float, ...]

    @property
    def start(self) -> int:
        """The level that the chain begins with: the first that keeps START_SHARE, or the last."""
        return min(bisect_left(self.shares, START_SHARE - 1e-9), len(self.shares) - 1)

    def bin_of(self, merit: float) -> int:
        """The strictest level that keeps a draft of this merit; k where none does."""
        return bisect_left(self.thresholds, -merit, key=lambda threshold: -threshold)


def check_grid(grid: Grid, path: str) -> None:
    """Raises PolicyError where levels are missing, out of order or out of range."""
    thresholds, shares = grid.thresholds, grid.shares
    if not 0 < len(thresholds) == len(shares) <= MOST_LEVELS:
        raise PolicyError(f"{path}.thresholds: must be as many as the shares, and at least one")
    if any(strict <= next_one for strict, next_one in pairwise(thresholds)):
        raise PolicyError(f"{path}.thresholds: must strictly decrease")
    if any(strict > next_one for strict, next_one in pairwise(shares)):
        raise PolicyError(f"{path}.shares: must not decrease")
    if not all(0.0 <= one <= 1.0 for one in (*thresholds, *shares)):
        raise PolicyError(f"{path}.thresholds: they and the shares must lie in [0, 1]")


def grid_of(merits: Sequence[float]) -> Grid:
    """Equal steps of these merits, at least one; those that are equal are in one level."""
    order = sorted(merits, reverse=True)
    count = len(order)
    levels = sorted(
        {order[math.ceil(step * count / LEVELS) - 1] for step in range(1, LEVELS + 1)}, reverse=True
    )
    rising = order[::-1]
    return Grid(
        tuple(levels), tuple((count - bisect_left(rising, level)) / count for level in levels)
    )
