"""Traffic by the second, and what requests are like: merits, costs, how long the teacher takes."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from routing.money import PICO_PER_USD

Floats = npt.NDArray[np.float64]
DAY = 86_400
_CHUNK_SECONDS = 600


def day_cycle(seconds: int, mean: float, swing: float, cycle: int = DAY) -> Floats:
    """Requests expected in each second: from ``mean * (1 - swing)`` at first, at night, to
    ``mean * (1 + swing)`` half a cycle later."""
    place = np.arange(seconds) / cycle
    return mean * (1.0 - swing * np.cos(2.0 * np.pi * place))


def with_burst(rates: Floats, begins: int, seconds: int, times: float) -> Floats:
    """The same, but so many times as much for a while: from one second to the next."""
    bursting = rates.copy()
    bursting[begins : begins + seconds] *= times
    return bursting


@dataclass(frozen=True, slots=True)
class Population:
    """What requests are like.

    Merits are of a beta distribution.  An escalation is expected to cost ``usd``, times a lognormal
    number of the sigma ``spread``; it comes to that, times one of the sigma ``noise``, both of the
    mean 1, and to no more than ``most`` times that: answers have limits.  The teacher takes
    ``seconds`` in the median, with the sigma ``delay``.  ``forced`` is the share of requests
    without a draft, ``student_usd`` what a draft costs.  Where costs are not ``known``, nothing is
    expected of them.
    """

    merit: tuple[float, float] = (4.0, 1.0)
    usd: float = 0.004
    spread: float = 0.7
    noise: float = 1.0
    most: float = 20.0
    seconds: float = 6.0
    delay: float = 0.6
    forced: float = 0.02
    student_usd: float = 0.00002
    known: bool = True


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: what is expected of it, what it comes to, and a number in [0, 1) to place it."""

    merit: float
    expected_pico: int | None
    actual_pico: int
    seconds: int
    place: float
    is_forced: bool


def arrivals(
    rates: Floats, population: Population, generator: np.random.Generator
) -> Iterator[list[Arrival]]:
    """The requests of each second."""
    for begins in range(0, len(rates), _CHUNK_SECONDS):
        counts = generator.poisson(rates[begins : begins + _CHUNK_SECONDS])
        drawn = _drawn(int(counts.sum()), population, generator)
        ends = np.concatenate([[0], np.cumsum(counts)]).tolist()
        for first, last in pairwise(ends):
            yield drawn[first:last]


def usual(population: Population, size: int = 4096) -> tuple[Floats, Floats]:
    """Merits and expected costs in dollars of so many requests, always the same ones."""
    generator = np.random.default_rng(0)
    costs = population.usd * _lognormal(size, population.spread, generator)
    merits = generator.beta(*population.merit, size)
    return merits, costs if population.known else np.full(size, population.usd)


def _drawn(size: int, population: Population, generator: np.random.Generator) -> list[Arrival]:
    expected = population.usd * PICO_PER_USD * _lognormal(size, population.spread, generator)
    actual = expected * np.minimum(_lognormal(size, population.noise, generator), population.most)
    wait = population.seconds * np.exp(population.delay * generator.standard_normal(size))
    columns = (
        generator.beta(*population.merit, size).tolist(),
        expected.astype(np.int64).tolist() if population.known else [None] * size,
        actual.astype(np.int64).tolist(),
        np.ceil(wait).astype(np.int64).tolist(),
        generator.random(size).tolist(),
        (generator.random(size) < population.forced).tolist(),
    )
    return [Arrival(*each) for each in zip(*columns, strict=True)]


def _lognormal(size: int, sigma: float, generator: np.random.Generator) -> Floats:
    return np.exp(sigma * generator.standard_normal(size) - sigma * sigma / 2.0)
