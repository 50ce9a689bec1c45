"""The metrics of audits: what they found, why some were not made, and what is owed.

They are in docs/metrics.md with all the others.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Gauge

from gateway.facts import AuditOutcome, AuditOver, AuditSkipped
from gateway.telemetry.counter import CounterFamily
from routing.vocabulary import NotAudited


class AuditMetrics:
    """What metrics.py has of audits."""

    def __init__(self, registry: CollectorRegistry, cascades: Iterable[str]) -> None:
        self._over = CounterFamily(
            "understudy_audits_total",
            "Drafts that the teacher was asked about off the path, by what it said "
            "(agree, differ, failed).",
            ("cascade", "outcome"),
            registry,
        )
        self._skipped = CounterFamily(
            "understudy_audits_skipped_total",
            "Kept drafts that were drawn and are not audited, by cause.",
            ("cascade", "cause"),
            registry,
        )
        self._open = Gauge(
            "understudy_audits_open", "Audits that are open.", ("cascade",), registry=registry
        )
        self._debt = Gauge(
            "understudy_audits_debt",
            "Answers served degraded that are to be audited once the teacher is back; of cascades "
            "that want that.",
            ("cascade",),
            registry=registry,
        )
        self._dropped = CounterFamily(
            "understudy_audits_debt_dropped_total",
            "Those of them that were forgotten for want of room.",
            ("cascade",),
            registry,
        )
        for cascade in cascades:
            for outcome in AuditOutcome:
                self._over.labels(cascade, outcome)
            for cause in NotAudited:
                self._skipped.labels(cascade, cause)

    def watch(self, cascade: str, open_audits: Callable[[], int]) -> None:
        """How many are open is asked whenever somebody reads the metrics."""
        self._open.labels(cascade).set_function(open_audits)

    def watch_debt(self, cascade: str, owed: Callable[[], int]) -> None:
        """The same of what is owed."""
        self._debt.labels(cascade).set_function(owed)
        self._dropped.labels(cascade)

    def debt_dropped(self, cascade: str, count: int) -> None:
        """Some of what was owed is forgotten."""
        self._dropped.labels(cascade).inc(count)

    def over(self, fact: AuditOver) -> None:
        """Count one audit that came to something."""
        if fact.outcome is not None:
            self._over.labels(fact.cascade, fact.outcome).inc()

    def skipped(self, fact: AuditSkipped) -> None:
        """Count one that was not made."""
        self._skipped.labels(fact.cascade, fact.cause).inc()
