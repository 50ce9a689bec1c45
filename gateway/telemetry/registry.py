"""All metrics of one gateway, and how they are written down for Prometheus."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.telemetry.histogram import HistogramFamily


class _Plain(Collector):
    """What is no histogram, without the times at which series began.

    These would double the number of series.  Counters whose first step matters begin at 0 instead.
    """

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def collect(self) -> Iterator[Metric]:
        """Its metrics, one after the other."""
        for metric in self._collector.collect():
            metric.samples = [
                sample for sample in metric.samples if not sample.name.endswith("_created")
            ]
            yield metric


class Registry(CollectorRegistry):
    """Nothing that is registered ever goes again."""

    def __init__(self) -> None:
        super().__init__()
        self._plain: list[_Plain] = []
        self._histograms: list[HistogramFamily] = []

    def register(self, collector: Collector) -> None:
        """Add a metric, or several.  Raises ValueError where another has its name."""
        super().register(collector)
        if isinstance(collector, HistogramFamily):
            self._histograms.append(collector)
        else:
            self._plain.append(_Plain(collector))

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format."""
        return b"".join(self.parts())

    def parts(self) -> Iterator[bytes]:
        """The same in pieces, each of whole metrics as they stand when it is made.

        All of them together take longer than an event loop should have to wait.
        """
        for plain in self._plain:
            yield generate_latest(plain)
        for histogram in self._histograms:
            yield histogram.text().encode()
