"""Says what happens to objectives, once each time: to metrics and log."""

from collections.abc import Mapping, Sequence
from typing import Any

from structlog.typing import FilteringBoundLogger

from gateway.telemetry.metrics import Metrics
from gateway.telemetry.objective_metrics import Target
from routing.money import PICO_PER_USD
from routing.pressure import Pressure, Seen
from routing.steering import KEEP_NOTHING, Standing

# What is wrong with a state may quote it.
MOST_TOLD_CHARACTERS = 500


class SteeringNews:
    """What steering has to say."""

    def __init__(self, log: FilteringBoundLogger, metrics: Metrics) -> None:
        self.log = log
        self._metrics = metrics
        self._refused: dict[str, str] = {}

    def standing_taken(self, cascade: str, standing: Standing) -> None:
        """This holds here from now on."""
        self._refused.pop(cascade, None)
        threshold = None if standing.threshold == KEEP_NOTHING else standing.threshold
        self._metrics.policies.threshold(cascade, standing.threshold)
        self._metrics.objectives.holds(cascade, standing.revision, standing.epoch, standing.audit)
        self.log.info(
            "standing",
            cascade=cascade,
            revision=standing.revision,
            threshold=threshold,
            message=standing.line,
        )

    def controller_shown(self, cascade: str, shown: Mapping[str, Any]) -> None:
        """How the controller of a cascade sees it."""
        evidence, detectors = shown.get("evidence") or {}, shown.get("detectors") or {}
        numbers = {
            "bound": shown.get("bound"),
            "kept_share": evidence.get("kept_share"),
            "grades": evidence.get("grades"),
            "statistic": (detectors.get("kept") or {}).get("statistic"),
            "alarms": shown.get("alarm_count"),
            "cap_usd": _usd((shown.get("objective") or {}).get("cap_pico_per_hour")),
        }
        self._metrics.objectives.aims(cascade, _target(shown))
        self._metrics.objectives.shown(cascade, shown.get("state", "steering"), numbers)

    def regression_found(self, cascade: str, alarm: Mapping[str, Any]) -> None:
        """The student got worse, as a test says that is seldom wrong about it."""
        self.log.error(
            "regression",
            cascade=cascade,
            which=alarm.get("which"),
            epoch=alarm.get("epoch"),
            message="the student differs from the teacher more than was promised: all requests "
            "are escalated until the promise is earned again",
        )

    def controller_changed(self, cascade: str, replica: str | None) -> None:
        """Another replica steers; None: nobody does."""
        self.log.info("controller", cascade=cascade, replica=replica)

    def steering_state_refused(self, cascade: str, why: str) -> None:
        """A state is no use, and ``why``: what holds stays; told once for each reason in a row."""
        why = why[:MOST_TOLD_CHARACTERS]
        if self._refused.get(cascade) != why:
            self._refused[cascade] = why
            self.log.error(
                "objective_refused",
                cascade=cascade,
                why=why,
                message="what was saved, or is in the store, is no use: what holds stays",
            )

    def objective_ordered(
        self, cascade: str, version: int, objective: Mapping[str, Any] | None, key: str | None
    ) -> None:
        """Whoever has that key had the cascade held to something else; None: to its file again."""
        self._metrics.objectives.ordered(cascade, version)
        self.log.warning(
            "objective_ordered",
            cascade=cascade,
            version=version,
            objective=objective,
            key=key,
            message="the objective is another from now on"
            if objective is not None
            else "the objective is the file's again",
        )

    def cap_left(self, cascade: str, pico: float | None) -> None:
        """So much of a hard cap may be spent here at once; None: there is no cap."""
        usd = None if pico is None else pico / PICO_PER_USD
        self._metrics.objectives.cap_left(cascade, usd)

    def reports_lost(self, cascade: str, count: int) -> None:
        """So many reports are gone."""
        self._metrics.objectives.lost(cascade, count)

    def teacher_pressed(self, cascade: str, pressure: Pressure, seen: Seen) -> None:
        """That was seen of the teacher, and makes for this pressure."""
        self._metrics.objectives.pressed(cascade, pressure.value, seen.waiting, seen.cache)

    def load_unknown(self, cascade: str, *, is_unknown: bool) -> None:
        """None of the teacher's servers says how it is; or some do again."""
        if is_unknown:
            self.log.warning(
                "teacher_load_unknown",
                cascade=cascade,
                message="no server of the teacher shows its queue under /metrics: it is pressed "
                "by nothing but calls that it has no room for",
            )
        else:
            self.log.info("teacher_load_known", cascade=cascade, message="the queue is seen again")

    def steering_changed(self, cascades: Sequence[str], why: Mapping[str, Any]) -> None:
        """The store cannot be asked any more about these cascades; with none it can again."""
        if not cascades:
            self.log.info("objectives_back", message="objectives are steered again")
            return
        self.log.warning(
            "objectives_away",
            cascades=cascades,
            **why,
            message="the store cannot be asked what holds: the last standing stays",
        )

    def state_not_saved(self, path: str, error: OSError) -> None:
        """A state could not be read from or written to the state directory."""
        self.log.warning(
            "objective_not_saved",
            place=path,
            errno=error.errno,
            strerror=error.strerror,
            message="a start without the store would know an older standing, or none",
        )


def _target(shown: Mapping[str, Any]) -> Target | None:
    """What a controller says that it holds to; None where it says none of these."""
    goal = shown.get("objective") or shown
    match goal:
        case {"kind": "quality", "disagreement_at_most": value}:
            return Target("quality", value)
        case {"kind": "escalation_rate", "at_most": value}:
            return Target("escalation_rate", value)
        case {"kind": "spend", "pico_per_hour": value}:
            return Target("spend", value / PICO_PER_USD)
        case _:
            return None


def _usd(pico: int | None) -> float | None:
    return None if pico is None else pico / PICO_PER_USD
