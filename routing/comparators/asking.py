"""The one form that all comparators have: begin with two answers, ask if need be, finish.

A comparator never asks anybody itself.  It hands out the requests that it needs, and reads the
replies that somebody else brought back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

SAME = 1.0
DIFFERENT = 0.0


@dataclass(frozen=True, slots=True)
class Score:
    """How far two answers say the same, in [0, 1].  Raises ValueError outside, and for NaN."""

    value: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.value <= 1.0:  # NaN fails this comparison too
            raise ValueError(f"a score must lie in [0, 1], got {self.value!r}")

    def is_same(self, at_least: float) -> bool:
        """Say whether the answers do not differ materially; equality is enough."""
        return self.value >= at_least


@dataclass(frozen=True, slots=True)
class NoScore:
    """The replies do not say how far the answers agree; ``why`` is for whoever mends it."""

    why: str


class Asked(StrEnum):
    """Whom a comparator's question is for."""

    TEACHER = "teacher"
    EMBEDDER = "embedder"


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the fields of a chat completion, or of ``/v1/embeddings``, to be sent as JSON.

    A question for the teacher names no model: whoever sends it knows which one that is.
    """

    asked: Asked
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Ask:
    """What has to be asked before the answers can be compared."""

    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What both texts answer.  ``choices`` are its options' texts, in the order of their labels."""

    text: str = ""
    choices: tuple[str, ...] = ()


class Comparator(Protocol):
    """What decides whether two answers differ materially.

    A text compared with itself scores 1.  The order of the two makes no difference, and no text
    makes it raise.
    """

    @property
    def version(self) -> str:
        """Its kind and settings, with a number that changes when the meaning of a score does."""

    @property
    def at_least(self) -> float:
        """From which score on two answers are the same, in [0, 1]."""

    def begin(self, question: Question, left: str, right: str) -> Score | Ask:
        """The score, or what has to be asked first."""

    def finish(self, replies: Sequence[bytes]) -> Score | NoScore:
        """The score, from the bodies of the replies in the order of the requests."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A comparator that asks nobody: ``measure`` gives the score of two texts that differ."""

    version: str
    measure: Callable[[Question, str, str], float]
    at_least: float = SAME

    def begin(self, question: Question, left: str, right: str) -> Score | Ask:
        """The score, always."""
        return Score(SAME if left == right else self.measure(question, left, right))

    def finish(self, replies: Sequence[bytes]) -> Score | NoScore:
        """Nothing was asked."""
        return NoScore(f"{len(replies)} replies to a comparator that asked nothing")
