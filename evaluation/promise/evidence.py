"""E-processes of many runs: bets that the drafts a level keeps are wrong less often than alpha.

``routing/promise`` does the same for one cascade, grade by grade; a test holds both together.
"""

import numpy as np

from evaluation.outcomes import Booleans, Floats, Integers
from routing.promise.bets import STAKES


class Evidence:
    """Log-wealth of every run, level and stake, kept as sums by bin.

    The bin of a draft is the strictest level that keeps it: a level's log-wealth is the sum of its
    own bin and all stricter ones.
    """

    def __init__(self, runs: int, levels: int, alpha: float) -> None:
        self.alpha = alpha
        self._sums = np.zeros((len(STAKES), runs, levels))

    def add(self, bins: Integers, x: Floats, mask: Booleans) -> None:
        """Bet on the graded drafts of one batch; all arrays have shape (runs, requests).

        ``x`` is ``nu (loss - alpha) / propensity`` of each, and counts where ``mask`` is set.
        """
        _, runs, levels = self._sums.shape
        chosen = mask & (bins < levels)
        where = (np.arange(runs)[:, None] * levels + bins)[chosen]
        values = x[chosen]
        for sums, stake in zip(self._sums, STAKES, strict=True):
            gains = np.log1p(-stake * values)
            sums += np.bincount(where, gains, runs * levels).reshape(runs, levels)

    def forget(self, runs: Booleans) -> None:
        """Begin anew in these runs."""
        self._sums[:, runs] = 0.0

    def wealth(self) -> Floats:
        """Of each run and level, averaged over stakes; inf beyond floats."""
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.exp(self._sums.cumsum(axis=2)).mean(axis=0))


def scaled(losses: Floats, propensity: Floats, least: Floats, alpha: float) -> Floats:
    """What the stakes of ``STAKES`` are multiplied with: bets follow the propensities in force.

    ``least`` is the smallest propensity that a kept draft could have had; with the bound of all
    times in its place nothing would ever be certified.
    """
    return np.asarray((losses - alpha) / propensity / (1.0 / least - alpha))
