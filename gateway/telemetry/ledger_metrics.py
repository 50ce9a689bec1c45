"""The metrics of the ledger: how its postings get on.  What is in it, metrics of money tell.

They are in docs/metrics.md with all the others.
"""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.ports import Clock


class LedgerMetrics:
    """What metrics.py has of the ledger.  ``epoch`` counts seconds from 1970."""

    def __init__(self, registry: CollectorRegistry, epoch: Clock = time.time) -> None:
        self._epoch = epoch
        self._written = Counter(
            "understudy_ledger_records_written_total",
            "Records of the ledger that reached the journal.",
            registry=registry,
        )
        self._shipped = Counter(
            "understudy_ledger_records_shipped_total",
            "Records of the ledger that reached the store; twice shipped is counted twice.",
            registry=registry,
        )
        self._waiting = Gauge(
            "understudy_ledger_waiting_seconds",
            "Age of the oldest sums that are not in the journal yet; 0 where all are.",
            registry=registry,
        )

    def watch(self, waiting_since: Callable[[], float | None]) -> None:
        """Since when sums wait is asked of the ledger whenever somebody reads the metrics."""
        self._waiting.set_function(lambda: self._age(waiting_since()))

    def written(self) -> None:
        """A record stands in the journal."""
        self._written.inc()

    def shipped(self) -> None:
        """A record is in the store's books."""
        self._shipped.inc()

    def _age(self, since: float | None) -> float:
        return 0.0 if since is None else max(0.0, self._epoch() - since)
