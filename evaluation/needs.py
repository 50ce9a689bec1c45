"""How many records a promise takes: at best, and at the losses seen so far.  Estimates all."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evaluation.betting import BOLDEST, growth
from evaluation.binomial import at_most
from evaluation.excess import excess_of, range_of
from evaluation.outcomes import Booleans, Floats, Outcomes
from evaluation.targets import Kind, Plan, Target, Test

MOST_RECORDS = 10**9  # beyond this the honest answer is "not at this rate"


@dataclass(frozen=True, slots=True)
class Needs:
    """What it takes to certify any threshold at all.

    ``without_loss`` records of ``counted`` are the least that could, were there no loss among them;
    ``at_best`` are the records of all kinds that hold so many.  ``at_observed`` would do if rates
    stay as these records show them at the threshold that is easiest to certify; None where those
    rates break the target whatever n is, or where nothing was observed.
    """

    counted: str
    without_loss: int
    at_best: int
    at_observed: int | None
    is_observed: bool = True

    def __str__(self) -> str:
        said = (
            f"even without any loss it takes {self.without_loss:,} {self.counted}, "
            f"about {self.at_best:,} records"
        )
        if not self.is_observed:
            return said
        if self.at_observed is None:
            return f"{said}, and at the rates that these records show no number would do"
        return f"{said}; at the rates that these records show, about {self.at_observed:,}"


def needs_of(outcomes: Outcomes, confidence: Floats, target: Target, plan: Plan) -> Needs:
    """What it would take on records like these; "no signal" is -inf in ``confidence``."""
    kept_at = [confidence >= threshold for threshold in plan.thresholds]
    first = least_without_loss(target, plan)
    if target.kind is Kind.ESCALATION_RATE and outcomes.has_equal_weights:
        silent = np.isneginf(confidence)
        seen = Seen(int(silent.sum()), outcomes.n, outcomes.n)
        observed = _until_binomial(seen, target.allowed, target.delta)
        return Needs("records that are kept", first, first, observed)
    counted, share = _counted(outcomes, kept_at[plan.starts[0].level], target)
    each = [_at_level(outcomes, kept, target, plan) for kept in kept_at]
    known = [number for number in each if number is not None]
    at_observed = max(min(known), first) if known else None
    # Where none of so few counts at the first level it is taken that the next one would.
    at_best = math.ceil(first / share) if share else at_observed or first * (outcomes.n + 1)
    return Needs(counted, first, at_best, at_observed)


def needs_at_least(target: Target) -> Needs:
    """What it would take if every record counted, where there are too few to observe anything."""
    first = least_without_loss(target, Plan(np.zeros(1), test=Test.BINOMIAL))
    return Needs("records that count", first, first, None, is_observed=False)


def least_without_loss(target: Target, plan: Plan) -> int:
    """How many of the records that count, at weight 1 and without loss, reject once."""
    delta = _delta(target, plan)
    if target.kind is Kind.ESCALATION_RATE or plan.test is Test.BINOMIAL:
        if not target.allowed:  # no number of records shows that none is ever lost
            return MOST_RECORDS
        return max(1, math.ceil(math.log(delta) / math.log1p(-target.allowed)))
    within = range_of(target, plan.weight_bound)
    won = math.log1p(target.allowed * BOLDEST / within.above)
    return max(1, math.ceil(math.log(1.0 / delta) / won)) if won else MOST_RECORDS


def _counted(outcomes: Outcomes, kept: Booleans, target: Target) -> tuple[str, float]:
    """Which records count, and their share of all, where ``kept`` are kept."""
    if target.kind is Kind.DISAGREEMENT:
        return "kept drafts", float(kept.mean())
    if target.kind is Kind.QUALITY:
        return "records that the teacher gets right", float((outcomes.teacher > 0.0).mean())
    return "records that are kept", 1.0


def _at_level(outcomes: Outcomes, kept: Booleans, target: Target, plan: Plan) -> int | None:
    if plan.test is Test.BINOMIAL:
        counted = kept if target.kind is Kind.DISAGREEMENT else outcomes.teacher == 1.0
        lost = counted & kept & (outcomes.student < 1.0)
        seen = Seen(int(lost.sum()), int(counted.sum()), outcomes.n)
        return _until_binomial(seen, target.allowed, _delta(target, plan))
    above = range_of(target, plan.weight_bound).above
    won, _ = growth(excess_of(outcomes, kept, target), above)
    needed = math.log(1.0 / _delta(target, plan)) / won if won > 0.0 else math.inf
    return math.ceil(needed) if needed <= MOST_RECORDS else None


@dataclass(frozen=True, slots=True)
class Seen:
    """``lost`` of the ``counted`` among ``n`` records."""

    lost: int
    counted: int
    n: int


def _until_binomial(seen: Seen, allowed: float, delta: float) -> int | None:
    """Records until losses at the rate seen pass the binomial test."""
    if not seen.counted or seen.lost >= allowed * seen.counted:
        return None

    def passes(records: int) -> bool:
        times = records / seen.n
        losses, total = math.ceil(seen.lost * times), math.floor(seen.counted * times)
        return bool(at_most(losses, total, allowed) <= delta)

    return _first(passes)


def _delta(target: Target, plan: Plan) -> float:
    """What the best endowed chain may err with."""
    return target.delta * max(start.share for start in plan.starts)


def _first(passes: Callable[[int], bool]) -> int | None:
    """About the least number that passes, as if all above it did; None beyond MOST_RECORDS."""
    high = 1
    while not passes(high):
        high *= 2
        if high > MOST_RECORDS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high
