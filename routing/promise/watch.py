"""Watches a promise in force: has the student got worse among what it keeps, or elsewhere?"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from routing.promise.clusters import Cluster
from routing.promise.detector import (
    BOOST,
    DEFERRED_FALSE_ALARMS,
    DEFERRED_STEPS,
    FALSE_ALARMS,
    WINDOW,
    Detector,
    new_detector,
)
from routing.promise.epoch import Counts, Epoch
from routing.promise.terms import Terms
from routing.steering import Grade

# Deferred drafts may differ by so much more than they did when the student was certified.
DEFERRED_MARGIN = 0.02
# Only so many grades say how much that was: the standard error is then half of the margin, and a
# student that did not change raises no alarm because its first grades were lucky.
LEAST_DEFERRED = 2_000


@dataclass(frozen=True, slots=True)
class Watch:
    """Two tests: of kept drafts against alpha, of deferred ones against what they were.

    ``baseline`` is what was known at the release, or as soon after it as that was enough: from it
    follows how much deferred drafts at ``level`` may differ.  It and ``deferred`` are None before.
    ``extra`` is how many audits the boost has added within the ``window``, in steps of ``WINDOW``
    requests from 0.
    """

    kept: Detector
    level: int
    baseline: Counts | None = None
    deferred: Detector | None = None
    extra: float = 0.0
    window: int = 0

    def is_boosted(self, terms: Terms) -> bool:
        """Whether more audits are worth it: something is suspicious, and not all are used up."""
        return self.kept.is_suspicious and self.extra < terms.audit_share * WINDOW

    def at(self, level: int, counts: Counts) -> "Watch":
        """The same at a level in force.  Of what another one defers the test begins anew.

        What deferred drafts differ by stays what it was when enough was known, whatever comes.
        """
        baseline = self.baseline
        if baseline is None and sum(counts.labels[level + 1 :]) >= LEAST_DEFERRED:
            baseline = counts
        if level == self.level and baseline is self.baseline:
            return self
        return replace(self, level=level, baseline=baseline, deferred=_test(baseline, level))

    def after(self, losses: Iterable[tuple[float, bool]], terms: Terms, judged: int) -> "Watch":
        """After losses of drafts, of which each was kept or not, in their order."""
        found = self
        if judged // WINDOW > self.window:
            found = replace(found, extra=0.0, window=judged // WINDOW)
        for loss, is_kept in losses:
            if is_kept:
                extra = 1.0 - 1.0 / BOOST if found.is_boosted(terms) else 0.0
                found = replace(found, kept=found.kept.after(loss), extra=found.extra + extra)
            elif found.deferred is not None:
                found = replace(found, deferred=found.deferred.after(loss))
        return found

    def alarm(self, terms: Terms, kept_share: float) -> str | None:
        """Which test says that the student got worse; None: neither."""
        if self.kept.has_alarmed(2.0 * terms.audit_share * WINDOW, FALSE_ALARMS):
            return "kept"
        grades = (1.0 - kept_share) * WINDOW
        if self.deferred and self.deferred.has_alarmed(grades, DEFERRED_FALSE_ALARMS):
            return "deferred"
        return None


def new_watch(epoch: Epoch, terms: Terms) -> Watch:
    """Of an epoch that is just released."""
    return Watch(new_detector(terms.alpha), epoch.in_force, window=epoch.judged // WINDOW)


def _test(baseline: Counts | None, level: int) -> Detector | None:
    risk = None if baseline is None else baseline.risk_beyond(level)
    return None if risk is None else new_detector(risk + DEFERRED_MARGIN, DEFERRED_STEPS)


def losses_of(
    epoch: Epoch, grades: Iterable[Grade], over: Iterable[Cluster]
) -> list[tuple[float, bool]]:
    """What the tests take of these grades, and of conversations that are over: one loss each.

    A deferred draft counts where the level in force would defer it: others were graded before.  An
    answer that did not come is the teacher's fault: were it the student's, an outage would have
    everything escalated to a teacher that is gone.
    """
    found, level = [], epoch.in_force
    for grade in grades:
        if grade.conversation is None and grade.is_answered:
            is_below = epoch.grid.bin_of(grade.merit) > level
            if grade.is_kept or is_below:
                found.append((grade.loss, grade.is_kept))
    for cluster in over:
        if cluster.kept_loss is not None:
            found.append((cluster.kept_loss, True))
        if cluster.deferred_loss is not None:
            found.append((cluster.deferred_loss, False))
    return found
