"""The metrics of what the teacher alone would have cost: docs/savings.md says how they add up.

They are in docs/metrics.md with all the others.
"""

from collections.abc import Collection, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.facts import BothAnswered, RequestSettled
from gateway.telemetry.counter import CounterFamily
from gateway.telemetry.money_metrics import PicoCounter
from routing.baseline import Direction, Learner, Missing
from routing.money import PICO_PER_USD
from routing.vocabulary import Basis

# A request that was to correct the baseline, and of which one of the two bills is not known.
NO_OBSERVATION = "observation"


class BaselineMetrics:
    """What metrics.py has of the baseline.  All that can be summed is there from the start."""

    def __init__(self, registry: CollectorRegistry, cascades: Collection[str]) -> None:
        self._registry = registry
        self._define_dollars()
        self._define_evidence()
        self._ratios = _Ratios(registry)
        for cascade in cascades:
            self._begin(cascade)

    def _define_dollars(self) -> None:
        self._baseline = PicoCounter(
            "understudy_baseline_usd_total",
            "What the teacher alone would have cost for the answered requests, by what that rests "
            "on (measured, sample, escalations, prices).",
            ["cascade", "basis"],
            self._registry,
        )
        self._correction = PicoCounter(
            "understudy_baseline_correction_usd_total",
            "What drafts held out at random say that the baseline lacks (up) or has too much "
            "(down).",
            ["cascade", "direction"],
            self._registry,
        )
        self._variance = _SquareCounter(
            "understudy_baseline_variance_usd2_total",
            "Variance of the corrected baseline, in squares of US dollars.",
            ["cascade"],
            self._registry,
        )

    def _define_evidence(self) -> None:
        self._unknown = self._counter(
            "understudy_baseline_unknown_total",
            "Answered requests that are in no baseline (usage, price), and held-out ones that "
            "correct none (observation).",
            "cascade",
            "cause",
        )
        self._observations = self._counter(
            "understudy_baseline_observations_total",
            "Requests answered by both models, from which the teacher's ratios are learnt.",
            "cascade",
            "basis",
        )

    def _begin(self, cascade: str) -> None:
        for basis in Basis:
            self._baseline.add((cascade, basis), 0)
        for direction in Direction:
            self._correction.add((cascade, direction), 0)
        self._variance.add((cascade,), 0)
        for cause in (*Missing, NO_OBSERVATION):
            self._unknown.labels(cascade, cause)
        for basis in (Basis.SAMPLE, Basis.ESCALATIONS):
            self._observations.labels(cascade, basis)

    def watch(self, learners: Mapping[str, Learner]) -> None:
        """How the teachers compare is asked of these, by cascade, when somebody reads it."""
        self._ratios.learners = learners

    def settled(self, cascade: str, fact: RequestSettled) -> None:
        """Count what the teacher alone would have cost for one request."""
        if (baseline := fact.baseline) is None:
            return
        if baseline.pico is not None:
            self._baseline.add((cascade, baseline.basis), baseline.pico)
        elif baseline.missing is not None:
            self._unknown.labels(cascade, baseline.missing).inc()

    def both_answered(self, fact: BothAnswered) -> None:
        """Count what one observation says."""
        if fact.is_learnt:
            self._observations.labels(fact.cascade, fact.basis).inc()
        if (correction := fact.correction) is not None:
            self._correction.add((fact.cascade, correction.direction), abs(correction.pico))
            self._variance.add((fact.cascade,), correction.variance_pico2)
        elif fact.basis is Basis.SAMPLE:
            self._unknown.labels(fact.cascade, NO_OBSERVATION).inc()

    def _counter(self, name: str, documentation: str, *labels: str) -> CounterFamily:
        return CounterFamily(name, documentation, labels, self._registry)


class _SquareCounter(PicoCounter):
    """The same of squares."""

    unit = PICO_PER_USD**2


class _Ratios(Collector):
    """How many tokens the teacher reads and writes for each of the student's; none at first."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.learners: Mapping[str, Learner] = {}
        registry.register(self)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The metric without samples."""
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metric as it stands now."""
        family = self._family()
        for cascade, learner in self.learners.items():
            for part, ratio in learner.bounds.items():
                for bound in ("low", "estimate", "high"):
                    family.add_metric([cascade, part, bound], getattr(ratio, bound))
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(
            "understudy_teacher_ratio",
            "Tokens that the teacher reads (input) and writes (output) for each of the student's, "
            "with a 95% interval.",
            labels=["cascade", "part", "bound"],
        )
