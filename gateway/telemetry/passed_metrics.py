"""The metrics of requests that pass to a model as they are.  They stand apart from those of
cascades, whose savings and shares they would otherwise blur.

They are in docs/metrics.md with all the others.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.passage import Passage, PassedThrough
from gateway.telemetry.call_metrics import FAILURES, SECONDS
from gateway.telemetry.family import Family
from gateway.telemetry.histogram import HistogramFamily
from gateway.telemetry.money_metrics import PicoCounter
from gateway.telemetry.pair_metrics import OTHER
from gateway.wire.passing import PassedRoute
from routing.baseline import Missing
from routing.vocabulary import Kind

_KINDS = (Kind.SERVED, Kind.WASTED)
_TOKENS = ("input", "output")


class PassedMetrics:
    """What metrics.py has of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._named: set[str] = set()
        self._requests = Family(
            Counter(
                "understudy_passed_requests_total",
                "Requests that were to pass to a model as they were, by how they ended.",
                ("model", "route", "outcome"),
                registry=registry,
            )
        )
        self._seconds = HistogramFamily(
            "understudy_passed_seconds",
            "Time that a named model's server took.",
            ("model",),
            SECONDS,
            registry,
        )
        self._tokens = Family(
            Counter(
                "understudy_passed_tokens_total",
                "Tokens of requests that passed to a named model.",
                ("model", "type"),
                registry=registry,
            )
        )
        self._define_failures(registry)
        self._cost = PicoCounter(
            "understudy_passed_cost_usd_total",
            "What was paid for requests that passed to a named model (served, wasted).",
            ("model", "kind"),
            registry,
        )

    def _define_failures(self, registry: CollectorRegistry) -> None:
        self._unknown = Family(
            Counter(
                "understudy_passed_cost_unknown_total",
                "Calls to named models that are in no sum of dollars, by what is missing.",
                ("model", "cause"),
                registry=registry,
            )
        )
        self._errors = Family(
            Counter(
                "understudy_passed_errors_total",
                "Calls to named models that gave no answer.",
                ("model", "code"),
                registry=registry,
            )
        )
        self._breaker_open = Family(
            Gauge(
                "understudy_passed_breaker_open",
                "1 while a named model's server is left alone after a run of failures.",
                ("model",),
                registry=registry,
            )
        )

    def begin(self, model: str, routes: Iterable[PassedRoute]) -> None:
        """Have a named model's series there before its first request."""
        self._named.add(model)
        for route in routes:
            for outcome in Passage:
                self._requests.labels(model, route, outcome)
        for name in _TOKENS:
            self._tokens.labels(model, name)
        for kind in _KINDS:
            self._cost.add((model, kind), 0)
        for cause in Missing:
            self._unknown.labels(model, cause)
        for code in FAILURES:
            self._errors.labels(model, code)
        self._breaker_open.labels(model)

    def passed_through(self, fact: PassedThrough) -> None:
        """Count one request."""
        self._requests.labels(fact.model or OTHER, fact.route, fact.outcome).inc()
        if fact.model not in self._named or fact.call is None:
            return
        if fact.call.error is not None:
            self._errors.labels(fact.model, fact.call.error).inc()
        if (entry := fact.entry) is None:
            return
        self._seconds.labels(fact.model).observe(fact.call.seconds)
        if entry.cost_pico is not None:
            self._cost.add((fact.model, entry.kind), entry.cost_pico)
        else:
            cause = Missing.USAGE if entry.usage is None else Missing.PRICE
            self._unknown.labels(fact.model, cause).inc()
        if entry.usage is not None:
            for name in _TOKENS:
                if tokens := getattr(entry.usage, name):
                    self._tokens.labels(fact.model, name).inc(tokens)

    def breaker_changed(self, model: str, *, is_open: bool) -> None:
        """A named model is left alone from now on, or no longer; tokenizers have no series."""
        if model in self._named:
            self._breaker_open.labels(model).set(is_open)
