"""The metrics of money: tokens and dollars.

Money is added up in whole pico-dollars and turned into dollars when it is read.  They are in
docs/metrics.md with all the others.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from gateway.facts import RequestSettled
from gateway.telemetry.counter import CounterFamily
from routing.baseline import Missing
from routing.bill import Entry
from routing.money import PICO_PER_USD
from routing.vocabulary import Kind, Role

TOKENS = ("input", "output", "cached_input", "reasoning")


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


class RentCounter(Collector):
    """The rent of GPUs, which runs by the clock and is asked for when it is read."""

    _NAME = "understudy_gpu_rent_usd_total"
    _DOCUMENTATION = "Rent of the GPUs since the start, whether or not they worked."

    def __init__(self, registry: CollectorRegistry) -> None:
        self._watched: dict[tuple[str, ...], Callable[[], int]] = {}
        registry.register(self)

    def watch(self, labels: tuple[str, ...], pico: Callable[[], int]) -> None:
        """Have a rent told, in whole pico-dollars by now."""
        self._watched[labels] = pico

    def describe(self) -> Iterable[CounterMetricFamily]:
        """The metric without samples."""
        yield CounterMetricFamily(self._NAME, self._DOCUMENTATION, labels=["cascade", "role"])

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The metric with all samples, in US dollars."""
        (family,) = self.describe()
        for labels, pico in self._watched.items():
            family.add_metric(labels, pico() / PICO_PER_USD)
        yield family


class MoneyMetrics:
    """What metrics.py has of money."""

    def __init__(self, registry: CollectorRegistry, cascades: Iterable[str]) -> None:
        self._registry = registry
        self._define_tokens()
        self._define_dollars()
        self._define_rent()
        for cascade, role in product(cascades, Role):
            self._begin(cascade, role)

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
        self._estimated = PicoCounter(
            "understudy_cost_estimated_usd_total",
            "The part of the cost whose tokens were counted from what was received.",
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

    def _define_rent(self) -> None:
        self._rent = RentCounter(self._registry)
        self._budget = Gauge(
            "understudy_budget_usd_per_month",
            "What the cascade may cost in a month; only where that is set.",
            ["cascade"],
            registry=self._registry,
        )
        self._cached_tokens = Gauge(
            "understudy_cached_tokens_reported",
            "1 where the server tells how much of a prompt was cached, so that it can be billed at "
            "its own price; only where it has one.",
            ["cascade", "role"],
            registry=self._registry,
        )

    def _begin(self, cascade: str, role: Role) -> None:
        """Have the series there before the first call, or nobody sees the first increase."""
        for kind in Kind:
            self._cost.add((cascade, role, kind), 0)
            self._estimated.add((cascade, role, kind), 0)
        for cause in Missing:
            self._cost_unknown.labels(cascade, role, cause)
        for name in TOKENS:
            self._tokens.labels(cascade, role, name)

    def budget(self, cascade: str, usd_per_month: float) -> None:
        """What a cascade may cost."""
        self._budget.labels(cascade).set(usd_per_month)

    def watch_rent(self, cascade: str, role: Role, pico: Callable[[], int]) -> None:
        """Have the rent of a model's GPUs told; ``pico`` says how much it is by now."""
        self._rent.watch((cascade, role), pico)

    def cached_tokens(self, cascade: str, role: Role, *, is_reported: bool) -> None:
        """Whether a server tells of cached tokens, where they have a price of their own."""
        self._cached_tokens.labels(cascade, role).set(is_reported)

    def settled(self, cascade: str, fact: RequestSettled) -> None:
        """Count what one request came to."""
        for entry in fact.entries:
            self.charge(cascade, entry)

    def charge(self, cascade: str, entry: Entry) -> None:
        """Count one line of the bill."""
        if entry.cost_pico is not None:
            labels = (cascade, entry.role, entry.kind)
            self._cost.add(labels, entry.cost_pico)
            if entry.is_estimated:
                self._estimated.add(labels, entry.cost_pico)
        else:
            cause = Missing.USAGE if entry.usage is None else Missing.PRICE
            self._cost_unknown.labels(cascade, entry.role, cause).inc()
        if entry.usage is not None:
            for name in TOKENS:
                if tokens := getattr(entry.usage, name):
                    self._tokens.labels(cascade, entry.role, name).inc(tokens)

    def _counter(self, name: str, documentation: str, *labels: str) -> CounterFamily:
        return CounterFamily(name, documentation, labels, self._registry)
