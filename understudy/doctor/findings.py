"""What the doctor says: findings, each with what to do, and how grave each of them is."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a finding is to be taken.

    A problem is for somebody to mend; what is away may come back by itself, and may have to be
    mended all the same: from here the two look alike.
    """

    OK = "ok"
    SKIPPED = "skipped"
    HINT = "hint"
    AWAY = "away"
    PROBLEM = "problem"


class Subject(StrEnum):
    """All that is looked at; docs/doctor.md has a row for each."""

    SETTINGS = "settings"
    ADDRESS = "address"
    METRICS = "metrics"
    KEYS = "keys"
    STATE_DIRECTORY = "state directory"
    ENCRYPTION = "encryption of pairs"

    REDIS = "Redis"
    VERSION = "version"
    ROLE = "role and replicas"
    PERSISTENCE = "persistence"
    MEMORY = "memory"
    RIGHTS = "rights"
    CLOCK = "clock"

    POLICY = "policy"
    GENERATION = "generation"
    CANDIDATE = "candidate"
    GATEWAYS = "gateways"
    TRAINING = "training"
    DOUBTS = "doubtful settings"
    PRICE = "price"
    COMPARATOR = "comparator"

    SERVER = "server"
    CONTEXT = "context length"
    STREAMS = "streams"
    LOGPROBS = "log-probabilities in streams"
    USAGE = "usage of streams"
    WHOLE = "whole answers"
    CACHED = "cached prompt tokens"
    DRAFTS = "drafts of one answer"
    TOOLS = "tool calls"
    CONTINUATION = "continuation"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was seen, and what to do; empty where nothing is."""

    subject: Subject
    state: State
    saw: str
    advice: str = ""


class Cause(StrEnum):
    """Why a question got no answer."""

    AWAY = "away"  # the server is not to be had now, or has too much to do
    REFUSED = "refused"  # it will not do what was asked
    BROKEN = "broken"  # its key, its path, its name or what it sends is not as configured


@dataclass(frozen=True, slots=True)
class Fault:
    """A question that got no answer: why, in a server's words or ours, and what to do if known."""

    saw: str
    advice: str = ""
    cause: Cause = Cause.BROKEN

    @property
    def is_away(self) -> bool:
        """Whether it may go well another time, with nothing changed here."""
        return self.cause is Cause.AWAY

    @property
    def state(self) -> State:
        """How that is to be taken."""
        return State.AWAY if self.is_away else State.PROBLEM

    def finding(self, subject: Subject, advice: str) -> Finding:
        """The same as a finding, with that advice where the fault has none."""
        return Finding(subject, self.state, self.saw, self.advice or advice)
