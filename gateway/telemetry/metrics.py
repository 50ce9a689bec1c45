"""Every metric, once.  Names and meanings are in docs/metrics.md, kept in step by a test.

Labels come from closed sets: cascades and models as configured, the rest from enumerations.
"""

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import Counter, Gauge, PlatformCollector, ProcessCollector

from gateway.facts import (
    ABORTED,
    KEEPING,
    SPARE,
    AuditOver,
    DraftCompleted,
    Ending,
    Leg,
    RequestSettled,
    ShadowDrafted,
)
from gateway.server_facts import CachedTokensAsked, TeacherProbed
from gateway.telemetry.audit_metrics import AuditMetrics
from gateway.telemetry.baseline_metrics import BaselineMetrics
from gateway.telemetry.call_metrics import SECONDS, CallMetrics
from gateway.telemetry.conversation_metrics import ConversationMetrics
from gateway.telemetry.counter import CounterFamily
from gateway.telemetry.gen_ai_metrics import GenAiMetrics
from gateway.telemetry.histogram import HistogramFamily
from gateway.telemetry.key_metrics import KeyMetrics
from gateway.telemetry.ledger_metrics import LedgerMetrics
from gateway.telemetry.limit_metrics import LimitMetrics
from gateway.telemetry.loop_metrics import LoopMetrics
from gateway.telemetry.money_metrics import MoneyMetrics
from gateway.telemetry.objective_metrics import ObjectiveMetrics
from gateway.telemetry.pair_metrics import OTHER, PairMetrics
from gateway.telemetry.passed_metrics import PassedMetrics
from gateway.telemetry.policy_metrics import PolicyMetrics
from gateway.telemetry.registry import Registry
from gateway.telemetry.rollout_metrics import RolloutMetrics
from routing.vocabulary import Degraded, Handover, Kind, Reason, Role

