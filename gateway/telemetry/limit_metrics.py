"""The metrics of keys' limits: which requests were over them, and whether the books can be asked.

They are in docs/metrics.md with all the others.
"""

from prometheus_client import CollectorRegistry, Counter

from gateway.telemetry.family import Family
from routing.vocabulary import Limit

# Nobody could say whether a request was within its key's limits.
UNKNOWN = "unknown"


class LimitMetrics:
    """What metrics.py has of limits.  All begin at 0, so that the first is seen."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._limited = Family(
            Counter(
                "understudy_limited_requests_total",
                "Requests over a limit of their key, by which one.",
                ("limit",),
                registry=registry,
            )
        )
        for limit in (*Limit, UNKNOWN):
            self._limited.labels(limit)
        self._failed = Counter(
            "understudy_limit_draws_failed_total",
            "Draws from the limits that replicas share that had no answer.",
            registry=registry,
        )

    def limited(self, limit: Limit | None) -> None:
        """A request was over a limit; None: nobody could say."""
        self._limited.labels(limit or UNKNOWN).inc()

    def draw_failed(self) -> None:
        """The books of one key could not be asked."""
        self._failed.inc()
