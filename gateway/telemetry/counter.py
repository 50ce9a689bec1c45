"""Counters that cost little to count with: the client library's own take a lock for each step.

All of a metric belongs to one thread.
"""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class Count:
    """The counter with one set of labels."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Count so many more, at least 0."""
        self.value += amount


class CounterFamily(Collector):
    """One metric: its counters by their labels, which begin at 0 once they were looked up."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._children: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def labels(self, *labels: str) -> Count:
        """The counter with these labels."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = Count()
        return child

    def describe(self) -> Iterable[CounterMetricFamily]:
        """The metric without samples, so that the registry can refuse a second one of this name."""
        yield self._family()

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The metric with all samples."""
        family = self._family()
        for labels, child in self._children.items():
            family.add_metric(labels, child.value)
        yield family

    def _family(self) -> CounterMetricFamily:
        return CounterMetricFamily(self._name, self._documentation, labels=self._labels)
