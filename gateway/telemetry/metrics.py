"""Every metric, once.  Names and meanings are in docs/metrics.md, kept in step by a test.

Labels come from closed sets: cascade names from the configuration, the rest from enumerations.
"""

from collections.abc import Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from gateway.facts import ABORTED, SPARE, DraftCompleted, Ending, Leg, RequestSettled, TeacherProbed
from gateway.telemetry.family import Family
from gateway.telemetry.money_metrics import MoneyMetrics
from gateway.telemetry.pair_metrics import OTHER, PairMetrics
from routing.vocabulary import Kind, Reason, Role

# With these reasons the student's answer was served; a late doubt is one unless it was handed over.
_KEEPING = frozenset({None, Reason.CONFIDENT, Reason.VALID_STRUCTURE, Reason.LATE_DOUBT})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_CONFIDENCE = tuple(step / 20 for step in range(1, 21))


class Metrics:
    """All metrics of one gateway.  Nothing is kept at module level, so two can run side by side."""

    def __init__(self, *, version: str, calibrated: Mapping[str, bool]) -> None:
        """``calibrated`` says for each cascade whether its policy was fitted."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._cascades = frozenset(calibrated)
        self._define_requests()
        self._define_streams()
        self._define_upstreams()
        self._define_log()
        self.money = MoneyMetrics(self.registry)
        self.pairs = PairMetrics(self.registry, self._cascades)
        build = self._gauge("understudy_build_info", "Always 1.", "version")
        build.labels(version).set(1)
        policy = self._gauge(
            "understudy_policy_calibrated",
            "1 where the cascade's policy was fitted, 0 where it is the uncalibrated default.",
            "cascade",
        )
        for cascade, is_calibrated in calibrated.items():
            policy.labels(cascade).set(is_calibrated)

    def _counter(self, name: str, documentation: str, *labels: str) -> Family[Counter]:
        return Family(Counter(name, documentation, labels, registry=self.registry))

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(name, documentation, labels, registry=self.registry)

    def _histogram(
        self, name: str, documentation: str, buckets: Sequence[float], *labels: str
    ) -> Family[Histogram]:
        metric = Histogram(name, documentation, labels, buckets=buckets, registry=self.registry)
        return Family(metric)

    def _define_requests(self) -> None:
        self._requests = self._counter(
            "understudy_requests_total", "Requests by how they ended.", "cascade", "outcome"
        )
        self._request_seconds = self._histogram(
            "understudy_request_seconds",
            "Time from the arrival of a request's headers to its answer's readiness.",
            _SECONDS,
            "cascade",
            "outcome",
        )
        self.open_requests = self._gauge(
            "understudy_open_requests", "Requests that are being answered."
        )
        self._deferrals = self._counter(
            "understudy_deferrals_total",
            "Drafts that were not enough, or could not be had.",
            "cascade",
            "reason",
        )
        self._escalations = self._counter(
            "understudy_escalations_total",
            "Deferrals that the teacher answered.",
            "cascade",
            "reason",
        )
        self._degraded = self._counter(
            "understudy_degraded_total",
            "Deferred drafts served all the same, by why the teacher was not to be had.",
            "cascade",
            "degraded",
        )
        self._confidence = self._histogram(
            "understudy_confidence",
            "Confidence in drafts, by verdict (keep, defer).",
            _CONFIDENCE,
            "cascade",
            "verdict",
        )

    def _define_streams(self) -> None:
        self._first_byte_seconds = self._histogram(
            "understudy_first_byte_seconds",
            "Time from the arrival of a request's headers to the first byte of its stream.",
            _SECONDS,
            "cascade",
            "outcome",
        )
        self._late_doubts = self._counter(
            "understudy_late_doubts_total",
            "Streams that fell into doubt when they were half out, by what became of them "
            "(never, continue, restart).",
            "cascade",
            "handover",
        )
        self._drafts_aborted = self._counter(
            "understudy_drafts_aborted_total",
            "Drafts that were given up before the student was through.",
            "cascade",
        )
        self._drafts_completed = self._counter(
            "understudy_drafts_completed_total",
            "Abandoned drafts that were finished off the path (completed, failed).",
            "cascade",
            "outcome",
        )
        self._teacher_continues = self._gauge(
            "understudy_teacher_continues",
            "1 where the teacher was seen to go on from given words, so that streams are handed "
            "over to it; of cascades that want that.",
            "cascade",
        )

    def _define_upstreams(self) -> None:
        self._upstream_seconds = self._histogram(
            "understudy_upstream_seconds",
            "Time that a model server took.",
            _SECONDS,
            "cascade",
            "role",
        )
        self._breaker_open = self._gauge(
            "understudy_breaker_open",
            "1 while a model server is left alone after a run of failures.",
            "cascade",
            "role",
        )
        self._upstream_errors = self._counter(
            "understudy_upstream_errors_total",
            "Calls to model servers that gave no answer.",
            "cascade",
            "role",
            "code",
        )

    def _define_log(self) -> None:
        self._log_lines_lost = Counter(
            "understudy_log_lines_lost_total",
            "Log lines that could not be written.",
            registry=self.registry,
        )

    def settled(self, fact: RequestSettled) -> None:
        """Count one request."""
        cascade = fact.cascade or OTHER
        self._requests.labels(cascade, fact.ending).inc()
        self._request_seconds.labels(cascade, fact.ending).observe(fact.seconds)
        for leg in fact.legs:
            self._count_call(cascade, leg)
        self.money.settled(cascade, fact)
        is_deferred = fact.reason not in _KEEPING or fact.ending is Ending.ESCALATED
        if fact.confidence is not None:
            verdict = "defer" if is_deferred else "keep"
            self._confidence.labels(cascade, verdict).observe(fact.confidence.value)
        if fact.reason is not None and is_deferred:
            self._deferrals.labels(cascade, fact.reason).inc()
        if fact.reason is not None and fact.ending is Ending.ESCALATED:
            self._escalations.labels(cascade, fact.reason).inc()
        if fact.degraded is not None:
            self._degraded.labels(cascade, fact.degraded).inc()
        if fact.is_stream and (fact.doubt is not None or fact.first_byte_seconds is not None):
            self._count_stream(cascade, fact)

    def _count_stream(self, cascade: str, fact: RequestSettled) -> None:
        if fact.first_byte_seconds is not None:
            self._first_byte_seconds.labels(cascade, fact.ending).observe(fact.first_byte_seconds)
        if fact.doubt is not None and fact.handover is not None:
            self._late_doubts.labels(cascade, fact.handover).inc()

    def draft_completed(self, fact: DraftCompleted) -> None:
        """An abandoned draft was finished, or was not; what it took is on the bill."""
        outcome = "completed" if fact.leg.error is None else "failed"
        self._drafts_completed.labels(fact.cascade, outcome).inc()
        self._count_audit(fact.cascade, fact.leg)

    def continuation_wanted(self, cascade: str) -> None:
        """Streams of this cascade are to be handed over to a teacher that can go on with them."""
        self._teacher_continues.labels(cascade).set(0)

    def teacher_probed(self, fact: TeacherProbed) -> None:
        """A teacher was asked to go on from given words; what it took is on the bill."""
        self._teacher_continues.labels(fact.cascade).set(fact.can_continue is True)
        for leg in fact.legs:
            self._count_audit(fact.cascade, leg)

    def _count_audit(self, cascade: str, leg: Leg) -> None:
        self._count_call(cascade, leg)
        self.money.charge(cascade, leg.entry(Kind.AUDIT))

    def _count_call(self, cascade: str, leg: Leg) -> None:
        if leg.error == SPARE:  # a part of the call before
            return
        self._upstream_seconds.labels(cascade, leg.role).observe(leg.seconds)
        if leg.error == ABORTED:
            self._drafts_aborted.labels(cascade).inc()
        elif leg.error is not None:
            self._upstream_errors.labels(cascade, leg.role, leg.error).inc()

    def breaker_changed(self, cascade: str, role: Role, *, is_open: bool) -> None:
        """A model server is left alone from now on, or no longer."""
        self._breaker_open.labels(cascade, role).set(is_open)

    def log_line_lost(self) -> None:
        """A log line could not be written."""
        self._log_lines_lost.inc()

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
