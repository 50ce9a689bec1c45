"""Which of several orders is worth its complexity, by what each record adds to the area.

The area under r(c) is the student's mean quality plus the weighted mean, over records, of the gain
times the share of other records that are escalated after this one: a mean of one number a record,
so that the difference between two orders has a standard error without any resampling.
"""

from collections.abc import Mapping

import numpy as np

from evaluation.outcomes import Floats, Outcomes, sortable
from evaluation.reliability import ordered

STANDARD_ERRORS = 0.5  # a simpler order is preferred unless it is this much worse


def credit_of(outcomes: Outcomes, merit: Floats) -> Floats:
    """What each record adds to the area under r(c), shape (n,); NaN merits come first."""
    order, ends = ordered(sortable(merit, outcomes.n))
    weight = outcomes.weight[order]
    after = np.r_[0.0, np.cumsum(weight)[ends]] / weight.sum()
    middle = (after[1:] + after[:-1]) / 2.0  # of ties, half come before
    sizes = np.diff(np.r_[-1, ends])
    share = np.empty(outcomes.n)
    share[order] = np.repeat(middle, sizes)
    return (outcomes.teacher - outcomes.student) * (1.0 - share)


def area(outcomes: Outcomes, merit: Floats) -> float:
    """The area under r(c) less the student's quality: the order by merit that is best is largest.

    It ranks orders as APGR does, and is defined where the teacher is no better than the student.
    """
    return float(np.average(credit_of(outcomes, merit), weights=outcomes.weight))


def simplest_good(outcomes: Outcomes, merits: Mapping[str, Floats]) -> str:
    """The first of these orders, the simplest first, that is about as good as the best of them."""
    found = {name: credit_of(outcomes, merit) for name, merit in merits.items()}
    weight = outcomes.weight / outcomes.weight.sum()
    best = max(found.values(), key=lambda each: float(weight @ each))
    for name, each in found.items():
        behind = best - each
        mean = float(weight @ behind)
        error = float(np.sqrt((weight**2) @ (behind - mean) ** 2))
        if mean <= STANDARD_ERRORS * error:
            return name
    raise AssertionError("the best is as good as itself")
