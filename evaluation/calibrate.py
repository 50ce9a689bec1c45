"""From scores to probabilities: fits the maps that `routing.calibration` applies.

Platt's map with a slope that is not negative; for the scores of many records straight lines between
the centres of pools of adjacent violators, which rise wherever Platt's would and so keep the order
(Oron and Flournoy 2017, "Centered isotonic regression: point and interval estimation for
dose-response studies").  For groups of requests Platt's map again, drawn towards that of all.
"""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from evaluation.features import Names
from evaluation.outcomes import Floats
from routing.calibration import Calibration, Logistic, PiecewiseLinear

LEAST_SLOPE = 1e-3  # a map must not make all scores the same: their order is all there is
LEAST_IN_GROUP = 25
# As many records as a group must have for its own evidence to weigh as much as that of all.
GROUP_SHRINKAGE = 20.0
KNOTS_FROM = 1000  # records; with fewer, pools are a few records each
MOST_KNOTS = 50

_EDGE = 1e-4


def fit_logistic(score: Floats, acceptable: Floats, weight: Floats) -> Logistic:
    """Platt's map of least log loss, with his smoothing of the two classes."""
    middle, spread = _standard(score, weight)
    found = _newton((score - middle) / spread, _smoothed(acceptable, weight), weight, None)
    slope = max(float(found[0]), LEAST_SLOPE)
    return _logistic(slope / spread, found[1] - slope * middle / spread)


def fit_by_group(
    score: Floats, acceptable: Floats, weight: Floats, groups: Names
) -> Mapping[str, Logistic]:
    """A map for each group that is named often enough, drawn towards the map of all."""
    pooled = fit_logistic(score, acceptable, weight)
    middle, spread = _standard(score, weight)
    slope = pooled.slope * spread
    prior = (slope, pooled.intercept + pooled.slope * middle)
    maps = {}
    for name in sorted(set(groups) - {""}):
        chosen = groups == name
        if np.count_nonzero(chosen) < LEAST_IN_GROUP:
            continue
        standard = (score[chosen] - middle) / spread
        drawn = weight[chosen] / weight[chosen].mean()
        found = _newton(standard, acceptable[chosen], drawn, prior)
        slope = max(found[0], LEAST_SLOPE)
        maps[str(name)] = _logistic(slope / spread, found[1] - slope * middle / spread)
    return maps


def fit_knots(score: Floats, acceptable: Floats, weight: Floats) -> Calibration:
    """Straight lines between the centres of pools of adjacent violators, rising throughout."""
    pools = IsotonicRegression(y_min=_EDGE, y_max=1.0 - _EDGE)
    levels = pools.fit_transform(score, acceptable, sample_weight=weight)
    values, place = np.unique(levels, return_inverse=True)
    total = np.bincount(place, weights=weight)
    centres = np.bincount(place, weights=weight * score) / total
    if len(values) > MOST_KNOTS:  # those that hold most records, in order
        keep = np.sort(np.argsort(total)[-MOST_KNOTS:])
        centres, values = centres[keep], values[keep]
    low, high = float(score.min()), float(score.max())
    # Beyond the outer centres a little room, so that the order does not end there.
    if low < centres[0]:
        centres, values = np.r_[low, centres], np.r_[values[0] * 0.5, values]
    if high > centres[-1]:
        centres, values = np.r_[centres, high], np.r_[values, (1.0 + values[-1]) / 2.0]
    rising = np.r_[True, np.diff(centres) > 0.0]
    return PiecewiseLinear(tuple(map(float, centres[rising])), tuple(map(float, values[rising])))


def fit_map(score: Floats, acceptable: Floats, weight: Floats) -> Calibration:
    """The map for one signal: any shape where there are records enough to see it."""
    if len(score) >= KNOTS_FROM and len(np.unique(score)) > 2:
        return fit_knots(score, acceptable, weight)
    return fit_logistic(score, acceptable, weight)


def apply(calibration: Calibration, score: Floats) -> Floats:
    """The confidences of many scores, NaN where a score is NaN."""
    if isinstance(calibration, Logistic):
        exponent = calibration.slope * score + calibration.intercept
        return np.asarray(1.0 / (1.0 + np.exp(np.minimum(-exponent, 700.0))))
    if isinstance(calibration, PiecewiseLinear):
        return np.asarray(np.interp(score, calibration.scores, calibration.confidences))
    return np.clip(score, 0.0, 1.0)


def apply_by_group(
    calibration: Calibration, by_group: Mapping[str, Calibration], score: Floats, groups: Names
) -> Floats:
    """The same, each group that has a map of its own by that."""
    found = apply(calibration, score)
    for name, own in by_group.items():
        chosen = groups == name
        found[chosen] = apply(own, score[chosen])
    return found


def log_loss(confidence: Floats, acceptable: Floats) -> Floats:
    """The surprise at each record, shape (n,)."""
    said = np.clip(confidence, _EDGE, 1.0 - _EDGE)
    return np.asarray(-(acceptable * np.log(said) + (1.0 - acceptable) * np.log(1.0 - said)))


def _logistic(slope: float, intercept: float) -> Logistic:
    return Logistic(slope=float(slope), intercept=float(intercept))


def _standard(score: Floats, weight: Floats) -> tuple[float, float]:
    middle = float(np.average(score, weights=weight))
    spread = float(np.sqrt(np.average((score - middle) ** 2, weights=weight)))
    return middle, spread if spread > 1e-9 else 1.0


def _smoothed(acceptable: Floats, weight: Floats) -> Floats:
    """Platt's targets: no class is certain, however many records of it there are."""
    drawn = weight / weight.mean()
    good = float(drawn @ acceptable)
    high, low = (good + 1.0) / (good + 2.0), 1.0 / (float(drawn.sum()) - good + 2.0)
    return acceptable * high + (1.0 - acceptable) * low


def _newton(
    score: Floats, target: Floats, weight: Floats, prior: tuple[float, float] | None
) -> Floats:
    """Slope and intercept of least log loss, near ``prior`` where there is one."""

    def loss(parameters: Floats) -> tuple[float, Floats]:
        exponent = parameters[0] * score + parameters[1]
        total = float(weight @ (np.logaddexp(0.0, exponent) - target * exponent))
        rest = weight * (1.0 / (1.0 + np.exp(-np.clip(exponent, -500.0, 500.0))) - target)
        slopes = np.array([float(rest @ score), float(rest.sum())])
        if prior is not None:
            away = parameters - np.array(prior)
            # A record far from certain has a curvature of a quarter.
            total += GROUP_SHRINKAGE / 8.0 * float(away @ away)
            slopes = slopes + GROUP_SHRINKAGE / 4.0 * away
        return total, slopes

    start = np.array([1.0, 0.0] if prior is None else prior)
    return np.asarray(minimize(loss, start, jac=True, method="BFGS").x)
