"""Frozen facts about model servers: how they fare, and what they said of themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.facts import Leg
from routing.vocabulary import Role


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """A server is left alone from now on, after ``failure``; with None no longer.

    ``left_alone`` of the model's ``servers`` are by now.  ``student_version`` names a student that
    is not the incumbent.
    """

    cascade: str
    role: Role
    server: str
    failure: GatewayError | None
    left_alone: int = 0
    servers: int = 1
    student_version: str | None = None


@dataclass(frozen=True, slots=True)
class TeacherProbed:
    """A server of a teacher was asked, off the path, to go on from given words.

    ``attempt`` counts from 1; ``can_continue`` is None where it gave no answer, so that it will be
    asked again; ``saw`` tells what was seen; ``legs`` are the calls that this took.
    ``do_all_continue``: each of the teacher's servers was seen to by now.
    """

    cascade: str
    attempt: int
    can_continue: bool | None
    saw: str
    legs: Sequence[Leg]
    server: str
    do_all_continue: bool


@dataclass(frozen=True, slots=True)
class CachedTokensAsked:
    """A server was asked, off the path, whether it tells how much of a prompt was cached.

    ``is_reported`` is None where it gave no answer, so that it will be asked again.
    ``do_all_tell``: each of the model's servers was seen to by now.
    """

    cascade: str
    role: Role
    attempt: int
    is_reported: bool | None
    saw: str
    legs: Sequence[Leg]
    server: str
    do_all_tell: bool


@dataclass(frozen=True, slots=True)
class RoomLearnt:
    """A server of a student said how many tokens its context holds; None: it does not say.

    Told where it is another number than before.
    """

    cascade: str
    server: str
    tokens: int | None
