"""The threshold that keeps a promise on new requests, with a stated probability, or a refusal.

A promise is about the distribution that the calibration records were drawn from: with probability
at least 1 - delta over the draw of those records, the threshold returned here has it.  Never is a
point estimate taken for it.

Theorem (Learn then Test: Angelopoulos, Bates, Candes, Jordan and Lei 2021, arXiv:2110.01052,
fixed-sequence testing).  Let thresholds t_1 > t_2 > ... and their order be fixed
without the labels.  For each let H_j be "at t_j the promise is broken", and let a test reject a
true H_j with probability at most delta.  Test in order, stop at the first H_j not rejected, return
the last one rejected.  Then the promise is broken with probability at most delta.
Proof.  Let t_b be the first threshold of the order at which the promise is broken.  To return any
broken one, H_b must have been rejected on the way.  It is one true hypothesis: delta.
No monotony is used: the risk among kept drafts need not fall as the threshold rises, and a hump
costs power, never validity.  Several chains with shares of delta are a union bound.

What H_j says.  With weights w (inverse sampling probabilities), quality S of the student and T of
the teacher in [0, 1], L = 1 - S, K = 1{confidence >= t_j}; "no signal" is never kept.

DISAGREEMENT at most a among kept drafts.  The risk is E[w L K] / E[w K], and
    Z = w (L - a) K,   risk > a  <=>  E[Z] > 0.
A ratio is compared without estimating it.  Z <= w_max (1 - a).
BINOMIAL: given which records are kept, the kept losses are i.i.d. with mean the risk, so the count
of L > 0, at least as likely each, lies stochastically above Bin(m, a) under H_j, and
P(Bin(m, a) <= count) is a p-value.

QUALITY served, Q = K S + (1 - K) T, at least q times the teacher's: E[w Q] >= q E[w T].
    Z = w (q T - Q) = w (K (q T - S) - (1 - K) (1 - q) T),   broken  <=>  E[Z] > 0,
for all E[w T] >= 0 by subtraction alone.  As T <= 1 and S >= 0, Z <= w_max q; students who beat the
teacher have Z < 0 and count in favour.
BINOMIAL, T in {0, 1}: let A = 1{K = 1, S < T}.  Then Q >= T (1 - A), hence E[Q] >= E[T] P(A = 0 | T
= 1).  If the promise is broken, P(A = 1 | T = 1) > 1 - q; given the m records with T = 1 the count
of A is Bin(m, that), so P(Bin(m, 1 - q) <= count) is a p-value.

ESCALATION_RATE at most e: P(confidence < t) <= e.  Of the thresholds that keep it the strictest is
wanted.  Unweighted: t is the k-th smallest confidence, k the largest with P(Bin(n, e) <= k - 1) <=
delta.  P(confidence < t) lies stochastically below the k-th of n uniform order statistics, ties
included, which exceeds e with exactly that probability (Wilks 1941, tolerance limits).
Weighted: Z = w (1{confidence < t_j} - e), with chains from permissive to strict.

The tests for E[Z] are those of evaluation/betting.py.  Assumptions, all of them: the records are
i.i.d. draws from the requests to come, each with known inverse sampling probability w <= w_max;
their labels are what the comparator would say; confidences come from a rule fitted on other
records.  Whoever feeds in records that the rule was fitted on, or that were picked by outcome, has
no promise.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.betting import best_wealth, stakes
from evaluation.binomial import at_most
from evaluation.errors import TargetError
from evaluation.excess import excess_of, range_of
from evaluation.needs import Needs, needs_of
from evaluation.outcomes import Booleans, Floats, Integers, Outcomes, sortable
from evaluation.targets import Kind, Plan, Target, Test


@dataclass(frozen=True, slots=True)
class Certified:
    """A threshold with the promise that it keeps.

    ``observed`` is what these records show at it, ``kept_share`` what they keep: estimates, beside
    the promise, and no part of it.
    """

    target: Target
    threshold: float
    n: int
    kept: int
    kept_share: float
    observed: float


@dataclass(frozen=True, slots=True)
class Refused:
    """No threshold could be certified, and what it would take."""

    target: Target
    n: int
    needs: Needs

    def __str__(self) -> str:
        return f"{self.target} cannot be promised on {self.n:,} records: {self.needs}"


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Calibration sets side by side, one a row: every array has shape (r, n)."""

    confidence: Floats
    student: Floats
    teacher: Floats
    weight: Floats

    def rows(self, places: Booleans) -> "Batch":
        """Those sets alone."""
        return Batch(
            self.confidence[places], self.student[places], self.teacher[places], self.weight[places]
        )

    def reordered(self, order: Integers) -> "Batch":
        """Every set's records in another order."""
        return Batch(
            self.confidence[:, order],
            self.student[:, order],
            self.teacher[:, order],
            self.weight[:, order],
        )


