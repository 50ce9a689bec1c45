"""Many runs of one rule on one traffic: what it keeps, what that costs, and whether it errs.

The rule learns only what a gateway would: the merits of all drafts, and the losses of those that
were escalated or audited.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from evaluation.outcomes import Booleans, Floats, Integers
from evaluation.promise.floors import Floor, kept_at_floor
from evaluation.promise.traffic import Traffic, bill_of

BATCH = 50  # requests between two looks
STEP = 500  # requests between two counts of labels
BINS = 50


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One batch of all runs, shape (runs, requests).

    ``places`` say the merit of each draft, ``losses`` count where ``known`` is set.  ``propensity``
    is the probability with which that was so; ``least``, shape (runs,), the least of any kept one.
    """

    places: Integers
    losses: Floats
    kept: Booleans
    known: Booleans
    propensity: Floats
    least: Floats


class Controller(Protocol):
    """What holds all runs to an objective."""

    @property
    def kept(self) -> Integers:
        """How many places of the traffic are kept in each run; 0 while all is escalated."""

    @property
    def audit(self) -> Floats:
        """The probability with which a kept draft is audited in each run."""

    def take(self, seen: Seen) -> None:
        """After one more batch."""


Maker = Callable[[Traffic, int], Controller]


@dataclass(frozen=True, slots=True)
class Size:
    """How much a cell simulates.

    Each conversation has ``turns`` requests in a row that are all alike, which must divide
    ``BATCH``: as far from independent as they can be.
    """

    runs: int
    requests: int = 20_000
    seed: int = 0
    turns: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What all runs did, batch by batch: shape (batches, runs).

    ``kept`` and ``audited`` are shares of the traffic that the batch's standing keeps and audits,
    ``is_above`` whether its true risk is above alpha, ``risk`` that risk.  ``labels`` counts, after
    each ``STEP`` requests, those in each of ``BINS`` equal parts: shape (steps, runs, bins).
    """

    traffic: Traffic
    alpha: float
    kept: Floats
    audited: Floats
    risk: Floats
    is_above: Booleans
    labels: npt.NDArray[np.int32]

    @property
    def ever_above(self) -> float:
        """Share of runs in which a threshold in force ever broke the promise."""
        return float(self.is_above.any(axis=0).mean())

    @property
    def time_above(self) -> float:
        """Share of time in which one did."""
        return float(self.is_above.mean())

    @property
    def oracle(self) -> float:
        """The share that the most permissive good threshold keeps."""
        return self.traffic.oracle(self.alpha)

    @property
    def bill(self) -> Floats:
        """Of a request in each batch and run, in calls of the teacher."""
        return bill_of(self.kept, self.audited)

    def bill_over(self, requests: int, *, is_cumulative: bool = False) -> Floats:
        """By how much each run's bill exceeds the oracle's after so many requests, as a share.

        Of the standing in force then, or of everything until then.
        """
        batches = requests // BATCH
        bill = self.bill[:batches].mean(axis=0) if is_cumulative else self.bill[batches - 1]
        return np.asarray(bill / bill_of(self.oracle) - 1.0)

    def kept_at(self, requests: int) -> Floats:
        """The share that each run keeps after so many requests."""
        return np.asarray(self.kept[requests // BATCH - 1])

    def risk_at(self, requests: int) -> Floats:
        """The true risk of each run's standing after so many requests; 0 while nothing is kept."""
        return np.asarray(self.risk[requests // BATCH - 1])

    def floor_at(self, requests: int, floor: Floor, delta: float) -> Floats:
        """The share that each run's labels could have let it keep after so many requests."""
        labels = self.labels[requests // STEP - 1]
        return kept_at_floor(self.traffic, labels, self.alpha, floor.errors(delta))

    def of_part(self, part: Traffic) -> "Course":
        """As one of the routes saw it that the traffic was mixed of; labels stay those of all."""
        all_of_it = np.round(self.kept * self.traffic.size).astype(np.int64)
        threshold = self.traffic.merit[np.maximum(all_of_it, 1) - 1]
        kept = np.where(all_of_it > 0, part.kept_by(threshold), 0)
        share = kept / part.size
        each = np.divide(self.audited, self.kept, out=np.zeros_like(share), where=self.kept > 0.0)
        risk, is_above = part.risk_of(kept), part.is_above(kept, self.alpha)
        return replace(
            self, traffic=part, kept=share, audited=each * share, risk=risk, is_above=is_above
        )

    @property
    def first_in_force(self) -> Floats:
        """After how many requests each run kept anything; inf where it never did."""
        is_any = self.kept > 0.0
        first = (is_any.argmax(axis=0)) * float(BATCH)
        return np.where(is_any.any(axis=0), first, np.inf)


def simulate(traffic: Traffic, maker: Maker, alpha: float, size: Size) -> Course:
    """Serve requests from the traffic under what ``maker`` makes of it."""
    generator = np.random.default_rng(size.seed)
    rule = maker(traffic, size.runs)
    batches = size.requests // BATCH
    kept, audited = np.empty((2, batches, size.runs))
    in_force = np.empty((batches, size.runs), dtype=np.int64)
    labels = np.zeros((size.runs, BINS), dtype=np.int32)
    counted = []
    for batch in range(batches):
        in_force[batch] = rule.kept
        kept[batch] = rule.kept / traffic.size
        audited[batch] = rule.audit * kept[batch]
        seen = serve(traffic, rule, generator, size)
        rule.take(seen)
        labels += _labels_of(seen, traffic.size)
        if (batch + 1) * BATCH % STEP == 0:
            counted.append(labels.copy())
    risk, above = traffic.risk_of(in_force), traffic.is_above(in_force, alpha)
    return Course(traffic, alpha, kept, audited, risk, above, np.array(counted))


def _labels_of(seen: Seen, size: int) -> npt.NDArray[np.int64]:
    runs = len(seen.places)
    where = np.arange(runs)[:, None] * BINS + seen.places * BINS // size
    return np.bincount(where[seen.known], minlength=runs * BINS).reshape(runs, BINS)


def serve(traffic: Traffic, rule: Controller, generator: np.random.Generator, size: Size) -> Seen:
    """One batch under the standing in force: who is kept, and what is learnt of whom."""
    places = generator.integers(0, traffic.size, size=(size.runs, BATCH // size.turns))
    losses = traffic.losses(places, generator)
    coins = generator.random((size.runs, BATCH))
    alike = np.repeat(np.arange(BATCH // size.turns), size.turns)
    return seen_of(rule, places[:, alike], losses[:, alike], coins)


def seen_of(rule: Controller, places: Integers, losses: Floats, coins: Floats) -> Seen:
    """The same with all chance given: a kept draft is audited where its coin is below the rate."""
    kept = places < rule.kept[:, None]
    audit = rule.audit[:, None]
    return Seen(
        places=places,
        losses=losses,
        kept=kept,
        known=~kept | (coins < audit),
        propensity=np.where(kept, audit, 1.0),
        least=np.where(rule.kept > 0, rule.audit, 1.0),
    )
