"""Does a confidence tell acceptable drafts from others, and does it mean what it says?

Both measures take many reweightings of the same records at once, shape (b, n).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.outcomes import Floats, Integers, Outcomes, sortable

BINS = 15


@dataclass(frozen=True, slots=True)
class Bin:
    """Confidences in [``low``, ``high``), the last bin closed; means are None where it is empty.

    ``share`` is the weight of these records among all that state a confidence.
    """

    low: float
    high: float
    share: float
    confidence: float | None
    acceptable: float | None


def auroc_by_group(acceptable: Floats, weights: Floats, ends: Integers) -> Floats:
    """Probability that an acceptable draft has the higher confidence, ties counting half.

    ``acceptable`` in [0, 1], shape (n,), and ``weights``, shape (b, n), are sorted by confidence;
    ``ends`` has the last place of each group of ties.  A draft that is acceptable to the degree a
    counts a times as such and 1 - a times as not.  Shape (b,); NaN where all are alike.
    """
    good = sums_up_to(weights * acceptable, ends)
    bad = sums_up_to(weights, ends)
    bad -= good
    pairs = good[:, -1] * bad[:, -1]
    # Of the pairs with this group's acceptable drafts, those below are won and ties half.
    won = np.einsum("ij,ij->i", np.diff(good, axis=1), (bad[:, 1:] + bad[:, :-1]) / 2.0)
    return np.asarray(won / np.where(pairs > 0.0, pairs, np.nan))


def sums_up_to(values: Floats, ends: Integers) -> Floats:
    """0, then the sums of each row up to and with each of ``ends``; shape (b, 1 + len(ends))."""
    running = np.cumsum(values, axis=1)
    sums = np.zeros((len(values), len(ends) + 1))
    sums[:, 1:] = running if len(ends) == values.shape[1] else running[:, ends]
    return sums


def ends_of_ties(ascending: Floats) -> Integers:
    """The last place of each group of equal values."""
    return np.flatnonzero(np.r_[ascending[1:] != ascending[:-1], True])


def ordered(values: npt.ArrayLike) -> tuple[Integers, Integers]:
    """The places of ``values`` from low to high, and where each group of equal ones ends."""
    ranked = np.asarray(values, dtype=np.float64)
    ranked = np.where(np.isnan(ranked), -np.inf, ranked)
    order = np.argsort(ranked, kind="stable")
    return order, ends_of_ties(ranked[order])


def auroc(outcomes: Outcomes, confidence: npt.ArrayLike) -> float | None:
    """The area for one set of records; NaN confidences ("no signal") rank below all others."""
    order, ends = ordered(sortable(confidence, outcomes.n))
    (area,) = auroc_by_group(outcomes.student[order], outcomes.weight[None, order], ends)
    return None if np.isnan(area) else float(area)


def expected_calibration_errors(
    confidence: Floats, acceptable: Floats, weights: Floats, bins: int = BINS
) -> Floats:
    """Mean gap between stated confidence and observed acceptance, weighted by bin, shape (b,).

    Bins have equal width; records without a confidence (NaN) state nothing and do not count.  NaN
    where none states any, or one lies outside [0, 1] and so is no probability.
    Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv:1706.04599), section 2.
    """
    stated = ~np.isnan(confidence)
    said = confidence[stated]
    if not said.size or said.min() < 0.0 or said.max() > 1.0:
        return np.full(len(weights), np.nan)
    member = _membership(said, bins)
    drawn = weights[:, stated]
    gaps = drawn @ (member * (acceptable[stated] - said)[:, None])
    total = drawn.sum(axis=1)
    return np.asarray(np.abs(gaps).sum(axis=1) / np.where(total > 0.0, total, np.nan))


def reliability(outcomes: Outcomes, confidence: npt.ArrayLike, bins: int = BINS) -> list[Bin]:
    """The reliability diagram's bins, of equal width; [] where ECE would be undefined."""
    values = np.asarray(confidence, dtype=np.float64)
    stated = ~np.isnan(values)
    said = values[stated]
    if not said.size or said.min() < 0.0 or said.max() > 1.0:
        return []
    drawn = outcomes.weight[stated, None] * _membership(said, bins)
    total = drawn.sum(axis=0)
    divisor = np.where(total > 0.0, total, np.nan)
    means = (said @ drawn) / divisor, (outcomes.student[stated] @ drawn) / divisor
    return [
        Bin(
            low=place / bins,
            high=(place + 1) / bins,
            share=float(total[place] / total.sum()),
            confidence=float(means[0][place]) if total[place] else None,
            acceptable=float(means[1][place]) if total[place] else None,
        )
        for place in range(bins)
    ]


def _membership(said: Floats, bins: int) -> Floats:
    """1 where a record is in a bin, shape (n, bins)."""
    place = np.minimum((said * bins).astype(np.int64), bins - 1)
    return np.eye(bins)[place]