def choose_threshold(
    outcomes: Outcomes, confidence: npt.ArrayLike, target: Target, plan: Plan
) -> Certified | Refused:
    """The most permissive threshold certified; of those for an escalation rate, the strictest.

    ``confidence`` has shape (n,), NaN where there is no signal.  Raises TargetError where the
    records do not fit the plan's test.
    """
    values = sortable(confidence, outcomes.n)
    batch = Batch(
        values[None, :],
        outcomes.student[None, :],
        outcomes.teacher[None, :],
        outcomes.weight[None, :],
    )
    (threshold,) = certified_thresholds(batch, target, plan)
    if np.isnan(threshold):
        return Refused(target, outcomes.n, needs_of(outcomes, values, target, plan))
    kept = values >= threshold
    return Certified(
        target=target,
        threshold=float(threshold),
        n=outcomes.n,
        kept=int(kept.sum()),
        kept_share=float(np.average(kept, weights=outcomes.weight)),
        observed=observed(outcomes, kept, target.kind),
    )


def observed(outcomes: Outcomes, kept: Booleans, kind: Kind) -> float:
    """What these records show of ``kind`` where ``kept`` are kept: a point estimate, no promise.

    Disagreement among no draft is 0; so is quality where the teacher's is 0.
    """
    weight = outcomes.weight
    match kind:
        case Kind.DISAGREEMENT:
            total = weight[kept].sum()
            losses = (weight * (1.0 - outcomes.student))[kept].sum()
            return float(losses / total) if total else 0.0
        case Kind.QUALITY:
            served = np.where(kept, outcomes.student, outcomes.teacher) @ weight
            teacher = outcomes.teacher @ weight
            return float(served / teacher) if teacher else 0.0
        case Kind.ESCALATION_RATE:
            return float(np.average(~kept, weights=weight))


def certified_thresholds(batch: Batch, target: Target, plan: Plan) -> Floats:
    """The threshold certified on each of the batch's sets, NaN where there is none; shape (r,)."""
    if target.kind is Kind.ESCALATION_RATE and bool((batch.weight == batch.weight[0, 0]).all()):
        return _order_statistics(batch.confidence, target)
    _check(batch, target, plan)
    order = np.random.default_rng(plan.seed).permutation(batch.confidence.shape[1])
    levels = _certified_levels(batch.reordered(order), target, plan)
    return np.where(levels >= 0, plan.thresholds[levels], np.nan)


def _order_statistics(confidence: Floats, target: Target) -> Floats:
    n = confidence.shape[1]
    rank = int(np.count_nonzero(at_most(np.arange(n), n, target.value) <= target.delta))
    if not rank:
        return np.full(len(confidence), np.nan)
    found = np.partition(confidence, rank - 1, axis=1)[:, rank - 1]
    return np.where(np.isneginf(found), np.nan, found)


def _check(batch: Batch, target: Target, plan: Plan) -> None:
    if plan.test is Test.BETTING:
        if batch.weight.max() > plan.weight_bound:
            raise TargetError(
                f"plan: a record weighs {batch.weight.max():g}, more than weight_bound "
                f"{plan.weight_bound:g}: state the largest weight that the sampling can give"
            )
        return
    if not bool((batch.weight == batch.weight[0, 0]).all()):
        raise TargetError("plan: the binomial test is for records of equal weight; plan to bet")
    if target.kind is Kind.QUALITY and not bool(np.isin(batch.teacher, (0.0, 1.0)).all()):
        raise TargetError("plan: the binomial test of quality needs teacher.ok 0 or 1; plan to bet")


def _certified_levels(batch: Batch, target: Target, plan: Plan) -> Integers:
    """The last level certified on each set, -1 where none is; shape (r,)."""
    levels = np.arange(len(plan.thresholds))
    if target.kind is Kind.ESCALATION_RATE:
        levels = levels[::-1]
    found = np.full(len(batch.confidence), -1)
    reached = np.full(len(batch.confidence), -1)
    for start in plan.starts:
        left, sets = np.arange(len(batch.confidence)), batch
        for place in range(start.level, len(levels)):
            holds = _rejects(sets, target, plan, levels[place], start.share)
            if not holds.all():
                left, sets = left[holds], sets.rows(holds)
            if not left.size:
                break
            farther = left[place > reached[left]]
            reached[farther], found[farther] = place, levels[place]
    return found


def _rejects(batch: Batch, target: Target, plan: Plan, level: int, share: float) -> Booleans:
    """On which sets the test finds the promise kept at this level, shape (r,)."""
    delta = target.delta * share
    kept = batch.confidence >= plan.thresholds[level]
    if plan.test is Test.BINOMIAL:
        counted = kept if target.kind is Kind.DISAGREEMENT else batch.teacher == 1.0
        lost = counted & kept & (batch.student < 1.0)
        total = counted.sum(axis=1)
        return np.asarray(at_most(lost.sum(axis=1), total, target.allowed) <= delta)
    counted = kept if target.kind is Kind.DISAGREEMENT else np.ones_like(kept)
    within = range_of(target, plan.weight_bound)
    placed = stakes(counted.sum(axis=1), within, delta, kept.shape[1])
    return best_wealth(excess_of(batch, kept, target), placed) >= 1.0 / delta
