"""What was seen in each bin: how many drafts, how many labels, and how many were wrong."""

from collections import deque

import numpy as np

from evaluation.outcomes import Booleans, Floats, Integers
from evaluation.promise.runs import Seen


class Tally:
    """Sums by run and bin, shape (runs, levels), of all batches or of the last ``window``.

    ``counts`` are drafts, ``labels`` those of which the loss is known, ``lost`` their losses over
    their propensities: an unbiased estimate of all losses; ``wrong`` the same without propensities.
    """

    def __init__(self, runs: int, levels: int, window: int | None = None) -> None:
        self.counts, self.labels, self.lost, self.wrong = self._sums = np.zeros((4, runs, levels))
        self._window = window
        self._past: deque[Floats] = deque()

    def add(self, bins: Integers, seen: Seen) -> None:
        """One more batch; what falls out of the window is forgotten."""
        _, runs, levels = self._sums.shape
        where = (np.arange(runs)[:, None] * (levels + 1) + bins).ravel()
        losses = np.where(seen.known, seen.losses, 0.0)
        each = (np.ones_like(losses), 1.0 * seen.known, losses / seen.propensity, losses)
        batch: Floats = np.stack([
            np.bincount(where, values.ravel(), runs * (levels + 1)).reshape(runs, -1)[:, :levels]
            for values in each
        ])  # fmt: skip
        self._sums += batch
        if self._window is not None:
            self._past.append(batch)
            if len(self._past) > self._window:
                self._sums -= self._past.popleft()

    def forget(self, runs: Booleans) -> None:
        """Begin anew in these runs; not of a window."""
        self._sums[:, runs] = 0.0

    def looks_good(self, alpha: float) -> Booleans:
        """Whether the point estimate of a level's risk is at most alpha."""
        counts, lost = self.counts.cumsum(axis=1), self.lost.cumsum(axis=1)
        # What was added and taken away again leaves a rounding error.
        return np.asarray((lost <= alpha * counts + 1e-9) & (counts > 0.5))
