"""How often the student fails on a kind of prompt, with an interval, and what counts as failing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Of a normal distribution, for intervals of 95%.
_Z = 1.959964
DEFAULT_FAILING_FROM = 0.2
FROM_RECORDS, FROM_PAIRS = "records", "pairs"


@dataclass(frozen=True, slots=True)
class Rate:
    """A share in [0, 1] with its interval of 95%, and on how many records it rests."""

    value: float
    low: float
    high: float
    records: int

    def is_failing(self, failing_from: float) -> bool:
        """Whether it is above ``failing_from`` with the interval's confidence."""
        return self.low > failing_from

    def document(self) -> dict[str, float | int]:
        """The rate as JSON has it."""
        return {
            "rate": round(self.value, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
            "records": self.records,
        }


def failure_rate(ok: Sequence[float], weights: Sequence[float] | None = None) -> Rate | None:
    """One less the weighted mean of ``ok`` in [0, 1]; None without any record.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference", at the
    effective number of records, (sum w)^2 / sum w^2 (Kish 1965): equal weights leave it as it is.
    """
    if not ok:
        return None
    good = np.asarray(ok, dtype=np.float64)
    weight = np.ones_like(good) if weights is None else np.asarray(weights, dtype=np.float64)
    share = float(1.0 - weight @ good / weight.sum())
    return _wilson(min(max(share, 0.0), 1.0), _effective(weight), len(good))


def _effective(weight: npt.NDArray[np.float64]) -> float:
    return float(weight.sum() ** 2 / (weight @ weight))


def _wilson(share: float, effective: float, records: int) -> Rate:
    square = _Z * _Z / effective
    middle = (share + square / 2.0) / (1.0 + square)
    spread = share * (1.0 - share) / effective + square / (4.0 * effective)
    half = _Z * math.sqrt(spread) / (1.0 + square)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    # At the ends floats may fall a little short of the share itself.
    return Rate(share, min(low, share), max(high, share), records)
