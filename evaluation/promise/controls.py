"""Rules that look as good as the promise and do not keep it: what a simulation must be able to see.

All of them take the most permissive threshold that looks good enough at the moment.  An order over
the levels and evidence that may be looked at any time are what they lack.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from evaluation.outcomes import Booleans, Floats, Integers
from evaluation.promise.grid import known_grid, last_of
from evaluation.promise.runs import BATCH, Seen
from evaluation.promise.tally import Tally
from evaluation.promise.traffic import Traffic

FIRST_LOOK = 500  # requests


@dataclass(frozen=True, slots=True)
class Naive:
    """Keeps what looks good enough at each look.

    ``window`` is of how many requests the estimate is made, None for all; ``audit`` the share of
    kept drafts that is labelled.  ``bound_delta`` asks for a one-sided bound instead of the plain
    estimate, made anew at each look.
    """

    alpha: float = 0.05
    audit: float = 0.02
    window: int | None = None
    bound_delta: float | None = None

    def __call__(self, traffic: Traffic, runs: int) -> "Follower":
        """A controller of so many runs."""
        return Follower(self, traffic, runs)


class Follower:
    """A naive rule at work; a row for each run."""

    def __init__(self, rule: Naive, traffic: Traffic, runs: int) -> None:
        self.rule = rule
        self._grid = known_grid(traffic, runs)
        window = None if rule.window is None else rule.window // BATCH
        self._tally = Tally(runs, self._grid.kept.shape[1], window)
        self._level = np.full(runs, -1)
        self._judged = 0

    @property
    def kept(self) -> Integers:
        """How many places are kept in each run."""
        chosen = np.take_along_axis(self._grid.kept, np.maximum(self._level, 0)[:, None], axis=1)
        return np.where(self._level >= 0, chosen[:, 0], 0)

    @property
    def audit(self) -> Floats:
        """The same in all runs."""
        return np.full(len(self._level), self.rule.audit)

    def take(self, seen: Seen) -> None:
        """Estimate again, and follow the estimate."""
        self._tally.add(self._grid.bins(seen.places), seen)
        self._judged += BATCH
        if self._judged >= FIRST_LOOK:
            self._level = last_of(self._good())

    def _good(self) -> Booleans:
        if self.rule.bound_delta is None:
            return self._tally.looks_good(self.rule.alpha)
        return bound_of(self._tally, self.rule.bound_delta) <= self.rule.alpha


def bound_of(tally: Tally, delta: float) -> Floats:
    """Post-stratified upper bound on each level's risk, by the normal approximation.

    Right once, for one level; looked at again and again it is not.
    """
    labels = np.maximum(tally.labels, 1.0)
    risk = tally.wrong / labels
    spread = tally.counts**2 * risk * (1.0 - risk) / labels
    kept = np.maximum(tally.counts.cumsum(axis=1), 1.0)
    mean = (tally.counts * risk).cumsum(axis=1) / kept
    error = np.sqrt(spread.cumsum(axis=1)) / kept
    return np.where(tally.labels.cumsum(axis=1) > 0, mean + float(ndtri(1.0 - delta)) * error, 1.0)
