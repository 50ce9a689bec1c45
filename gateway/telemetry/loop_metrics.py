"""The metrics of the event loop: how long everything has to wait for whatever runs in it.

They are in docs/metrics.md with all the others.
"""

from prometheus_client import CollectorRegistry

from gateway.telemetry.histogram import HistogramFamily

# One that is well is late by the clock's own steps, a millisecond.
_BOUNDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)


class LoopMetrics:
    """What metrics.py has of the event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lag = HistogramFamily(
            "understudy_loop_lag_seconds",
            "How late a timer of the event loop came, 50 times a second.",
            (),
            _BOUNDS,
            registry,
        ).labels()
        self._computing = HistogramFamily(
            "understudy_loop_computing_seconds",
            "The part of that, at most, in which the loop's thread had a processor.",
            (),
            _BOUNDS,
            registry,
        ).labels()

    def looked(self, lag_seconds: float, computing_seconds: float) -> None:
        """A timer came so late; so much of that the loop may have computed itself."""
        self._lag.observe(lag_seconds)
        self._computing.observe(computing_seconds)
