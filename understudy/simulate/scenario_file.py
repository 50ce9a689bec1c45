"""A scenario's file: YAML, checked once, in the words of the gateway's configuration.

Unknown keys are refused; errors name the path, the value, and what to do.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Strict, ValidationError, model_validator

from evaluation.scenarios import scenario as told
from gateway.config_file import ConfigError, explain, read_yaml
from gateway.prices import TokenPriceConfig
from gateway.sections import Section
from routing.pacing_goal import LEAST_CAP
from understudy.simulate.event_sections import EventSection, Minutes, Share, event_of

NAMED_BY = "the command's argument"
SCHEMA_VERSION = 1
MOST_REPLICAS = 64
MOST_MINUTES = 100_000
MOST_REQUESTS = 1e9
RELEASES = (0.8, 0.9)

_KINDS = (
    "quality|escalation_rate|spend|confidence|topic_drift|student_regression|teacher_slowdown"
    "|teacher_outage|comparator_noise|replica_killed|store_gone"
)
_KIND_IN_PATH = re.compile(rf"(: (?:events\.\d+|cascade\.objective))\.(?:{_KINDS})\b")
_Int = Annotated[int, Strict()]
_Float = Annotated[float, Strict()]
_Positive = Annotated[_Float, Field(gt=0, le=1e9)]
_Name = Annotated[str, Field(min_length=1, max_length=64)]


# --- the cascade ----------------------------------------------------------------------------


def _known_release(release: float) -> float:
    if release not in RELEASES:
        raise ValueError(f"must be one of {list(RELEASES)}, got {release}: choose one of these")
    return release


class QualitySection(Section):
    """``objective: {kind: quality}``."""

    kind: Literal["quality"]
    disagreement_at_most: Annotated[_Float, Field(gt=0, lt=1)]
    with_probability: Annotated[_Float, Field(gt=0, lt=1)]
    release: Annotated[_Float, AfterValidator(_known_release)] = 0.8
    hold_at_most: Annotated[_Int, Field(ge=0, le=1_000_000)] = 6000

    def told(self) -> told.Objective:
        """The same as a value."""
        return told.Quality(
            self.disagreement_at_most, self.with_probability, self.release, self.hold_at_most
        )


class EscalationRateSection(Section):
    """``objective: {kind: escalation_rate}``."""

    kind: Literal["escalation_rate"]
    at_most: Annotated[_Float, Field(gt=0, lt=1)]

    def told(self) -> told.Objective:
        """The same as a value."""
        return told.EscalationRate(self.at_most)


class SpendSection(Section):
    """``objective: {kind: spend}``."""

    kind: Literal["spend"]
    usd_per_hour: _Positive
    cap_usd_per_hour: _Positive | None = None

    @model_validator(mode="after")
    def _cap_above_target(self) -> "SpendSection":
        cap = self.cap_usd_per_hour
        if cap is not None and cap < LEAST_CAP * self.usd_per_hour:
            raise ValueError(
                f"cap_usd_per_hour must be at least {LEAST_CAP} times usd_per_hour, got {cap:g}: "
                "raise it, or remove it"
            )
        return self

    def told(self) -> told.Objective:
        """The same as a value."""
        return told.Spend(self.usd_per_hour, self.cap_usd_per_hour)


class ConfidenceSection(Section):
    """``objective: {kind: confidence}``."""

    kind: Literal["confidence"]
    at_least: Share

    def told(self) -> told.Objective:
        """The same as a value."""
        return told.Fixed(self.at_least)


ObjectiveSection = Annotated[
    QualitySection | EscalationRateSection | SpendSection | ConfidenceSection,
    Discriminator("kind"),
]


class AuditSection(Section):
    """``audit``: the share of judged requests whose kept drafts the teacher is asked about."""

    share: Annotated[_Float, Field(ge=0, le=0.5)] = 0.02


class StudentSection(Section):
    """``student``: its price."""

    price: TokenPriceConfig


class QueueSection(Section):
    """``teacher.queue``: what gateways make of its queue.  Its cache is not simulated."""

    waiting_at_most: Annotated[_Float, Field(gt=0, le=100_000)] = 8.0
    poll_seconds: Annotated[_Float, Field(ge=1, le=60)] = 2.0
    adaptive_limit: Annotated[bool, Strict()] = False

    def told(self) -> told.Watch:
        """The same as a value."""
        return told.Watch(self.waiting_at_most, self.poll_seconds, self.adaptive_limit)


class TeacherSection(Section):
    """``teacher``: its price, what it can do, and what is made of its queue."""

    price: TokenPriceConfig
    seconds: Annotated[_Float, Field(gt=0, le=3600)] = 4.0
    concurrent: Annotated[_Int, Field(ge=1, le=1_000_000)] = 1024
    timeout_seconds: Annotated[_Float, Field(gt=0, le=3600)] = 120.0
    max_concurrent: Annotated[_Int, Field(ge=1, le=1_000_000)] = 256
    queue: QueueSection | None = None

    def told(self) -> told.Teacher:
        """The same as a value."""
        return told.Teacher(
            seconds=self.seconds,
            concurrent=self.concurrent,
            timeout_seconds=self.timeout_seconds,
            max_concurrent=self.max_concurrent,
            queue=None if self.queue is None else self.queue.told(),
        )


class ConversationSection(Section):
    """``conversation``: what the cascade does with turns that belong together."""

    sticky_turns: Annotated[_Int, Field(ge=0, le=1000)] = 0


class CascadeSection(Section):
    """``cascade``: in the words of the gateway's configuration."""

    objective: ObjectiveSection
    student: StudentSection
    teacher: TeacherSection
    audit: AuditSection = AuditSection()
    conversation: ConversationSection = ConversationSection()

    def told(self) -> told.Cascade:
        """The same as a value."""
        student, teacher = self.student.price.price(), self.teacher.price.price()
        return told.Cascade(
            objective=self.objective.told(),
            student_price=(student.input, student.output),
            teacher_price=(teacher.input, teacher.output),
            audit_share=self.audit.share,
            teacher=self.teacher.told(),
        )


