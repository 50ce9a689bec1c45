"""The most that could have been certified from the labels that a run collected.

By one who knows the true risk of each bin, and so which level to choose in advance: the normal
bound, pooled over bins, of a level must lie below alpha at its mean.  ``ANYTIME`` pays for looks
at any time, ``ONE_LOOK`` is what no rule can promise that may look again.
"""

import math
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from evaluation.outcomes import Floats
from evaluation.promise.grid import last_of
from evaluation.promise.traffic import Traffic


class Floor(StrEnum):
    """How much confidence costs, in standard errors."""

    ANYTIME = "anytime"
    ONE_LOOK = "one look"

    def errors(self, delta: float) -> float:
        """How many standard errors a bound of probability 1 - delta takes."""
        if self is Floor.ANYTIME:
            return math.sqrt(2.0 * math.log(1.0 / delta))
        return float(ndtri(1.0 - delta))


def kept_at_floor(
    traffic: Traffic, labels: npt.NDArray[np.int32], alpha: float, errors: float
) -> Floats:
    """The share that each run could keep; ``labels`` are those in each of equal bins, (runs, n)."""
    bins = labels.shape[1]
    edges = np.arange(bins + 1) * traffic.size // bins
    sums = np.concatenate([np.zeros(1), np.cumsum(traffic.wrong)])[edges]
    risk = np.diff(sums) / np.diff(edges)
    shares = np.arange(1, bins + 1) / bins
    spread = risk * (1.0 - risk) / np.maximum(labels, 1)
    error = np.sqrt(spread.cumsum(axis=1)) / bins / shares
    level = last_of(risk.cumsum() / bins / shares + errors * error <= alpha)
    return np.where(level >= 0, shares[level], 0.0)
