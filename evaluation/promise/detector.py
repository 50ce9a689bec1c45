"""Has the student got worse?  Shiryaev-Roberts tests of many runs, with a proven rate of alarms.

R <- (1 + R) e, where e is the likelihood ratio of a loss under a larger risk to that under the
largest healthy one, ``reference``; the mean over several larger risks.  While the risk is at most
the reference, E[e] <= 1 and R_n - n is a supermartingale: the chance that R has reached A within N
labels is at most N / A.  A loss between 0 and 1 takes e between those of 0 and 1, which keeps that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.outcomes import Booleans, Floats, Integers
from routing.promise.detector import BOOST, FALSE_ALARMS, STEPS, SUSPICIOUS, WINDOW


class Detector:
    """One test in each run; every array has shape (runs,).  ``reference`` may be set again."""

    def __init__(self, reference: Floats, steps: Sequence[float] = STEPS) -> None:
        self.reference = reference.copy()
        self._steps = np.array(steps)
        self._r = np.zeros((len(reference), len(steps)))

    @property
    def statistic(self) -> Floats:
        """R of each run."""
        return np.asarray(self._r.mean(axis=1))

    def take(self, losses: Floats, mask: Booleans) -> None:
        """One more label in those runs where ``mask`` is set."""
        base = self.reference[:, None]
        larger = np.minimum(base + self._steps, 1.0 - 1e-6)
        right, wrong = (1.0 - larger) / (1.0 - base), larger / base
        ratio = right + losses[:, None] * (wrong - right)
        self._r = np.where(mask[:, None], (1.0 + self._r) * ratio, self._r)


@dataclass(frozen=True, slots=True)
class Regression:
    """A student that gets worse at request ``at``; None never.

    ``rate`` is the share of requests whose draft is labelled, in a quiet time: the audit share of
    kept drafts times the kept share, or the share that is escalated, where all are labelled.  Where
    there is a ``baseline``, of so many labels, the reference is off by as much as they are.
    """

    reference: float
    before: float
    after: float
    rate: float
    is_boosted: bool = True
    at: int | None = 10_000
    steps: Sequence[float] = STEPS
    baseline: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Alarms:
    """``at`` is the request of each run's first alarm, inf without one; ``labels`` what it took.

    ``audits_over_flat`` is how many there were for each one without a boost.
    """

    at: Floats
    labels: Integers
    audits_over_flat: float

    def delays(self, change: int) -> Floats:
        """Requests from the change to the alarm, of runs without a false one."""
        return np.asarray(self.at[self.at > change] - change)


def watch(case: Regression, runs: int, requests: int, seed: int) -> Alarms:
    """Label by label, every run in its own time, until all have raised an alarm or are through."""
    generator = np.random.default_rng(seed)
    base = case.rate * WINDOW
    alarm = base * (2.0 if case.is_boosted else 1.0) / FALSE_ALARMS
    detector = Detector(_references(case, runs, generator), case.steps)
    time, found = np.zeros(runs), np.full(runs, np.inf)
    labels, extra, window = np.zeros(runs, np.int64), np.zeros(runs), np.zeros(runs)
    change = np.inf if case.at is None else case.at
    while True:
        boosted = (detector.statistic >= SUSPICIOUS) & (extra < base) & case.is_boosted
        rate = np.where(boosted, min(BOOST * case.rate, 1.0), case.rate)
        time += generator.geometric(rate)
        running = (time <= requests) & np.isinf(found)
        if not running.any():
            break
        extra = np.where(time // WINDOW > window, 0.0, extra) + boosted * (1.0 - 1.0 / BOOST)
        window = time // WINDOW
        risk = np.where(time > change, case.after, case.before)
        detector.take((generator.random(runs) < risk).astype(np.float64), running)
        labels += running
        found = np.where(running & (detector.statistic >= alarm), time, found)
    over_flat = float(labels.sum() / (case.rate * np.minimum(found, requests).sum()))
    return Alarms(found, labels, over_flat)


def _references(case: Regression, runs: int, generator: np.random.Generator) -> Floats:
    found = np.full(runs, case.reference)
    if case.baseline is None:
        return found
    seen = generator.binomial(case.baseline, case.before, runs) / case.baseline
    return found + seen - case.before
