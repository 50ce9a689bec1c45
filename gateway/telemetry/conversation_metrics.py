"""The metrics of conversations: whose turns they are, and what is remembered of them.

They are in docs/metrics.md with all the others.  They begin with the first cascade that remembers
conversations, so that those without do not fill the page.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.facts import RequestSettled
from gateway.telemetry.counter import CounterFamily
from gateway.telemetry.family import Family
from routing.vocabulary import Reason, Role


class ConversationMetrics:
    """What metrics.py has of conversations."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._turns = CounterFamily(
            "understudy_conversation_turns_total",
            "Answered turns of conversations that are told from others, by who answered.",
            ("cascade", "served_by"),
            registry,
        )
        self._sticky = CounterFamily(
            "understudy_conversation_sticky_turns_total",
            "Turns that were the teacher's because it had answered an earlier one.",
            ("cascade",),
            registry,
        )
        self._remembered = Gauge(
            "understudy_conversation_remembered",
            "Conversations that are remembered, or turns of those that have no name.",
            ("cascade",),
            registry=registry,
        )
        self._dropped = Family(
            Counter(
                "understudy_conversation_turns_dropped_total",
                "Turns of which other replicas are never told, for too many waited for Redis.",
                ("cascade",),
                registry=registry,
            )
        )

    def watch(self, cascade: str, count: Callable[[], float]) -> None:
        """A cascade's conversations are remembered; ``count`` says how many are now."""
        for role in Role:
            self._turns.labels(cascade, role)
        self._sticky.labels(cascade)
        self._dropped.labels(cascade)
        self._remembered.labels(cascade).set_function(count)

    def turn_answered(self, fact: RequestSettled) -> None:
        """A turn of a conversation was answered."""
        if fact.cascade is None or fact.served_by is None:
            return
        self._turns.labels(fact.cascade, fact.served_by).inc()
        if fact.reason is Reason.STICKY:
            self._sticky.labels(fact.cascade).inc()

    def dropped(self, cascade: str, count: int) -> None:
        """Other replicas will never hear of so many turns."""
        self._dropped.labels(cascade).inc(count)
