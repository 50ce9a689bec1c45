"""The metrics of calls to models: how long they take, how they fail, how many are open.

They are in docs/metrics.md with all the others.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.errors import (
    UpstreamBusy,
    UpstreamFailed,
    UpstreamMalformed,
    UpstreamMisconfigured,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.facts import ABORTED, CANCELLED, Leg
from gateway.telemetry.family import Family
from gateway.telemetry.histogram import HistogramFamily
from routing.vocabulary import Role

# How calls fail.  What the gateway gave up itself is no failure.
FAILURES = (
    *(
        str(error.code)
        for error in (
            UpstreamTimeout,
            UpstreamUnavailable,
            UpstreamFailed,
            UpstreamBusy,
            UpstreamMisconfigured,
            UpstreamMalformed,
            UpstreamRefused,
        )
    ),
    CANCELLED,
)
# Models take from a few hundredths of a second for a label to minutes for a long answer.
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class CallMetrics:
    """What metrics.py has of calls to models.  Failures begin at 0, so that the first is seen."""

    def __init__(self, registry: CollectorRegistry, cascades: Iterable[str]) -> None:
        self._seconds = HistogramFamily(
            "understudy_upstream_seconds",
            "Time that a model server took.",
            ("cascade", "role"),
            SECONDS,
            registry,
        )
        self._errors = Family(
            Counter(
                "understudy_upstream_errors_total",
                "Calls to model servers that gave no answer.",
                ("cascade", "role", "code"),
                registry=registry,
            )
        )
        self._breaker_open = Family(
            Gauge(
                "understudy_breaker_open",
                "1 while all servers of a model are left alone after a run of failures.",
                ("cascade", "role"),
                registry=registry,
            )
        )
        self._left_alone = Family(
            Gauge(
                "understudy_servers_left_alone",
                "Servers of a model that are left alone after a run of failures.",
                ("cascade", "role"),
                registry=registry,
            )
        )
        self._open = Gauge(
            "understudy_upstream_open_calls",
            "Calls to a model that are open, at all its servers.",
            ("cascade", "role"),
            registry=registry,
        )
        self._most = Gauge(
            "understudy_upstream_max_calls",
            "How many calls to a model may be open now: beyond that it is not asked.",
            ("cascade", "role"),
            registry=registry,
        )
        for cascade in cascades:
            for role in Role:
                self._breaker_open.labels(cascade, role)
                self._left_alone.labels(cascade, role)
                for code in FAILURES:
                    self._errors.labels(cascade, role, code)

    def made(self, cascade: str, leg: Leg) -> None:
        """A call is over."""
        self._seconds.labels(cascade, leg.role).observe(leg.seconds)
        if leg.error is not None and leg.error != ABORTED:
            self._errors.labels(cascade, leg.role, leg.error).inc()

    def breaker_changed(self, cascade: str, role: Role, left_alone: int, servers: int) -> None:
        """So many of a model's servers are left alone from now on."""
        self._left_alone.labels(cascade, role).set(left_alone)
        self._breaker_open.labels(cascade, role).set(left_alone == servers)

    def watch(
        self, cascade: str, role: Role, open_calls: Callable[[], int], most: Callable[[], int]
    ) -> None:
        """How many calls are open, and may be, is asked whenever somebody reads the metrics."""
        self._open.labels(cascade, role).set_function(open_calls)
        self._most.labels(cascade, role).set_function(most)
