"""Histograms that cost little to fill and to show.

They are most of what a scrape reads: the client library's own make an object of each line, each
time, which would take longer than a scrape may.  These keep the text of a line up to its number.
All of a metric belongs to one thread.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Buckets:
    """The observations with one set of labels."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value, which is no NaN."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class HistogramFamily(Collector):
    """One metric: its histograms by their labels, of which an empty one is none.

    ``bounds`` ascend; that of everything is added.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        bounds: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._bounds = tuple(bounds)
        self._ends = (*map(floatToGoString, self._bounds), "+Inf")
        self._children: dict[tuple[str, ...], Buckets] = {}
        self._heads: dict[tuple[str, ...], Sequence[str]] = {}
        registry.register(self)

    def labels(self, *labels: str) -> Buckets:
        """The histogram with these labels."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = Buckets(self._bounds)
            self._heads[labels] = self._heads_of(labels)
        return child

    def remove(self, first: tuple[str, ...]) -> None:
        """Show none any more whose first labels are these."""
        for labels in [each for each in self._children if each[: len(first)] == first]:
            del self._children[labels], self._heads[labels]

    def text(self) -> str:
        """All of it in Prometheus' text format."""
        lines = [f"# HELP {self._name} {self._documentation}\n# TYPE {self._name} histogram\n"]
        for labels, child in self._children.items():
            *heads, head_of_sum = self._heads[labels]
            counts = list(accumulate(child.counts))
            numbers = [*counts, counts[-1]]
            lines += [f"{head}{number}\n" for head, number in zip(heads, numbers, strict=True)]
            lines.append(f"{head_of_sum}{child.total!r}\n")
        return "".join(lines)

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """The metric without samples, so that the registry can refuse a second one of this name."""
        yield self._family()

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The same as ``text``, sample by sample."""
        family = self._family()
        for labels, child in self._children.items():
            counts = list(zip(self._ends, accumulate(child.counts), strict=True))
            family.add_metric(labels, counts, child.total)
        yield family

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._documentation, labels=self._labels)

    def _heads_of(self, labels: tuple[str, ...]) -> Sequence[str]:
        """The lines of one histogram up to their numbers: buckets, count, sum."""
        pairs = zip(self._labels, labels, strict=True)
        told = [f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs if value]
        ends = (",".join([*told, f'le="{end}"']) for end in self._ends)
        braced = f"{{{','.join(told)}}}" if told else ""
        buckets = (f"{self._name}_bucket{{{end}}} " for end in ends)
        return (*buckets, f"{self._name}_count{braced} ", f"{self._name}_sum{braced} ")
