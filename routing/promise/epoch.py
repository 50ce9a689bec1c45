"""One attempt to earn the promise: from its levels, over the evidence, to a level in force.

An alarm ends it, and the next one begins with nothing.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, islice, takewhile

from routing.promise.bets import (
    Wealth,
    after,
    after_several,
    log_values,
    no_wealth,
    scaled,
)
from routing.promise.clusters import (
    Cluster,
    Clusters,
    Fate,
    Item,
    closed,
    fate_of,
    graded,
    turned,
)
from routing.promise.grid import Grid
from routing.promise.terms import SIXTEENTHS, HeadStart, Terms, wealth_of_records
from routing.steering import Grade, Report

# How the traffic is spread over the levels is forgotten by half in so many requests.
HALF_LIFE = 5_000.0
# Before so many were seen it is taken to be as it was when the grid was made.
LEAST_SEEN = 500.0
# Of delta; the rest is for the epochs after an alarm.
FIRST_ATTEMPT = 0.95
# Evidence of so little of what certifies is given up.  A new attempt needs 33 (k - 1)**2 times what
# the first does, which is less than what would have to be made up for.
HOPELESS = 1e-6
# Sums of weights are off by so much at most: an estimate of exactly alpha looks good.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Counts:
    """Grades by bin, weighed by the inverse of their probability; shape (k + 1,) each.

    ``labels`` are how many there are.  The last bin has the drafts that no level keeps.
    """

    weights: tuple[float, ...]
    losses: tuple[float, ...]
    labels: tuple[int, ...]

    def risk(self, level: int) -> float | None:
        """The point estimate of the risk among what a level keeps; None where nothing is known."""
        weight = sum(self.weights[: level + 1])
        return sum(self.losses[: level + 1]) / weight if weight else None

    def risk_beyond(self, level: int) -> float | None:
        """The same of what it does not keep."""
        weight = sum(self.weights[level + 1 :])
        return sum(self.losses[level + 1 :]) / weight if weight else None

    def looks_good(self, alpha: float) -> int:
        """The most permissive level whose estimate is within alpha; -1 where none is."""
        found = -1
        sums = zip(accumulate(self.weights[:-1]), accumulate(self.losses[:-1]), strict=True)
        for level, (weight, loss) in enumerate(sums):
            if weight and loss <= alpha * weight + ROUNDING:
                found = level
        return found


@dataclass(frozen=True, slots=True)
class Epoch:
    """The evidence of one epoch.

    ``delta`` is its part of what all epochs together may err with.  ``judged`` are the requests
    since the grid was fixed that can prove anything, and the records of a head start.  ``flow`` is
    the recent traffic by bin, the last for what no level keeps.  ``best`` is the highest log E so
    far of each level, and ``first_at`` the request at which the chain began; ``graded`` counts what
    was learnt from, ``kept_graded`` the audits among that.
    """

    grid: Grid
    delta: float
    wealth: Wealth
    counts: Counts
    flow: tuple[float, ...]
    best: tuple[float, ...]
    judged: int = 0
    graded: int = 0
    kept_graded: int = 0
    first_at: int | None = None
    is_released: bool = False
    clusters: Clusters = field(default_factory=dict)

    @property
    def bar(self) -> float:
        """The log E that certifies a level, for good, whenever it was reached."""
        return -math.log(self.delta)

    @property
    def certified(self) -> int:
        """The last level of the unbroken chain; -1 before the first."""
        start, bar = self.grid.start, self.bar
        chain = list(takewhile(lambda best: best >= bar, self.best[start:]))
        return start + len(chain) - 1 if chain else -1

    @property
    def following(self) -> int:
        """The level that is to be certified next; the last one once all are."""
        certified = self.certified
        return min(certified + 1, len(self.best) - 1) if certified >= 0 else self.grid.start

    @property
    def in_force(self) -> int:
        """The level that decides what is kept; -1 while nothing is."""
        return self.certified if self.is_released else -1

    @property
    def is_hopeless(self) -> bool:
        """Whether the hold ended with nothing certified, and the level that has to be the first is
        so far off that beginning anew is nearer."""
        if not self.is_released or self.certified >= 0:
            return False
        value = next(islice(log_values(self.wealth), self.grid.start, None))
        return value < self.bar + math.log(HOPELESS)

    def share(self, level: int) -> float:
        """The share of the recent traffic that a level keeps."""
        if level < 0:
            return 0.0
        total = sum(self.flow)
        if total < LEAST_SEEN:
            return self.grid.shares[level]
        return sum(self.flow[: level + 1]) / total

    def served(self, reports: Iterable[Report], now: float) -> "Epoch":
        """After the traffic of reports that came in now, in seconds since 1970."""
        turns: Counter[str] = Counter()
        judged, flow = self.judged, self.flow
        for report in reports:
            turns.update(report.turns)
            judged += report.judged - report.mute
            flow = self._flow(flow, report)
        return replace(self, judged=judged, flow=flow, clusters=turned(self.clusters, turns, now))

    def _flow(self, before: tuple[float, ...], report: Report) -> tuple[float, ...]:
        if not report.samples:
            return before
        fading = 0.5 ** (report.judged / HALF_LIFE)
        flow = [fading * one for one in before]
        for sample in report.samples:
            flow[self.grid.bin_of(sample.merit)] += report.judged / len(report.samples)
        return tuple(flow)

    def learned(self, grades: Sequence[Grade], terms: Terms, now: float) -> "Epoch":
        """After these grades, all of this epoch.  Those of a conversation wait until it is over."""
        weights, losses = list(self.counts.weights), list(self.counts.losses)
        labels = list(self.counts.labels)
        bets, items, kept = [], [], 0
        for grade in grades:
            fate = fate_of(self.clusters, grade, terms, now)
            if fate is Fate.NOTHING:
                continue
            place, weight = self.grid.bin_of(grade.merit), 1.0 / grade.propensity
            weights[place] += weight
            losses[place] += weight * grade.loss
            labels[place] += 1
            kept += grade.is_kept
            if fate is Fate.ALONE or grade.conversation is None:
                bets.append((place, scaled(grade.loss, grade.propensity, grade.least, terms.alpha)))
            else:
                value = (grade.loss - terms.alpha) * weight
                item = Item(place, grade.loss, value, grade.is_kept, grade.is_answered)
                items.append((grade.conversation, item, grade.least))
        if not bets and not items:
            return self
        return replace(
            self,
            wealth=after(self.wealth, bets),
            counts=Counts(tuple(weights), tuple(losses), tuple(labels)),
            graded=self.graded + len(bets) + len(items),
            kept_graded=self.kept_graded + kept,
            clusters=graded(self.clusters, items, now) if items else self.clusters,
        )

    def closed(self, terms: Terms, now: float) -> tuple["Epoch", tuple[Cluster, ...]]:
        """After the bets of conversations that are over, which are given too."""
        going_on, over = closed(self.clusters, now, terms.idle_seconds)
        if going_on is self.clusters:
            return self, ()
        wealth = self.wealth
        for cluster in over:
            wealth = after_several(wealth, cluster.values(terms.alpha))
        return replace(self, wealth=wealth, clusters=going_on), over

    def looked(self, terms: Terms) -> "Epoch":
        """Certify what can be, and release what is good enough; neither is ever taken back."""
        found = replace(self, best=tuple(map(max, self.best, log_values(self.wealth))))
        certified = found.certified
        if found.first_at is None and certified >= 0:
            found = replace(found, first_at=self.judged)
        if found.is_released:
            return found
        hoped = self.counts.looks_good(terms.alpha)
        enough = terms.release * self.grid.shares[hoped] if hoped >= 0 else 0.0
        is_enough = certified >= 0 and self.grid.shares[certified] >= enough
        return replace(found, is_released=is_enough or self.judged >= terms.hold_at_most)


def delta_of(delta: float, attempt: int) -> float:
    """What the ``attempt``-th epoch may err with, from 1: those of all epochs add up to delta.

    Most promises are earned once, so the first attempt has nearly all of it.  With 6 / pi**2 from
    the first on, all of them took a seventh more labels than with all of delta; now it is 2%, and
    twice as many for the second.
    """
    if attempt == 1:
        return FIRST_ATTEMPT * delta
    return (1.0 - FIRST_ATTEMPT) * 6.0 * delta / (math.pi * (attempt - 1)) ** 2


def new_epoch(grid: Grid, delta: float) -> Epoch:
    """An epoch that knows its levels and nothing else."""
    levels = len(grid.thresholds)
    nothing = (0.0,) * (levels + 1)
    counts = Counts(nothing, nothing, (0,) * (levels + 1))
    return Epoch(grid, delta, no_wealth(levels), counts, nothing, nothing[1:])


def epoch_with(start: HeadStart, terms: Terms) -> Epoch:
    """An epoch with the levels and the evidence of records from before it."""
    epoch = new_epoch(start.grid, delta_of(terms.delta, 1))
    rows = (*start.counts, (start.below, *(0,) * SIXTEENTHS))
    labels = tuple(map(sum, rows))
    return replace(
        epoch,
        wealth=wealth_of_records(start.counts, terms.alpha),
        counts=Counts(tuple(map(float, labels)), tuple(map(_losses, rows)), labels),
        judged=start.records,
        graded=start.records,
    ).looked(terms)


def _losses(row: Iterable[int]) -> float:
    return sum(number * step / SIXTEENTHS for step, number in enumerate(row))
