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

    def __init__(self) -> None:
        self.collectors: list[Collector] = []

    def collect(self) -> Iterator[Metric]:
        """All of them, one after the other."""
        for collector in self.collectors:
            for metric in collector.collect():
                metric.samples = [
                    sample for sample in metric.samples if not sample.name.endswith("_created")
                ]
                yield metric


class Registry(CollectorRegistry):
    """Nothing that is registered ever goes again."""

    def __init__(self) -> None:
        super().__init__()
        self._plain = _Plain()
        self._histograms: list[HistogramFamily] = []

    def register(self, collector: Collector) -> None:
        """Add a metric, or several.  Raises ValueError where another has its name."""
        super().register(collector)
        if isinstance(collector, HistogramFamily):
            self._histograms.append(collector)
        else:
            self._plain.collectors.append(collector)

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format."""
        histograms = "".join(each.text() for each in self._histograms)
        return generate_latest(self._plain) + histograms.encode()
