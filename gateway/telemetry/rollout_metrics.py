"""The metrics of generations: which is in force, which is tried, and what that comes to.

They are in docs/metrics.md with all the others.  Most begin with a cascade's first state, so that
those without one do not fill the page.
"""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from gateway.facts import (
    SHADOW_ARM,
    CandidateCompared,
    CandidateDrafted,
    GenerationsRefused,
    GenerationsTaken,
)
from gateway.ports import Clock
from gateway.telemetry.counter import CounterFamily
from routing.rollout import Action, Arm, Rollout, Stage
from routing.tally import Compared, Drafted

# With what a draft was compared.
TEACHER, INCUMBENT = "teacher", "incumbent"
_OF_ARM = (Drafted.KEPT, Drafted.DEFERRED, Drafted.FAILED)


class RolloutMetrics:
    """What metrics.py has of generations.  ``epoch`` counts seconds from 1970."""

    def __init__(self, registry: CollectorRegistry, epoch: Clock = time.time) -> None:
        self._registry = registry
        self._epoch = epoch
        self._define_state()
        self._define_trial()
        self._begun: set[str] = set()

    def _define_state(self) -> None:
        self._revision = self._gauge(
            "understudy_generations_revision",
            "The revision of the registry's state that is in force here.",
        )
        self._number = self._gauge(
            "understudy_generation_number",
            "Which generation of the student is the incumbent; 0 is the configuration's own.",
        )
        self._refused = self._gauge(
            "understudy_generations_refused",
            "1 where the registry's newest state could not be taken up, or it has none any more.",
        )
        self._age = self._gauge(
            "understudy_generations_read_age_seconds",
            "Time since the registry was last read.",
        )
        self._steps = self._counter(
            "understudy_rollout_steps_total",
            "Steps of the registry that were taken up (shadowed, canaried, promoted, rolled_back).",
            "action",
        )

    def _define_trial(self) -> None:
        self._share = self._gauge(
            "understudy_rollout_share",
            "The candidate's share of requests (stage shadow) or sessions (canary) at the moment.",
            "stage",
        )
        self._drafts = self._counter(
            "understudy_rollout_drafts_total",
            "Requests while a candidate is tried, by whose they were (incumbent, candidate, "
            "shadow) and what came of the draft (kept, deferred, failed, skipped).",
            "arm",
            "outcome",
        )
        self._comparisons = self._counter(
            "understudy_rollout_comparisons_total",
            "Drafts compared meanwhile with the answer of the teacher or the incumbent, by outcome "
            "(same, different, unknown).",
            "arm",
            "against",
            "outcome",
        )

    def watch(self, cascade: str, age: Callable[[], float]) -> None:
        """How old the last reading is is asked whenever somebody reads the metrics."""
        self._age.labels(cascade).set_function(age)

    def taken(self, fact: GenerationsTaken) -> None:
        """A state is in force."""
        cascade, state = fact.cascade, fact.state
        self._refused.labels(cascade).set(0)
        self._revision.labels(cascade).set(state.revision)
        self._number.labels(cascade).set(0 if state.incumbent is None else state.incumbent.number)
        if cascade not in self._begun:
            self._begin(cascade)
        for stage in Stage:
            self._share.labels(cascade, stage).set_function(self._share_of(state.rollout, stage))
        if fact.is_news and not fact.is_renewal:
            self._steps.labels(cascade, state.last.action).inc()

    def refused(self, fact: GenerationsRefused) -> None:
        """A state is no use."""
        self._refused.labels(fact.cascade).set(1)

    def lost(self, cascade: str) -> None:
        """The registry has no state any more."""
        self._refused.labels(cascade).set(1)

    def found(self, cascade: str, *, is_refused: bool) -> None:
        """It has one again."""
        self._refused.labels(cascade).set(is_refused)

    def drafted(self, fact: CandidateDrafted) -> None:
        """Count one request of a trial."""
        self._drafts.labels(fact.cascade, fact.arm, fact.outcome).inc()

    def compared(self, fact: CandidateCompared) -> None:
        """Count one comparison."""
        against = INCUMBENT if fact.is_with_incumbent else TEACHER
        self._comparisons.labels(fact.cascade, fact.arm, against, fact.outcome).inc()

    def _share_of(self, rollout: Rollout | None, stage: Stage) -> Callable[[], float]:
        if rollout is None or rollout.stage is not stage:
            return lambda: 0.0
        return lambda: rollout.share if rollout.is_running(self._epoch()) else 0.0

    def _begin(self, cascade: str) -> None:
        """``increase()`` does not see a series begin."""
        self._begun.add(cascade)
        for action in Action:
            self._steps.labels(cascade, action)
        for arm in (*Arm, SHADOW_ARM):
            for outcome in Drafted if arm == SHADOW_ARM else _OF_ARM:
                self._drafts.labels(cascade, arm, outcome)
            for compared in Compared:
                self._comparisons.labels(cascade, arm, TEACHER, compared)
        for compared in Compared:
            self._comparisons.labels(cascade, SHADOW_ARM, INCUMBENT, compared)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(name, documentation, ("cascade", *labels), registry=self._registry)

    def _counter(self, name: str, documentation: str, *labels: str) -> CounterFamily:
        labels = ("cascade", *labels)
        return CounterFamily(name, documentation, labels, self._registry)