# --- who asks -------------------------------------------------------------------------------


class KindSection(Section):
    """A topic of made-up requests."""

    share: Annotated[_Float, Field(ge=0, le=1)] = 1.0
    disagreement: Annotated[_Float, Field(gt=0, lt=1)]
    auroc: Annotated[_Float, Field(gt=0.5, lt=1)]
    overconfidence: Annotated[_Float, Field(ge=0, le=10)] = 0.0

    def told(self) -> told.Kind:
        """The same as a value."""
        return told.Kind(self.share, self.disagreement, self.auroc, self.overconfidence)


class TokensSection(Section):
    """A request's tokens in the mean; ``spread`` is that of their logarithm."""

    input: Annotated[_Float, Field(ge=0, le=1e7)] = 600.0
    output: Annotated[_Float, Field(ge=0, le=1e7)] = 200.0
    spread: Annotated[_Float, Field(ge=0, le=3)] = 0.0


class PopulationSection(Section):
    """Made-up ``kinds``, or ``records`` of your own with the ``policy`` that judges them."""

    kinds: Annotated[dict[_Name, KindSection], Field(min_length=1)] | None = None
    records: Path | None = None
    policy: Path | None = None
    tokens: TokensSection = TokensSection()

    @model_validator(mode="after")
    def _one_of_both(self) -> "PopulationSection":
        if (self.kinds is None) == (self.records is None):
            raise ValueError("name either kinds or records: add one, or remove the other")
        if self.policy is not None and self.records is None:
            raise ValueError("policy judges records, and there are none: remove it")
        if self.kinds is not None and not any(each.share > 0 for each in self.kinds.values()):
            raise ValueError("kinds: none has a share above 0: raise one")
        return self

    def told(self, folder: Path) -> "told.Recorded | dict[str, told.Kind]":
        """The same as a value; relative paths start at the file's folder."""
        if self.records is not None:
            policy = None if self.policy is None else folder / self.policy
            return told.Recorded(folder / self.records, policy)
        return {name: kind.told() for name, kind in (self.kinds or {}).items()}


class TrafficSection(Section):
    """How many ask, for how long."""

    shape: told.Shape = told.Shape.STEADY
    per_second: Annotated[_Float, Field(gt=0, le=100_000)]
    minutes: Annotated[_Float, Field(ge=1, le=MOST_MINUTES)]
    replicas: Annotated[_Int, Field(ge=1, le=MOST_REPLICAS)] = 1
    swing: Share = 0.8
    burst_times: Annotated[_Float, Field(ge=1, le=1000)] = 5.0
    burst_minutes: Minutes = 5.0
    burst_every_minutes: Annotated[_Float, Field(ge=1, le=MOST_MINUTES)] = 60.0

    @model_validator(mode="after")
    def _bounded(self) -> "TrafficSection":
        if self.per_second * self.minutes * 60 > MOST_REQUESTS:
            raise ValueError("these are more than a billion requests: fewer, or less long")
        if self.burst_minutes > self.burst_every_minutes:
            raise ValueError("burst_minutes exceeds burst_every_minutes: choose it below that")
        return self

    def told(self) -> told.Traffic:
        """The same as a value."""
        return told.Traffic(
            shape=self.shape,
            per_second=self.per_second,
            seconds=round(60 * self.minutes),
            replicas=self.replicas,
            swing=self.swing,
            burst_times=self.burst_times,
            burst_seconds=round(60 * self.burst_minutes),
            burst_every_seconds=round(60 * self.burst_every_minutes),
        )


