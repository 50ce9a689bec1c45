"""A metric with labels, looked up once for each set of them."""

from typing import Generic, TypeVar

from prometheus_client import Counter, Gauge

Metric = TypeVar("Metric", Counter, Gauge)


class Family(Generic[Metric]):
    """A metric whose labelled children are looked up once: the client does it under a lock."""

    def __init__(self, metric: Metric) -> None:
        self._metric: Metric = metric
        self._children: dict[tuple[str, ...], Metric] = {}

    def labels(self, *labels: str) -> Metric:
        """The child with these labels; a counter begins at 0 once it was looked up."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        return child
