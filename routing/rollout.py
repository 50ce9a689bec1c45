"""Which generation of the student a request belongs to: the state that all replicas share.

The state is a document in Redis that ``understudy distill promote`` writes and gateways read.  A
generation is a student together with the policy that was fitted for it: neither is ever in force
without the other, and nothing here can hold a policy of another student.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from routing.errors import PolicyError

_SPAN = 2**64


class Stage(StrEnum):
    """How far a candidate is let in."""

    SHADOW = "shadow"  # it writes drafts that nobody gets
    CANARY = "canary"  # it serves a share of the sessions


class Arm(StrEnum):
    """Whose a request is while a candidate is tried."""

    INCUMBENT = "incumbent"
    CANDIDATE = "candidate"


class Action(StrEnum):
    """What a step of the registry did."""

    SHADOWED = "shadowed"
    CANARIED = "canaried"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True)
class Generation:
    """One version of the student, where it is served, and its own policy.

    ``number`` counts from 0, the configuration's own student.  ``policy`` is the document of a
    policy file.  Raises PolicyError where that is for another student.
    """

    number: int
    version: str
    base_url: str
    model: str
    policy: Mapping[str, Any]

    def __post_init__(self) -> None:
        meant = self.policy.get("student_version")
        if meant != self.version:
            raise PolicyError(
                f"policy: it is for the student {meant!r}, and the generation is {self.version!r}: "
                "fit one on records of this student"
            )


@dataclass(frozen=True, slots=True)
class Rollout:
    """A candidate that is being tried.

    ``share`` in [0, 1] is that of all requests in the stage ``shadow``, and that of sessions in the
    stage ``canary``; ``holdout`` in [0, 0.5] the probability with which a draft that would be kept
    is answered by the teacher meanwhile, in both arms.  From ``until`` on, in seconds since 1970,
    the candidate gets nothing any more: whoever was to watch it is gone.
    """

    id: str
    candidate: Generation
    stage: Stage
    share: float
    holdout: float
    until: float

    def is_running(self, now: float) -> bool:
        """Whether anything is tried at a time, in seconds since 1970."""
        return now < self.until

    def is_serving(self, now: float) -> bool:
        """Whether the candidate serves anybody then, so that sessions have to be told apart."""
        return self.stage is Stage.CANARY and self.is_running(now)

    def arm_of(self, session: str, now: float) -> Arm:
        """Whose a session is at a time, in seconds since 1970.

        A session that was the candidate's stays so as the share grows, and on every replica.
        """
        if self.is_serving(now) and place_of(session, self.id) < self.share:
            return Arm.CANDIDATE
        return Arm.INCUMBENT

    def shadow_share(self, now: float) -> float:
        """The share of requests of which the candidate writes a draft that nobody gets."""
        return self.share if self.stage is Stage.SHADOW and self.is_running(now) else 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """Who changed the state, when, in seconds since 1970, and why."""

    action: Action
    version: str
    at: float
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Generations:
    """The state of one cascade.  ``revision`` grows by one with every step.

    ``incumbent`` is None while the configuration's own student serves; ``previous`` is what a
    rollback goes back to, None for the configuration's own; ``last`` is the step that made it.
    """

    revision: int
    incumbent: Generation | None
    previous: Generation | None
    rollout: Rollout | None
    last: Step


def place_of(session: str, salt: str) -> float:
    """Where a session falls in [0, 1): evenly, and for every salt anew."""
    digest = hashlib.blake2b(session.encode(), digest_size=8, key=salt.encode()[:64]).digest()
    return int.from_bytes(digest, "big") / _SPAN
