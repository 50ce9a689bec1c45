"""What is played: a cascade, who asks it, what the teacher can do, and what goes wrong and when.

Values, checked by whoever reads them from a file.  Times are in seconds from the beginning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from routing.promise import HeadStart

# --- the cascade ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quality:
    """At most so much disagreement among kept drafts, with that probability."""

    disagreement_at_most: float
    with_probability: float
    release: float = 0.8
    hold_at_most: int = 6000


@dataclass(frozen=True, slots=True)
class EscalationRate:
    """At most that share of requests goes to the teacher."""

    at_most: float


@dataclass(frozen=True, slots=True)
class Spend:
    """So much an hour, and never more than the cap."""

    usd_per_hour: float
    cap_usd_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Fixed:
    """A threshold that nothing moves."""

    at_least: float


Objective = Quality | EscalationRate | Spend | Fixed


@dataclass(frozen=True, slots=True)
class Watch:
    """What gateways make of the teacher's queue: the section ``queue`` of their configuration."""

    waiting_at_most: float = 8.0
    poll_seconds: float = 2.0
    adaptive_limit: bool = False

    @property
    def every(self) -> int:
        """Whole seconds from one look to the next."""
        return max(1, round(self.poll_seconds))


@dataclass(frozen=True, slots=True)
class Teacher:
    """What the teacher can do: ``concurrent`` answers at once, each in ``seconds`` when it is idle.

    A call that would wait beyond ``timeout_seconds`` fails.  Each gateway makes ``max_concurrent``
    calls at once, at most; None as ``queue``: none of them looks at it.
    """

    seconds: float = 4.0
    concurrent: int = 64
    timeout_seconds: float = 120.0
    max_concurrent: int = 256
    queue: Watch | None = None


@dataclass(frozen=True, slots=True)
class Cascade:
    """Prices are pico-dollars per token, (input, output).

    ``audit_share`` is of judged requests for a quality objective, and of kept drafts for others.
    ``start`` is the policy's threshold: a rate or a spend begins from it.
    """

    objective: Objective
    student_price: tuple[int, int]
    teacher_price: tuple[int, int]
    audit_share: float = 0.02
    teacher: Teacher = Teacher()
    start: float = 0.8


# --- who asks -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """Requests of one topic: drafts of which a ``disagreement`` share differs, told by an AUROC.

    ``overconfidence`` is in units of the log-odds of a disagreement: what the confidence
    underestimates them by.
    """

    share: float
    disagreement: float
    auroc: float
    overconfidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """Requests that were answered by both models; each is asked again as often as chance has it.

    ``policy`` is the file that says what their drafts' merits are; None: the uncalibrated default.
    """

    records: Path
    policy: Path | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of a request in the mean, and the standard deviation of their logarithm."""

    input: float
    output: float
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Conversations:
    """``turns`` in the mean; a turn is as its last one with the probability ``alike``.

    After an escalation ``sticky_turns`` go to the teacher without a draft.
    """

    turns: float = 1.0
    alike: float = 0.5
    sticky_turns: int = 0


class Shape(StrEnum):
    """How traffic goes over time."""

    STEADY = "steady"
    BURST = "burst"
    DAY_CYCLE = "day_cycle"


@dataclass(frozen=True, slots=True)
class Traffic:
    """``per_second`` requests in the mean, for so many ``seconds``, to ``replicas`` gateways.

    ``swing`` in [0, 1] is how far a day's valley and peak are from its mean.  A burst is
    ``burst_times`` the usual, for ``burst_seconds`` in every ``burst_every_seconds``.
    """

    shape: Shape
    per_second: float
    seconds: int
    replicas: int = 1
    swing: float = 0.8
    burst_times: float = 5.0
    burst_seconds: int = 300
    burst_every_seconds: int = 3600


# --- what happens ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TopicDrift:
    """From then on kinds (or groups of records) have other shares; the rest is the others'."""

    at: int
    shares: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StudentRegression:
    """So many points more of drafts differ: of those kept at that time, or everywhere."""

    at: int
    points: float
    among_kept: bool


@dataclass(frozen=True, slots=True)
class TeacherSlowdown:
    """Answers take ``times`` as long."""

    at: int
    seconds: int
    times: float


@dataclass(frozen=True, slots=True)
class TeacherOutage:
    """Every call fails at once."""

    at: int
    seconds: int


@dataclass(frozen=True, slots=True)
class ComparatorNoise:
    """The comparator errs: ``says_differs`` of equal answers, ``says_same`` of different ones."""

    at: int
    says_differs: float
    says_same: float


@dataclass(frozen=True, slots=True)
class ReplicaKilled:
    """A replica is gone, with what it had not told; the others have its traffic.

    It is back after so many ``seconds``; None: never.
    """

    at: int
    replica: int
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class StoreGone:
    """Nobody reaches the store: reports wait, and what stood last goes on."""

    at: int
    seconds: int


Event = (
    TopicDrift
    | StudentRegression
    | TeacherSlowdown
    | TeacherOutage
    | ComparatorNoise
    | ReplicaKilled
    | StoreGone
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """All of it.  ``population`` is a mixture of kinds by name, or records.

    ``head_start`` is how many labelled requests are known beforehand; where it is 0, what is
    ``known`` holds, as the policy's file tells it.
    """

    name: str
    cascade: Cascade
    population: Mapping[str, Kind] | Recorded
    tokens: Tokens
    traffic: Traffic
    conversations: Conversations = Conversations()
    events: tuple[Event, ...] = ()
    head_start: int = 0
    known: HeadStart | None = None
    expect: Mapping[str, float] = field(default_factory=dict)
