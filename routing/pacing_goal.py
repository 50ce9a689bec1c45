"""What rate and spend objectives are, and what one report counts towards them.

Both count in a unit of their own: a rate in answers of the teacher, a spend in dollars.  These are
floats, because they steer; the bill is kept elsewhere, exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from routing.money import PICO_PER_USD
from routing.steering import Report, Sample

# A hard cap this near the target would hold the target down: see routing/cap.py.
LEAST_CAP = 1.2


@dataclass(frozen=True, slots=True)
class RateGoal:
    """At most this share in (0, 1) of the requests, forced ones too, is answered by the teacher.

    ``audit`` in [0, 1] is the share of kept drafts that is audited, which counts for nothing here.
    Raises ValueError where a share is none.
    """

    at_most: float
    audit: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.at_most < 1.0:
            raise ValueError(f"at_most: must lie between 0 and 1, got {self.at_most!r}")
        _check_audit(self.audit)


@dataclass(frozen=True, slots=True)
class SpendGoal:
    """So many pico-dollars an hour for all that the cascade costs: student, teacher and audits.

    ``cap_pico_per_hour`` is never exceeded, None is no cap.  ``audit`` in [0, 1] is the share of
    kept drafts that is audited.  Raises ValueError where the cap leaves the target no room.
    """

    pico_per_hour: int
    cap_pico_per_hour: int | None = None
    audit: float = 0.0

    def __post_init__(self) -> None:
        if self.pico_per_hour < 1:
            raise ValueError(f"pico_per_hour: must be at least 1, got {self.pico_per_hour!r}")
        cap = self.cap_pico_per_hour
        if cap is not None and cap < LEAST_CAP * self.pico_per_hour:
            raise ValueError(
                f"cap_pico_per_hour: must be at least {LEAST_CAP} times the target, "
                f"{self.pico_per_hour}, got {cap}"
            )
        _check_audit(self.audit)


Goal = RateGoal | SpendGoal


@dataclass(frozen=True, slots=True)
class Tally:
    """A report in the unit of a goal.

    ``spent`` is all that counts, ``escalations`` the part of it that escalations took.  ``samples``
    are merits and what the escalation is expected to count, None where nobody knows.
    """

    at: float
    seconds: float
    judged: int
    forced: int
    escalated: int
    denied: int
    spent: float
    escalations: float
    samples: Sequence[tuple[float, float | None]]


def tally(goal: Goal, report: Report) -> Tally:
    """What a report counts."""
    if isinstance(goal, RateGoal):
        spent = escalations = float(report.escalated)
        samples: list[tuple[float, float | None]] = [
            (sample.merit, 1.0) for sample in report.samples
        ]
    else:
        spent = report.spent_pico / PICO_PER_USD
        escalations = report.escalated_pico / PICO_PER_USD
        samples = [(sample.merit, _usd(sample)) for sample in report.samples]
    return Tally(
        at=report.at,
        seconds=report.seconds,
        judged=report.judged,
        forced=report.forced,
        escalated=report.escalated,
        denied=report.denied,
        spent=spent,
        escalations=escalations,
        samples=samples,
    )


def _usd(sample: Sample) -> float | None:
    """What it is expected to cost; what is free is taken to cost a pico-dollar."""
    return None if sample.cost_pico is None else max(sample.cost_pico, 1) / PICO_PER_USD


def _check_audit(audit: float) -> None:
    if not 0.0 <= audit <= 1.0:
        raise ValueError(f"audit: must lie in [0, 1], got {audit!r}")
