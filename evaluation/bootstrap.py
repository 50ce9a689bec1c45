"""How far chance alone moves a measure: intervals, and differences between methods, by resampling.

All methods see the same resamples, so that a difference between two of them is paired: what a
resample does to both cancels out.  Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
chapter 13 (percentile intervals).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from evaluation.curves import MEASURES, Ranking, sort
from evaluation.errors import EvaluationError
from evaluation.outcomes import Floats, Outcomes

DEFAULT_ROUNDS = 1000
DEFAULT_LEVEL = 0.95
LEAST_DEFINED = 0.95  # an interval over fewer of the resamples than this would be a selection

_CHUNK_NUMBERS = 500_000  # rows x records in work at a time: 4 MB an array stays in the cache


@dataclass(frozen=True, slots=True)
class Interval:
    """Ends of a two-sided percentile interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """Measures of each method on each resample.

    ``samples[method][measure]`` has shape (rounds,), NaN where undefined; ``quality[method]`` holds
    r at each of ``shares``, shape (rounds, len(shares)).
    """

    samples: Mapping[str, Mapping[str, Floats]]
    shares: Floats
    quality: Mapping[str, Floats]

    def interval(self, method: str, measure: str, level: float = DEFAULT_LEVEL) -> Interval | None:
        """Of one method's measure; None where too many resamples leave it undefined."""
        return _interval(self.samples[method][measure], level)

    def difference(
        self, left: str, right: str, measure: str, level: float = DEFAULT_LEVEL
    ) -> Interval | None:
        """Of ``left`` minus ``right``, paired; None where too many resamples leave it undefined."""
        return _interval(self.samples[left][measure] - self.samples[right][measure], level)

    def band(self, method: str, level: float = DEFAULT_LEVEL) -> tuple[Floats, Floats]:
        """Lower and upper end of r at each of ``shares``, point by point."""
        low, high = np.quantile(self.quality[method], _tails(level), axis=0)
        return low, high


def bootstrap(
    outcomes: Outcomes,
    rankings: Mapping[str, Ranking],
    *,
    rounds: int = DEFAULT_ROUNDS,
    seed: int = 0,
    points: int = 101,
) -> Resampled:
    """Measure every method on the same ``rounds`` resamples of the records, drawn by ``seed``.

    The confidences are taken as they are: what was fitted is not fitted again on each resample.
    """
    if rounds < 1 or points < 2:
        raise EvaluationError(f"bootstrap: needs rounds and points, got {rounds} and {points}")
    methods = {name: sort(outcomes, ranking) for name, ranking in rankings.items()}
    shares = np.linspace(0.0, 1.0, points)
    rows: dict[str, dict[str, list[Floats]]] = {
        name: {measure: [] for measure in MEASURES} for name in methods
    }
    heights: dict[str, list[Floats]] = {name: [] for name in methods}
    for weights in resamples(outcomes, rounds, seed):
        for name, method in methods.items():
            found, curves = method.measures(weights)
            for measure, values in found.items():
                rows[name][measure].append(values)
            heights[name].append(curves.at(shares))
    return Resampled(
        samples={
            name: {measure: np.concatenate(values) for measure, values in by_measure.items()}
            for name, by_measure in rows.items()
        },
        shares=shares,
        quality={name: np.concatenate(values) for name, values in heights.items()},
    )


def resamples(outcomes: Outcomes, rounds: int, seed: int) -> Iterator[Floats]:
    """Weights of ``rounds`` resamples with replacement, some rows at a time, shape (b, n)."""
    generator = np.random.default_rng(seed)
    n = outcomes.n
    size = max(1, _CHUNK_NUMBERS // n)
    for first in range(0, rounds, size):
        count = min(size, rounds - first)
        drawn = generator.integers(0, n, size=(count, n)) + n * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)
        yield times * outcomes.weight


def _interval(values: Floats, level: float) -> Interval | None:
    defined = values[~np.isnan(values)]
    if defined.size < LEAST_DEFINED * values.size:
        return None
    low, high = np.quantile(defined, _tails(level))
    return Interval(float(low), float(high))


def _tails(level: float) -> tuple[float, float]:
    return (1.0 - level) / 2.0, (1.0 + level) / 2.0
