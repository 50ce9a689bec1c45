"""What a run came to: deviations over any hour, and how much a threshold moves."""

import numpy as np
import numpy.typing as npt

from evaluation.pacing.traffic import Floats

HOUR = 3600


def over_any_hour(each_second: Floats) -> Floats:
    """Sums over all hours, one beginning in each second: shape (seconds - 3599,)."""
    rising: Floats = np.concatenate([[0.0], np.cumsum(each_second)])
    return rising[HOUR:] - rising[:-HOUR]


def spend_off(usd: Floats, usd_per_hour: float) -> Floats:
    """By which part of the target each hour is above it, or below."""
    return over_any_hour(usd) / usd_per_hour - 1.0


def rate_off(escalated: Floats, requests: Floats, at_most: float) -> Floats:
    """By which part of the ceiling the share of each hour is above it, or below."""
    return over_any_hour(escalated) / over_any_hour(requests) / at_most - 1.0


def has_enough(possible: Floats, usd_per_hour: float, smooth: int = 300) -> npt.NDArray[np.bool_]:
    """Of each hour, whether all of it had the traffic to spend the target and a tenth more."""
    kernel = np.ones(smooth) / smooth
    spendable = np.convolve(possible, kernel, mode="same") * HOUR
    lacks = (spendable < 1.1 * usd_per_hour).astype(np.float64)
    enough: npt.NDArray[np.bool_] = over_any_hour(lacks) == 0.0
    return enough


def variation(values: Floats) -> float:
    """How far a curve goes up and down altogether, for each hour."""
    return float(np.abs(np.diff(values)).sum() / (len(values) / HOUR))
