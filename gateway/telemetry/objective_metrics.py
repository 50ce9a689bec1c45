"""The metrics of objectives: what holds, who says so, how fresh that is.

They are in docs/metrics.md with all the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, nan

from prometheus_client import CollectorRegistry, Gauge

from gateway.telemetry.counter import CounterFamily

PREFIX = "understudy_objective_"
# What a controller shows of itself that is a number, and is of use over time.
_SHOWN: Mapping[str, str] = {
    "understudy_objective_bound": "The certified bound on the share of kept drafts that differ.",
    "understudy_objective_kept_share": "The share of drafts that the standing keeps.",
    "understudy_objective_grades": "Grades that are in the evidence of this epoch.",
    "understudy_objective_statistic": "How suspicious the test for a regression is.",
    "understudy_objective_alarms": "Regressions that were found since the promise began.",
    "understudy_objective_cap_usd": "What no hour may cost beyond, of a hard cap.",
}

SHOWN_NUMBERS = tuple(name.removeprefix(PREFIX) for name in _SHOWN)


@dataclass(frozen=True, slots=True)
class Target:
    """What an objective of a kind asks for: a share, or USD an hour."""

    kind: str
    value: float


class ObjectiveMetrics:
    """What metrics.py has of objectives.  What nobody knows is absent."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._revision = self._gauge(
            "understudy_objective_revision", "Grows with each change of what holds."
        )
        self._epoch = self._gauge(
            "understudy_objective_epoch", "Grows with each attempt to earn the promise."
        )
        self._audit = self._gauge(
            "understudy_objective_audit_probability",
            "The probability with which a kept draft is audited.",
        )
        self._target = self._gauge(
            "understudy_objective_target",
            "What is asked for, by the objective's kind: a share, or USD an hour.",
            "kind",
        )
        self._shown = {
            name: self._gauge(name, documentation) for name, documentation in _SHOWN.items()
        }
        self._state = self._gauge(
            "understudy_objective_state",
            "1 for how the objective stands: gathering, holding, released, steering.",
            "state",
        )
        self._controller = self._gauge(
            "understudy_objective_controller", "1 where this replica steers the cascade."
        )
        self._age = self._gauge(
            "understudy_objective_age_seconds",
            "How long ago this replica last heard what holds for the cascade.",
        )
        self._waiting = self._gauge(
            "understudy_objective_reports_waiting", "Reports that wait for the store."
        )
        self._lost = CounterFamily(
            "understudy_objective_reports_lost_total",
            "Reports that are gone because the store was away for too long.",
            ("cascade",),
            registry,
        )
        self._pressure = self._gauge(
            "understudy_teacher_pressure",
            "How hard the teacher is pressed, 0 to 1, by its servers' own word.",
        )
        self._queued = self._gauge(
            "understudy_teacher_waiting",
            "Requests that wait in the queues of the teacher's servers.",
        )
        self._cache = self._gauge(
            "understudy_teacher_cache_usage", "The part in use of the teacher's fullest cache."
        )
        self._version = self._gauge(
            "understudy_objective_version",
            "Grows with each objective that an operator sets; 0 is the file's.",
        )
        self._cap_left = self._gauge(
            "understudy_objective_cap_left_usd",
            "What this replica may spend on the teacher at once, of a hard cap.",
        )
        self._told: dict[tuple[Gauge, str], str] = {}

    def watch(
        self,
        cascade: str,
        age: Callable[[], float],
        waiting: Callable[[], int],
        is_controller: Callable[[], bool],
    ) -> None:
        """Show of a steered cascade what these say."""
        self._version.labels(cascade).set(0)
        self._age.labels(cascade).set_function(age)
        self._waiting.labels(cascade).set_function(waiting)
        self._controller.labels(cascade).set_function(lambda: float(is_controller()))
        self._lost.labels(cascade)

    def ordered(self, cascade: str, version: int) -> None:
        """An objective of this version holds."""
        self._version.labels(cascade).set(version)

    def cap_left(self, cascade: str, usd: float | None) -> None:
        """So much of a hard cap is left here; None: there is no cap."""
        if usd is not None:
            self._cap_left.labels(cascade).set(usd)
        elif (cascade,) in self._cap_left._metrics:
            self._cap_left.remove(cascade)

    def pressed(
        self, cascade: str, pressure: float, waiting: float | None, cache: float | None
    ) -> None:
        """How hard its teacher is pressed, and by what; None is what nobody knows."""
        for gauge, number in (
            (self._pressure, pressure),
            (self._queued, waiting),
            (self._cache, cache),
        ):
            gauge.labels(cascade).set(nan if number is None else number)

    def lost(self, cascade: str, count: int) -> None:
        """So many reports are gone."""
        self._lost.labels(cascade).inc(count)

    def holds(self, cascade: str, revision: int, epoch: int, audit: float) -> None:
        """This standing holds."""
        self._revision.labels(cascade).set(revision)
        self._epoch.labels(cascade).set(epoch)
        self._audit.labels(cascade).set(audit)

    def aims(self, cascade: str, target: Target | None) -> None:
        """What the controller holds the cascade to, as far as it says so."""
        if target is not None:
            self._only(self._target, cascade, target.kind).set(target.value)

    def shown(self, cascade: str, state: str, numbers: Mapping[str, float | None]) -> None:
        """How the controller sees it."""
        self._only(self._state, cascade, state).set(1)
        for name, gauge in self._shown.items():
            number = numbers.get(name.removeprefix(PREFIX))
            if number is None or not -inf < number < inf:
                if (cascade,) in gauge._metrics:
                    gauge.remove(cascade)
            else:
                gauge.labels(cascade).set(number)

    def _only(self, gauge: Gauge, cascade: str, label: str) -> Gauge:
        """The gauge's one series of a cascade; that of another label before it goes."""
        before = self._told.get((gauge, cascade))
        if before is not None and before != label:
            gauge.remove(cascade, before)
        self._told[gauge, cascade] = label
        return gauge.labels(cascade, label)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(
            name,
            documentation,
            ("cascade", *labels),
            registry=self._registry,
        )