_ESCALATING = (*(reason for reason in Reason if reason not in KEEPING), Reason.LATE_DOUBT)
# With these the teacher answers, and nobody found that the draft is not enough.
_UNDECIDED = frozenset({Reason.HOLDOUT, Reason.PINNED})
# Of these one wants to know how long they took: a client's mistake takes no time, and how long a
# client stays says more of the client.
_TIMED = frozenset({Ending.KEPT, Ending.ESCALATED, Ending.DEGRADED, Ending.FAILED})
# How a request may end that named no cascade.
_ENDINGS_OF_OTHER = (Ending.REJECTED, Ending.FAILED, Ending.CANCELLED)
_FIRST_BYTE = (
    0.025, 0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
_PER_TOKEN = (
    0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0,
)  # fmt: skip
# The gateway's own time is a fraction of a millisecond where it is well.
_OWN = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
_CONFIDENCE = tuple(step / 20 for step in range(1, 21))


class Metrics:
    """All metrics of one gateway.  Nothing is kept at module level, so two can run side by side."""

    def __init__(self, *, version: str, calibrated: Mapping[str, bool]) -> None:
        """``calibrated`` says for each cascade whether its policy was fitted."""
        self.registry = Registry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._cascades = frozenset(calibrated)
        self._define_requests()
        self._define_times()
        self._define_streams()
        self._define_log()
        self.calls = CallMetrics(self.registry, self._cascades)
        self.gen_ai = GenAiMetrics(self.registry)
        self.money = MoneyMetrics(self.registry, self._cascades)
        self.baseline = BaselineMetrics(self.registry, self._cascades)
        self.pairs = PairMetrics(self.registry, self._cascades)
        self.passed = PassedMetrics(self.registry)
        self.policies = PolicyMetrics(self.registry, calibrated)
        self.ledger = LedgerMetrics(self.registry)
        self.limits = LimitMetrics(self.registry)
        self.loop = LoopMetrics(self.registry)
        self.rollouts = RolloutMetrics(self.registry)
        self.keys = KeyMetrics(self.registry)
        self.objectives = ObjectiveMetrics(self.registry)
        self.audits = AuditMetrics(self.registry, self._cascades)
        self.conversations = ConversationMetrics(self.registry)
        build = self._gauge("understudy_build_info", "Always 1.", "version")
        build.labels(version).set(1)
        self._begin_at_zero()

    def _counter(self, name: str, documentation: str, *labels: str) -> CounterFamily:
        return CounterFamily(name, documentation, labels, self.registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(name, documentation, labels, registry=self.registry)

    def _histogram(
        self, name: str, documentation: str, bounds: Sequence[float], *labels: str
    ) -> HistogramFamily:
        return HistogramFamily(name, documentation, labels, bounds, self.registry)

    def _define_requests(self) -> None:
        self._requests = self._counter(
            "understudy_requests_total", "Requests by how they ended.", "cascade", "outcome"
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

    def _define_times(self) -> None:
        self._request_seconds = self._histogram(
            "understudy_request_seconds",
            "Time from the arrival of a request's headers to its answer's readiness.",
            SECONDS,
            "cascade",
            "outcome",
        )
        self._gateway_seconds = self._histogram(
            "understudy_gateway_seconds",
            "The gateway's own part of a request's time: no call was open, and the body was there.",
            _OWN,
            "cascade",
        )
        self._first_byte_seconds = self._histogram(
            "understudy_first_byte_seconds",
            "Time from the arrival of a request's headers to the first byte of its stream.",
            _FIRST_BYTE,
            "cascade",
            "outcome",
        )
        self._token_seconds = self._histogram(
            "understudy_time_per_output_token_seconds",
            "Time per token of a stream after those that went out with its first byte.",
            _PER_TOKEN,
            "cascade",
        )

    def _define_streams(self) -> None:
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

    def _define_log(self) -> None:
        self._log_lines_lost = Counter(
            "understudy_log_lines_lost_total",
            "Log lines that could not be written.",
            registry=self.registry,
        )

    def _begin_at_zero(self) -> None:
        """``increase()`` does not see a series begin: what is to be seen is there before."""
        for ending in _ENDINGS_OF_OTHER:
            self._requests.labels(OTHER, ending)
        for cascade in self._cascades:
            for ending in Ending:
                self._requests.labels(cascade, ending)
            for reason in _ESCALATING:
                self._escalations.labels(cascade, reason)
                if reason not in _UNDECIDED:
                    self._deferrals.labels(cascade, reason)
            for degraded in Degraded:
                self._degraded.labels(cascade, degraded)
            for handover in Handover:
                self._late_doubts.labels(cascade, handover)
            self._drafts_aborted.labels(cascade)
            for outcome in ("completed", "failed"):
                self._drafts_completed.labels(cascade, outcome)

    def settled(self, fact: RequestSettled) -> None:
        """Count one request."""
        cascade = fact.cascade or OTHER
        self._requests.labels(cascade, fact.ending).inc()
        if fact.ending in _TIMED:
            self._request_seconds.labels(cascade, fact.ending).observe(fact.seconds)
        if fact.cascade is not None:
            self._gateway_seconds.labels(cascade).observe(fact.gateway_seconds)
        self.gen_ai.settled(cascade, fact)
        for leg in fact.legs:
            self._count_call(cascade, leg)
        self.money.settled(cascade, fact)
        self.baseline.settled(cascade, fact)
        is_escalated = fact.ending is Ending.ESCALATED
        is_enough = fact.is_draft_enough
        if fact.confidence is not None and fact.reason is not Reason.PINNED:
            verdict = "keep" if is_enough else "defer"
            self._confidence.labels(cascade, verdict).observe(fact.confidence.value)
        if fact.reason not in (None, Reason.PINNED) and not is_enough:
            self._deferrals.labels(cascade, fact.reason).inc()
        if fact.reason is not None and is_escalated:
            self._escalations.labels(cascade, fact.reason).inc()
        if fact.degraded is not None:
            self._degraded.labels(cascade, fact.degraded).inc()
        if fact.is_stream and (fact.doubt is not None or fact.first_byte_seconds is not None):
            self._count_stream(cascade, fact)

    def _count_stream(self, cascade: str, fact: RequestSettled) -> None:
        if fact.first_byte_seconds is not None:
            outcome = _flowing_as(fact)
            self._first_byte_seconds.labels(cascade, outcome).observe(fact.first_byte_seconds)
        if (seconds := fact.seconds_per_token) is not None:
            self._token_seconds.labels(cascade).observe(seconds)
        if fact.doubt is not None and fact.handover is not None:
            self._late_doubts.labels(cascade, fact.handover).inc()

    def draft_completed(self, fact: DraftCompleted) -> None:
        """An abandoned draft was finished, or was not; what it took is on the bill."""
        outcome = "completed" if fact.leg.error is None else "failed"
        self._drafts_completed.labels(fact.cascade, outcome).inc()
        self._count_apart(fact.cascade, fact.leg, fact.kind)

    def shadow_drafted(self, fact: ShadowDrafted) -> None:
        """A candidate wrote a draft that nobody gets; what it took is on the bill."""
        for leg in fact.legs:
            self._count_apart(fact.cascade, leg, Kind.SHADOW)

    def audit_over(self, fact: AuditOver) -> None:
        """The teacher was asked about a draft; what it took is on the bill."""
        self.audits.over(fact)
        for leg in fact.legs:
            self._count_apart(fact.cascade, leg, Kind.AUDIT)

    def continuation_wanted(self, cascade: str) -> None:
        """Streams of this cascade are to be handed over to a teacher that can go on with them."""
        self._teacher_continues.labels(cascade).set(0)

    def teacher_probed(self, fact: TeacherProbed) -> None:
        """A teacher was asked to go on from given words; what it took is on the bill."""
        self._teacher_continues.labels(fact.cascade).set(fact.do_all_continue)
        for leg in fact.legs:
            self._count_apart(fact.cascade, leg, Kind.AUDIT)

    def cached_tokens_asked(self, fact: CachedTokensAsked) -> None:
        """A server was asked whether it tells of cached tokens; what it took is on the bill."""
        self.money.cached_tokens(fact.cascade, fact.role, is_reported=fact.do_all_tell)
        for leg in fact.legs:
            self._count_apart(fact.cascade, leg, Kind.AUDIT)

    def _count_apart(self, cascade: str, leg: Leg, kind: Kind) -> None:
        """A call that is no part of a request's bill."""
        self._count_call(cascade, leg)
        self.money.charge(cascade, leg.entry(kind))

    def _count_call(self, cascade: str, leg: Leg) -> None:
        self.gen_ai.called(cascade, leg)
        if leg.error == SPARE:  # a part of the call before
            return
        self.calls.made(cascade, leg)
        if leg.error == ABORTED:
            self._drafts_aborted.labels(cascade).inc()

    def log_line_lost(self) -> None:
        """A log line could not be written."""
        self._log_lines_lost.inc()

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format."""
        return self.registry.exposition()

    def parts(self) -> Iterator[bytes]:
        """The same in pieces, for who has something else to do in between."""
        return self.registry.parts()


def _flowing_as(fact: RequestSettled) -> Ending:
    """What a stream was when it ended, had nothing gone wrong: clients leave when they have read
    enough, and that says nothing of the time they waited."""
    if fact.served_by is Role.TEACHER:
        return Ending.ESCALATED
    return Ending.DEGRADED if fact.degraded is not None else Ending.KEPT
