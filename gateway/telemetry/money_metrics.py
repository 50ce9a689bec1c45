"""The metrics of money: tokens and dollars.

Money is added up in whole pico-dollars and turned into dollars when it is read.  They are in
docs/metrics.md with all the others.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from gateway.facts import RequestSettled
from gateway.telemetry.family import Family
from routing.bill import Entry
from routing.money import PICO_PER_USD


class PicoCounter(Collector):
    """A counter of US dollars that is exact, because it adds integers.

    ``unit`` is how many of what it adds make one of what it shows.
    """

    unit = PICO_PER_USD

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._totals: defaultdict[tuple[str, ...], int] = defaultdict(int)
        registry.register(self)

    def add(self, labels: tuple[str, ...], pico: int) -> None:
        """Add whole pico-dollars, at least 0."""
        self._totals[labels] += pico

    def describe(self) -> Iterable[CounterMetricFamily]:
        """The metric without samples, so that the registry can refuse a second one of this name."""
        yield CounterMetricFamily(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The metric with all samples, in US dollars."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, pico in self._totals.items():
            family.add_metric(labels, pico / self.unit)
        yield family


class MoneyMetrics:
    """What metrics.py has of money."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._define_tokens()
        self._define_dollars()

    def _define_tokens(self) -> None:
        self._tokens = self._counter(
            "understudy_tokens_total",
            "Tokens (input, output; cached_input is part of input, reasoning of output).",
            "cascade",
            "role",
            "type",
        )

    def _define_dollars(self) -> None:
        self._cost = PicoCounter(
            "understudy_cost_usd_total",
            "What was paid, by model and by what for (served, wasted, retry, shadow, audit).",
            ["cascade", "role", "kind"],
            self._registry,
        )
        self._cost_unknown = self._counter(
            "understudy_cost_unknown_total",
            "Calls that are in no sum of dollars, by what is missing (usage, price).",
            "cascade",
            "role",
            "cause",
        )

    def settled(self, cascade: str, fact: RequestSettled) -> None:
        """Count what one request came to."""
        for entry in fact.entries:
            self.charge(cascade, entry)

    def charge(self, cascade: str, entry: Entry) -> None:
        """Count one line of the bill."""
        if entry.cost_pico is not None:
            self._cost.add((cascade, entry.role, entry.kind), entry.cost_pico)
        else:
            cause = "usage" if entry.usage is None else "price"
            self._cost_unknown.labels(cascade, entry.role, cause).inc()
        if entry.usage is not None:
            for name in ("input", "output", "cached_input", "reasoning"):
                if tokens := getattr(entry.usage, name):
                    self._tokens.labels(cascade, entry.role, name).inc(tokens)

    def _counter(self, name: str, documentation: str, *labels: str) -> Family[Counter]:
        return Family(Counter(name, documentation, labels, registry=self._registry))
