"""How far another machine's clock is from this one's, as exactly as it says."""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from distill.replicas import SKEW_SECONDS
from understudy.doctor.findings import Finding, State, Subject

# A Date header has whole seconds, and servers renew it once a second: uvicorn, and vLLM with it.
DATE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Drift:
    """The other clock is ahead of ours by something between ``least`` and ``most`` seconds."""

    least: float
    most: float

    @property
    def is_off(self) -> bool:
        """Whether it is certain that the clocks differ by more than may be."""
        return self.least > SKEW_SECONDS or self.most < -SKEW_SECONDS

    def words(self) -> str:
        """For an operator, with how exact it is."""
        middle, half = (self.least + self.most) / 2, (self.most - self.least) / 2
        which = "ahead of" if middle >= 0 else "behind"
        return f"{abs(middle):,.1f} s {which} this machine's, give or take {half:,.1f} s"


def drift_by_date(header: str | None, sent: float, received: float) -> Drift | None:
    """By the ``Date`` of a response between two times of ours, in seconds since 1970.

    None where there is no such header, or nobody can read it.
    """
    if header is None:
        return None
    try:
        date = parsedate_to_datetime(header).timestamp()
    except ValueError:
        return None
    return Drift(date - received, date + DATE_SECONDS - sent)


def drift_by_time(told: float, sent: float, received: float) -> Drift:
    """By a time that was told exactly, between two of ours."""
    return Drift(told - received, told - sent)


def clock_finding(drift: Drift | None, advice: str, state: State = State.HINT) -> Finding:
    """What is to be said of a clock; ``state`` and ``advice`` where it is off."""
    if drift is None:
        return Finding(Subject.CLOCK, State.SKIPPED, "not told: its answers have no Date")
    if drift.is_off:
        return Finding(Subject.CLOCK, state, drift.words(), advice)
    return Finding(Subject.CLOCK, State.OK, drift.words())
