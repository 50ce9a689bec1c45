"""What came of a cell in the few numbers that a table or a picture shows."""

from dataclasses import dataclass

import numpy as np

from evaluation.outcomes import Floats
from evaluation.promise.design import Design
from evaluation.promise.floors import Floor
from evaluation.promise.runs import STEP, Course, Size, simulate
from evaluation.promise.traffic import Traffic, bill_of


@dataclass(frozen=True, slots=True)
class Then:
    """The state after so many requests: means over runs, and the worst tenth.

    ``over`` is by how much the bill of the standing in force exceeds the oracle's, ``over_all``
    that of everything until then, as shares; ``floors`` are shares kept.
    """

    requests: int
    kept: float
    over: float
    over_all: float
    over_worst: float
    over_all_worst: float
    risk: float
    floors: dict[Floor, float]


@dataclass(frozen=True, slots=True)
class Summary:
    """One cell.  ``first`` are the median and the 90th percentile of the requests that it took to
    keep anything, inf where so many runs never did."""

    runs: int
    oracle: float
    first: tuple[float, float]
    ever_above: float
    time_above: float
    worst_risk: float
    then: dict[int, Then]

    @property
    def oracle_bill(self) -> float:
        """Of a request, in calls of the teacher."""
        return float(bill_of(self.oracle))


def summary_of(course: Course, delta: float, at: tuple[int, ...]) -> Summary:
    """After each of these numbers of requests."""
    first = course.first_in_force
    return Summary(
        runs=len(first),
        oracle=course.oracle,
        first=(_of(first, 0.5), _of(first, 0.9)),
        ever_above=course.ever_above,
        time_above=course.time_above,
        worst_risk=_of(course.risk.max(axis=0), 0.95),
        then={each: _then(course, delta, each) for each in at},
    )


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Means over runs, and the 10th and 90th percentile, after each of ``requests``; shape (n,)."""

    requests: Floats
    kept: Floats
    kept_low: Floats
    kept_high: Floats
    bill: Floats
    bill_all: Floats
    floors: dict[Floor, Floats]


def curves_of(course: Course, delta: float) -> Curves:
    """What a picture over time draws."""
    at = [STEP * (step + 1) for step in range(len(course.labels))]
    kept = np.array([course.kept_at(each) for each in at])
    oracle = float(bill_of(course.oracle))

    def bill(*, is_cumulative: bool) -> Floats:
        over = [course.bill_over(each, is_cumulative=is_cumulative).mean() for each in at]
        return oracle * (1.0 + np.array(over))

    return Curves(
        requests=np.array(at, dtype=np.float64),
        kept=kept.mean(axis=1),
        kept_low=np.quantile(kept, 0.1, axis=1),
        kept_high=np.quantile(kept, 0.9, axis=1),
        bill=bill(is_cumulative=False),
        bill_all=bill(is_cumulative=True),
        floors={
            each: np.array([course.floor_at(n, each, delta).mean() for n in at]) for each in Floor
        },
    )


def cell(traffic: Traffic, design: Design, size: Size, at: tuple[int, ...]) -> Summary:
    """Simulate and sum up."""
    return summary_of(simulate(traffic, design, design.alpha, size), design.delta, at)


def _then(course: Course, delta: float, requests: int) -> Then:
    over = course.bill_over(requests)
    over_all = course.bill_over(requests, is_cumulative=True)
    return Then(
        requests=requests,
        kept=float(course.kept_at(requests).mean()),
        over=float(over.mean()),
        over_all=float(over_all.mean()),
        over_worst=_of(over, 0.9),
        over_all_worst=_of(over_all, 0.9),
        risk=float(course.risk_at(requests).mean()),
        floors={each: float(course.floor_at(requests, each, delta).mean()) for each in Floor},
    )


def _of(values: Floats, quantile: float) -> float:
    """One of the values, as inf cannot be interpolated."""
    return float(np.quantile(values, quantile, method="higher"))