class ConversationsSection(Section):
    """Requests that belong together."""

    turns: Annotated[_Float, Field(ge=1, le=100)] = 1.0
    alike: Share = 0.5


# --- what is expected -----------------------------------------------------------------------


class ExpectSection(Section):
    """What ``--check`` holds the runs to; docs/simulating.md says what each is."""

    violations_at_most: Share | None = None
    bill_over_oracle_at_most: _Float | None = None
    bill_over_oracle_now_at_most: _Float | None = None
    kept_over_oracle_at_least: Share | None = None
    detected_at_least: Share | None = None
    detection_requests_at_most: _Positive | None = None
    false_alarms_at_most: Share | None = None
    hour_over_target_at_most: _Float | None = None
    hour_off_target_at_most: _Float | None = None
    hour_over_cap_at_most: _Float | None = None
    swings_at_most: _Float | None = None
    denied_at_most: Share | None = None
    latency_seconds_at_most: _Positive | None = None

    def told(self) -> dict[str, float]:
        """Those that are there."""
        return self.model_dump(exclude_none=True)


# --- the file -------------------------------------------------------------------------------


def _known_version(version: int) -> int:
    if version != SCHEMA_VERSION:
        raise ValueError(f"this release reads {SCHEMA_VERSION}, got {version}: write it anew")
    return version


class ScenarioFile(Section):
    """The whole file."""

    schema_version: Annotated[_Int, AfterValidator(_known_version)] = SCHEMA_VERSION
    cascade: CascadeSection
    population: PopulationSection
    traffic: TrafficSection
    conversations: ConversationsSection = ConversationsSection()
    events: tuple[EventSection, ...] = ()
    head_start: Annotated[_Int, Field(ge=0, le=1_000_000)] = 0
    expect: ExpectSection = ExpectSection()

    @model_validator(mode="after")
    def _events_are_of_this(self) -> "ScenarioFile":
        for number, event in enumerate(self.events):
            if event.at_minute >= self.traffic.minutes:
                raise ValueError(
                    f"events.{number}.at_minute: traffic ends at {self.traffic.minutes:g}, got "
                    f"{event.at_minute:g}: choose it before that"
                )
            replica = getattr(event, "replica", 0)
            if replica >= self.traffic.replicas:
                raise ValueError(
                    f"events.{number}.replica: there are {self.traffic.replicas}, counted from 0, "
                    f"got {replica}: choose one of them, or raise traffic.replicas"
                )
            unknown = set(getattr(event, "shares", ())) - set(self.population.kinds or ())
            if self.population.kinds is not None and unknown:
                raise ValueError(
                    f"events.{number}.shares: no kind is named {sorted(unknown)[0]!r}: name one of "
                    f"{', '.join(self.population.kinds)}"
                )
        return self


def _as_written(problem: str) -> str:
    """Its path as the file has it: pydantic puts a section's kind into it, which is no key."""
    return _KIND_IN_PATH.sub(r"\1", problem, count=1).replace(": the file: events", ": events", 1)


def read_scenario(path: Path) -> told.Scenario:
    """The scenario in a file.  Raises ConfigError with a line for each thing to mend."""
    try:
        parsed = ScenarioFile.model_validate(read_yaml(path, NAMED_BY))
    except ValidationError as error:
        raise ConfigError("\n".join(map(_as_written, explain(path, error)))) from None
    tokens = parsed.population.tokens
    return told.Scenario(
        name=path.stem,
        cascade=parsed.cascade.told(),
        population=parsed.population.told(path.parent),
        tokens=told.Tokens(tokens.input, tokens.output, tokens.spread),
        traffic=parsed.traffic.told(),
        conversations=told.Conversations(
            turns=parsed.conversations.turns,
            alike=parsed.conversations.alike,
            sticky_turns=parsed.cascade.conversation.sticky_turns,
        ),
        events=tuple(event_of(each) for each in parsed.events),
        head_start=parsed.head_start,
        expect=parsed.expect.told(),
    )
