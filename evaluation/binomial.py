"""The one distribution that the exact tests rest on."""

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from evaluation.outcomes import Floats


def at_most(count: npt.ArrayLike, records: npt.ArrayLike, rate: float) -> Floats:
    """P(Bin(records, rate) <= count), elementwise; 1 for no records, 0 for counts below 0."""
    counts, totals = np.asarray(count), np.asarray(records)
    whole = np.minimum(np.maximum(counts, 0), totals)
    return np.where(counts < 0, 0.0, bdtr(whole.astype(np.float64), totals.astype(np.int64), rate))


def chance_of_at_least(count: int, records: int, rate: float) -> float:
    """P(Bin(records, rate) >= count)."""
    return 1.0 - float(at_most(count - 1, records, rate))
