"""Which thresholds to test, in which order, from where on: decided without the calibration labels.

The labels of *other* records (those the rule was fitted on, by cross-fitting at best) may guide all
of it.  A bad plan costs power and never validity.
"""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from evaluation.betting import growth
from evaluation.binomial import at_most
from evaluation.errors import TargetError
from evaluation.excess import excess_of, range_of
from evaluation.needs import least_without_loss
from evaluation.outcomes import Booleans, Floats, Outcomes, outcomes_of, sortable
from evaluation.targets import Kind, Plan, Start, Target, Test

LEVELS = 50  # steps of 2% of traffic
LEAST_FIRST_SHARE = 0.1  # strict levels hold too few records to prove anything
ROOM = 2.0  # the first level should hold so many times what it takes without any loss
NEARLY = 0.02  # of two starts about as likely to be certified, the stricter one


def levels_of(confidence: npt.ArrayLike, levels: int = LEVELS) -> Floats:
    """Thresholds that keep equal steps of these confidences, strict to permissive; the last is 0.

    ``confidence`` is that of other records, at least one with a signal; NaN is "no signal".  Ties
    make one level, so there may be fewer.
    """
    values = np.asarray(confidence, dtype=np.float64)
    said = values[~np.isnan(values)]
    if not said.size:
        raise TargetError("plan: no record states a confidence")
    shares = np.arange(1, levels + 1) / levels
    found = np.quantile(said, 1.0 - shares, method="inverted_cdf")
    return np.unique(np.r_[found, 0.0])[::-1]


def levels_on_scale(levels: int = LEVELS) -> Floats:
    """Equal steps of the confidence scale itself, for those who have no other records."""
    return np.linspace(1.0, 0.0, levels + 1)


def unlabelled_plan(confidence: npt.ArrayLike, target: Target, n: int, test: Test) -> Plan:
    """A plan from other records' confidences alone, for ``n`` records to calibrate on.

    The chain for disagreement starts where a level holds ROOM times the records that it takes
    without loss; the other targets are easiest at the first level.
    """
    values = sortable(confidence, np.size(confidence))
    plan = Plan(levels_of(confidence), test=test)
    if target.kind is not Kind.DISAGREEMENT:
        return plan
    share = max(LEAST_FIRST_SHARE, ROOM * least_without_loss(target, plan) / n)
    kept = (values[None, :] >= plan.thresholds[:, None]).mean(axis=1)
    enough = np.flatnonzero(kept >= min(share, kept[-1]))
    return replace(plan, starts=(Start(int(enough[0]), 1.0),))


def labelled_plan(
    outcomes: Outcomes,
    confidence: npt.ArrayLike,
    target: Target,
    n: int,
    weight_bound: float | None = None,
) -> Plan:
    """A plan from other, labelled records, for ``n`` records to calibrate on.

    The chain starts where certification is likeliest if the ``n`` are like these, and the test is
    the one that promises to keep more.  ``weight_bound`` is the largest weight that the sampling
    design can give, the largest among these where it is not said.
    """
    bound = float(outcomes.weight.max()) if weight_bound is None else weight_bound
    values = sortable(confidence, outcomes.n)
    base = Plan(levels_of(confidence), weight_bound=bound)
    kept = values[None, :] >= base.thresholds[:, None]
    found = []
    for test in _possible_tests(outcomes, target):
        plan = replace(base, test=test)
        chances = np.array([_chance(outcomes, each, target, plan, n) for each in kept])
        if target.kind is Kind.ESCALATION_RATE:
            chances = chances[::-1]
        start = int(np.flatnonzero(chances >= chances.max() - NEARLY)[0])
        steps = np.diff(kept.mean(axis=1), prepend=0.0)
        found.append((float(steps @ chances), replace(plan, starts=(Start(start, 1.0),))))
    return max(found, key=lambda each: each[0])[1]


def _possible_tests(outcomes: Outcomes, target: Target) -> list[Test]:
    if target.kind is Kind.ESCALATION_RATE or not outcomes.has_equal_weights:
        return [Test.BETTING]
    if target.kind is Kind.QUALITY and not bool(np.isin(outcomes.teacher, (0.0, 1.0)).all()):
        return [Test.BETTING]
    return [Test.BINOMIAL, Test.BETTING]


def _chance(outcomes: Outcomes, kept: Booleans, target: Target, plan: Plan, n: int) -> float:
    """How likely ``n`` records like these certify this level.

    One more loss is assumed than was seen, as levels without any would look certain.
    """
    if plan.test is Test.BINOMIAL:
        counted = kept if target.kind is Kind.DISAGREEMENT else outcomes.teacher == 1.0
        lost = counted & kept & (outcomes.student < 1.0)
        total = math.floor(n * float(counted.mean()))
        rate = (float(lost.sum()) + 1.0) / (float(counted.sum()) + 2.0)
        most = int(
            np.count_nonzero(at_most(np.arange(total + 1), total, target.allowed) <= target.delta)
        )
        return float(at_most(most - 1, total, rate))
    seen = outcomes_of(
        np.r_[outcomes.student, 0.0], np.r_[outcomes.teacher, 1.0], np.r_[outcomes.weight, 1.0]
    )
    values = excess_of(seen, np.r_[kept, target.kind is not Kind.ESCALATION_RATE], target)
    won, spread = growth(values, range_of(target, plan.weight_bound).above)
    missing = n * won - math.log(1.0 / target.delta)
    return float(ndtr(missing / (math.sqrt(n) * max(spread, 1e-9))))
