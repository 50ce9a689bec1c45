"""What a cascade costs at each threshold, in the records' own prices, and what it reaches there.

Unlike ``curves.py``, where costs are shares of requests, every record has its own: long answers
cost more.  Points are thresholds that a policy can have, with no straight lines between them.
"""

from dataclasses import dataclass

import numpy as np

from evaluation.outcomes import Floats, Integers, Outcomes, sortable
from evaluation.reliability import ordered, sums_up_to

_ROUNDING = 1e-12  # sums of floats reach a level that they equal only to this


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """What the student's calls and the teacher's answer cost, of each record, shape (n,)."""

    student: Floats
    teacher: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Per request, from the least escalated to all: each of shape (b, k), a row a reweighting."""

    cost: Floats
    quality: Floats

    def cheapest(self, target: float) -> Floats:
        """The least cost at which the quality is ``target`` times the teacher's, shape (b,).

        NaN where no point reaches it.
        """
        enough = self.quality >= target * self.quality[:, -1:] - _ROUNDING
        least = np.where(enough, self.cost, np.inf).min(axis=1)
        return np.where(np.isfinite(least), least, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Spending:
    """Records in the order in which a policy escalates them.

    ``order`` has shape (n,) and ``ends`` the last place of each group of equal merit; ``by_bar``
    is the order of the bars, and ``below`` how many of these lie below each threshold.
    """

    outcomes: Outcomes
    costs: Costs
    order: Integers
    ends: Integers
    by_bar: Integers
    below: Integers
    is_silent: bool

    def points(self, weights: Floats) -> Points:
        """One curve for each row of ``weights``, shape (b, n), in the records' own order."""
        drawn = weights[:, self.order]
        total = drawn.sum(axis=1)[:, None]
        total = np.where(total > 0.0, total, np.nan)
        student, teacher = self.outcomes.student[self.order], self.outcomes.teacher[self.order]
        quality = sums_up_to(drawn * (teacher - student), self.ends) + (drawn @ student)[:, None]
        quality[:, -1] = drawn @ teacher
        escalated = sums_up_to(drawn * self.costs.teacher[self.order], self.ends)
        drafts = weights[:, self.by_bar] * self.costs.student[self.by_bar]
        unasked = sums_up_to(drafts, np.arange(self.outcomes.n))[:, np.r_[0, self.below]]
        cost = escalated + drafts.sum(axis=1)[:, None] - unasked
        # A draft without any signal is deferred whatever the threshold.
        first = 1 if self.is_silent else 0
        return Points((cost / total)[:, first:], (quality / total)[:, first:])


def spending_of(outcomes: Outcomes, costs: Costs, merit: Floats, bar: Floats) -> Spending:
    """Of a policy that says ``merit`` and ``bar`` of each record, NaN where it says nothing.

    A record whose bar lies below the threshold goes straight to the teacher; one without a bar
    always does.
    """
    rank, bars = sortable(np.minimum(merit, bar), outcomes.n), sortable(bar, outcomes.n)
    order, ends = ordered(rank)
    by_bar = np.argsort(bars, kind="stable")
    below = np.searchsorted(bars[by_bar], rank[order[ends]], side="right")
    is_silent = bool(np.isneginf(rank).any())
    return Spending(outcomes, costs, order, ends, by_bar, below, is_silent)
