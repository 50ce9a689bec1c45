"""Levels of each run: fixed by other traffic, or by the merits that the run saw first."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.outcomes import Booleans, Floats, Integers
from evaluation.promise.traffic import Traffic
from routing.promise.grid import LEVELS


@dataclass(slots=True, eq=False)
class Grid:
    """Levels from strict to permissive.  Both arrays have shape (runs, levels).

    ``kept`` is how many places of the traffic each level keeps, rising; ``shares`` is the share
    that those who fixed the grid expect it to keep.
    """

    kept: Integers
    shares: Floats
    _bins: npt.NDArray[np.int16]

    def bins(self, places: Integers) -> Integers:
        """The strictest level that keeps each place, the number of levels where none does."""
        return np.asarray(np.take_along_axis(self._bins, places, axis=1), dtype=np.int64)

    def replace(self, runs: Booleans, other: "Grid") -> None:
        """Other levels for some of the runs, all of ``other``'s in order."""
        if not self._bins.flags.writeable:
            self._bins = self._bins.copy()
        self.kept[runs], self.shares[runs], self._bins[runs] = other.kept, other.shares, other._bins


def known_grid(traffic: Traffic, runs: int, levels: int = LEVELS) -> Grid:
    """Equal steps of earlier traffic, so much of it that nothing is left to chance."""
    places = np.broadcast_to(np.arange(traffic.size), (1, traffic.size))
    one = grid_from(traffic, places, levels)
    bins = np.broadcast_to(one._bins, (runs, traffic.size))
    return Grid(np.repeat(one.kept, runs, 0), np.repeat(one.shares, runs, 0), bins)


def grid_from(traffic: Traffic, places: Integers, levels: int = LEVELS) -> Grid:
    """Equal steps of what each run saw first, shape (runs, requests); ties are in one level."""
    runs, seen = places.shape
    order = np.sort(places, axis=1)
    last = np.ceil(np.arange(1, levels + 1) * seen / levels).astype(np.int64) - 1
    kept = traffic.kept_with[order[:, last]]
    shares = np.array([
        np.searchsorted(row, level, "left") for row, level in zip(order, kept, strict=True)
    ]) / seen  # fmt: skip
    steps = np.zeros((runs, traffic.size + 1), dtype=np.int16)
    np.add.at(steps, (np.arange(runs)[:, None], kept), 1)
    return Grid(kept, shares, np.cumsum(steps, axis=1, dtype=np.int16)[:, :-1])


def last_of(good: Booleans) -> Integers:
    """The most permissive good level of each run, -1 where there is none; (runs, levels)."""
    last = good.shape[1] - 1 - good[:, ::-1].argmax(axis=1)
    return np.where(good.any(axis=1), last, -1)
