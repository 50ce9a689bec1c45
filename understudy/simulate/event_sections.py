"""The events of a scenario's file."""

from typing import Annotated, Literal, assert_never

from pydantic import Discriminator, Field, Strict, model_validator

from evaluation.scenarios import scenario as told
from gateway.sections import Section

_Int = Annotated[int, Strict()]
_Float = Annotated[float, Strict()]
Share = Annotated[_Float, Field(ge=0, le=1)]
Minutes = Annotated[_Float, Field(gt=0, le=100_000)]


class _At(Section):
    at_minute: Annotated[_Float, Field(ge=0, le=100_000)]

    @property
    def at(self) -> int:
        """The second in which it begins."""
        return round(60 * self.at_minute)


class TopicDriftSection(_At):
    """Other shares of kinds, or of groups of records."""

    kind: Literal["topic_drift"]
    shares: Annotated[dict[str, Share], Field(min_length=1)]

    @model_validator(mode="after")
    def _add_up(self) -> "TopicDriftSection":
        if sum(self.shares.values()) > 1.0 + 1e-9:
            raise ValueError("shares must come to at most 1: lower one")
        return self


class StudentRegressionSection(_At):
    """Drafts get worse by percentage points."""

    kind: Literal["student_regression"]
    points: Annotated[_Float, Field(gt=0, le=100)]
    where: Literal["kept", "everywhere"] = "kept"


class TeacherSlowdownSection(_At):
    """Answers take several times as long."""

    kind: Literal["teacher_slowdown"]
    minutes: Minutes
    times: Annotated[_Float, Field(gt=1, le=1000)]


class TeacherOutageSection(_At):
    """Every call fails."""

    kind: Literal["teacher_outage"]
    minutes: Minutes


class ComparatorNoiseSection(_At):
    """The comparator errs."""

    kind: Literal["comparator_noise"]
    says_differs: Share = 0.0
    says_same: Share = 0.0


class ReplicaKilledSection(_At):
    """A replica is gone, for some minutes or for good."""

    kind: Literal["replica_killed"]
    replica: Annotated[_Int, Field(ge=0)]
    minutes: Minutes | None = None


class StoreGoneSection(_At):
    """Nobody reaches the store."""

    kind: Literal["store_gone"]
    minutes: Minutes


EventSection = Annotated[
    TopicDriftSection
    | StudentRegressionSection
    | TeacherSlowdownSection
    | TeacherOutageSection
    | ComparatorNoiseSection
    | ReplicaKilledSection
    | StoreGoneSection,
    Discriminator("kind"),
]


def event_of(section: EventSection) -> told.Event:
    """The same as a value."""
    match section:
        case TopicDriftSection():
            return told.TopicDrift(section.at, section.shares)
        case StudentRegressionSection():
            return told.StudentRegression(section.at, section.points, section.where == "kept")
        case TeacherSlowdownSection():
            return told.TeacherSlowdown(section.at, _seconds(section.minutes), section.times)
        case TeacherOutageSection():
            return told.TeacherOutage(section.at, _seconds(section.minutes))
        case ComparatorNoiseSection():
            return told.ComparatorNoise(section.at, section.says_differs, section.says_same)
        case ReplicaKilledSection():
            seconds = None if section.minutes is None else _seconds(section.minutes)
            return told.ReplicaKilled(section.at, section.replica, seconds)
        case StoreGoneSection():
            return told.StoreGone(section.at, _seconds(section.minutes))
        case _:
            assert_never(section)


def _seconds(minutes: float) -> int:
    return max(1, round(60 * minutes))
