"""The metrics of clients' keys: how many are in force, and whether changes to them arrive.

They are in docs/metrics.md with all the others.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class KeyMetrics:
    """What metrics.py has of keys.  A source is ``file`` or ``redis``, and has no series before it
    is looked at.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("source",)
        self._keys = Gauge(
            "understudy_keys", "Clients' keys in force, expired ones included.", labels,
            registry=registry,
        )  # fmt: skip
        self._failures = Counter(
            "understudy_keys_read_failures_total",
            "Looks at clients' keys that told nothing: unreadable, not valid, away, or empty.",
            labels,
            registry=registry,
        )
        self._age = Gauge(
            "understudy_keys_read_age_seconds",
            "Time since clients' keys were last read well.",
            labels,
            registry=registry,
        )

    def watch(self, source: str, age: Callable[[], float]) -> None:
        """How old the last good look is is asked whenever somebody reads the metrics."""
        self._age.labels(source).set_function(age)
        self._failures.labels(source)
        self._keys.labels(source)

    def taken(self, source: str, count: int) -> None:
        """So many keys of a source are in force."""
        self._keys.labels(source).set(count)

    def failed(self, source: str) -> None:
        """A look at a source told nothing."""
        self._failures.labels(source).inc()
