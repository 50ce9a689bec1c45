"""Frozen facts about what happened.  Whoever counts, logs or bills reads these and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from msgspec import Struct
from msgspec.structs import force_setattr

from routing.baseline import Correction, Estimate
from routing.bill import Entry
from routing.money import Usage, total_of
from routing.rollout import Generations
from routing.streaming import Doubt
from routing.tally import Compared, Drafted
from routing.vocabulary import (
    Basis,
    Confidence,
    Degraded,
    Handover,
    Kind,
    Merit,
    NotAsked,
    NotAudited,
    Obstacle,
    Reason,
    Role,
)

# How a call ended that neither succeeded nor failed.
CANCELLED = "cancelled"  # the client left
ABORTED = "aborted"  # the gateway had seen enough
SPARE = "spare"  # drafts beside the one that was judged: a part of the call before, told apart

# The arm of drafts that a candidate writes beside the incumbent, next to those of a rollout.
SHADOW_ARM = "shadow"


class Ending(StrEnum):
    """How a request ended."""

    KEPT = "kept"
    ESCALATED = "escalated"
    DEGRADED = "degraded"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


ANSWERED = frozenset({Ending.KEPT, Ending.ESCALATED, Ending.DEGRADED})
# With these reasons the student's answer was served; a late doubt is one unless it was handed over.
KEEPING = frozenset({None, Reason.CONFIDENT, Reason.VALID_STRUCTURE, Reason.LATE_DOUBT})


# These two are made for every request: a struct is, in a fifth of the time that a frozen dataclass
# takes.
class Leg(Struct, frozen=True):
    """One call to a model.

    ``usage`` is None where nobody knows what the server did, ``cost_pico`` also where it has no
    price; ``error`` is the code of what went wrong, or None; ``detail`` is for whoever has to find
    the cause.  ``started`` is by the gateway's steady clock.  ``is_estimated``: the tokens were
    counted from what was received, because the server did not say.  ``server`` is the number of
    that which was asked, from 0.
    """

    role: Role
    usage: Usage | None
    cost_pico: int | None
    seconds: float
    error: str | None = None
    detail: str | None = None
    started: float = 0.0
    is_estimated: bool = False
    server: int = 0

    def entry(self, kind: Kind) -> Entry:
        """Its line of the bill."""
        return Entry(self.role, kind, self.usage, self.cost_pico, self.is_estimated)


@dataclass(frozen=True, slots=True)
class Denial:
    """A call to a model that was wanted and not made."""

    role: Role
    cause: NotAsked


class RequestSettled(Struct, frozen=True):
    """One request from its first byte to its last.

    ``cascade`` is None where the request named none of ours; ``reason`` where no verdict was
    reached.  ``merit`` is what was held against the threshold; ``group`` the kind of task that the
    request names.  ``handover`` says what became of an answer that was half out when it fell into
    ``doubt`` or broke off, None where neither happened or where it ended there; ``obstacle`` why it
    was not handed over, where it was to be.  ``first_byte_seconds`` is known of streams alone.
    ``baseline`` estimates what the teacher alone would have cost; None where there is no answer.
    ``body_seconds`` is how long the client took to send the request, ``first_tokens`` how many
    tokens of a stream went out at once with its first byte.  ``trace_id`` is None where nobody
    traces.  ``entries`` are the request's lines of the bill, one for each leg.
    """

    request_id: str
    ending: Ending
    status: int
    seconds: float
    first_byte_seconds: float | None = None
    cascade: str | None = None
    tenant: str | None = None
    is_stream: bool = False
    served_by: Role | None = None
    reason: Reason | None = None
    degraded: Degraded | None = None
    handover: Handover | None = None
    doubt: Doubt | None = None
    obstacle: Obstacle | None = None
    confidence: Confidence | None = None
    merit: Merit | None = None
    group: str | None = None
    policy_version: str | None = None
    legs: Sequence[Leg] = ()
    denials: Sequence[Denial] = ()
    baseline: Estimate | None = None
    error_code: str | None = None
    body_seconds: float = 0.0
    first_tokens: int = 0
    trace_id: str | None = None
    entries: Sequence[Entry] = ()

    def __post_init__(self) -> None:
        force_setattr(self, "entries", [leg.entry(self.kind_of(leg)) for leg in self.legs])

    @property
    def is_answered(self) -> bool:
        """Whether the client got an answer, degraded or not."""
        return self.ending in ANSWERED

    @property
    def is_draft_enough(self) -> bool:
        """Whether the policy would have the draft kept: it would every one that is held out."""
        if self.reason is Reason.HOLDOUT:
            return True
        return self.reason in KEEPING and self.ending is not Ending.ESCALATED

    @property
    def gateway_seconds(self) -> float:
        """The gateway's own part of the time: all but waiting for the client and for models."""
        return max(0.0, self.seconds - self.body_seconds - _covered(self.legs))

    @property
    def seconds_per_token(self) -> float | None:
        """How long each token took that did not go out with a stream's first byte.

        Known of streams that one model wrote to the end; not where a part of its tokens was
        reasoning, of which nobody knows when it was written.
        """
        if self.first_byte_seconds is None or not self.is_answered or self.is_handed_over:
            return None
        of_author = [leg for leg in self.legs if leg.role is self.served_by and leg.error is None]
        usage = of_author[-1].usage if of_author else None
        if usage is None or usage.reasoning or usage.output <= self.first_tokens:
            return None
        return (self.seconds - self.first_byte_seconds) / (usage.output - self.first_tokens)

    @property
    def is_handed_over(self) -> bool:
        """Whether both models wrote at an answer that was half out."""
        return self.handover not in (None, Handover.NEVER)

    @property
    def cost_pico(self) -> int | None:
        """What the request cost in all, in pico-dollars; None where a part of it is unknown."""
        return total_of([leg.cost_pico for leg in self.legs])

    def kind_of(self, leg: Leg) -> Kind:
        """What a leg's tokens were paid for.

        Words that are out were served, also where the model or the client then broke off.
        """
        is_theirs = leg.role is self.served_by or self.handover is Handover.CONTINUE
        if is_theirs and not self._was_replaced(leg):
            is_out = self.first_byte_seconds is not None and leg.error != ABORTED
            if leg.error is None or is_out:
                return Kind.SERVED
        is_held_out = self.reason is Reason.HOLDOUT and self.served_by is not Role.STUDENT
        if is_held_out and leg.role is Role.STUDENT:
            return Kind.SHADOW
        return Kind.RETRY if self._was_retried(leg) else Kind.WASTED

    def _was_retried(self, leg: Leg) -> bool:
        """Whether another call was made in place of this one, which had failed."""
        if leg.error in (None, ABORTED, CANCELLED, SPARE):
            return False
        is_half_out = leg.role is Role.STUDENT and self.handover is Handover.RESTART
        return not is_half_out and self._has_later(leg, Role.STUDENT, Role.TEACHER)

    def _was_replaced(self, leg: Leg) -> bool:
        """Whether its own model was asked again after it failed: then nothing of it is out."""
        return leg.error not in (None, SPARE) and self._has_later(leg, leg.role)

    def _has_later(self, leg: Leg, *roles: Role) -> bool:
        """Whether another call began once this one was over."""
        place = next(place for place, each in enumerate(self.legs) if each is leg)
        return any(
            later.role in roles and later.started >= leg.started
            for later in self.legs[place + 1 :]
            if later.error != SPARE
        )


def _covered(legs: Sequence[Leg]) -> float:
    """The seconds in which at least one of the calls was open."""
    if len(legs) == 1:
        return legs[0].seconds
    covered, end = 0.0, -inf
    for leg in sorted(legs, key=lambda leg: leg.started):
        stop = leg.started + leg.seconds
        if stop > end:
            covered += stop - max(leg.started, end)
            end = stop
    return covered


@dataclass(frozen=True, slots=True)
class DraftCompleted:
    """An abandoned draft was finished off the path, to learn from; ``leg`` is what that took.

    ``kind`` is ``shadow`` of one that was held out, and never meant to be served.  ``tenant`` is
    the one whose request it was a draft for; None where it needed no key.
    """

    cascade: str
    leg: Leg
    kind: Kind = Kind.AUDIT
    tenant: str | None = None


class BothAnswered(Struct, frozen=True):
    """Both models have answered a request in full, so that it says what the teacher costs.

    ``basis`` is ``sample`` of a draft that was held out: then ``correction`` is what it adds to the
    baseline, None where a bill is unknown, or the draft was not to be had; or ``escalations``,
    which correct nothing.  ``is_learnt``: the ratios by which bills are predicted rest on it too.
    """

    cascade: str
    tenant: str | None
    basis: Basis
    correction: Correction | None
    is_learnt: bool


@dataclass(frozen=True, slots=True)
class ContentDropped:
    """A pair is written without its content, because ``redactor`` failed; ``detail`` says how."""

    cascade: str
    pair_id: str
    cause: str
    redactor: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """A policy decides for a cascade from now on.

    ``threshold`` is the least merit with which whole drafts are kept.  Of a policy that was fitted:
    ``fitted_at`` is the day, in seconds since 1970, ``disagreement_bound`` the share of kept drafts
    that may be unacceptable, where that was promised, ``kept_share`` what it expected to keep.
    The last two are None where the operator chose another threshold, for which they do not hold.
    """

    cascade: str
    version: str
    student_version: str
    threshold: float
    is_calibrated: bool
    fitted_at: float | None = None
    disagreement_bound: float | None = None
    kept_share: float | None = None


@dataclass(frozen=True, slots=True)
class GenerationsTaken:
    """A state of a cascade's generations is in force from now on, in place of ``before``.

    ``is_news`` False: it was in force before this process was.
    """

    cascade: str
    before: Generations | None
    state: Generations
    is_news: bool

    @property
    def is_older(self) -> bool:
        """Whether the registry went back, as one does that was restored from a backup."""
        return self.before is not None and self.before.revision > self.state.revision

    @property
    def is_renewal(self) -> bool:
        """Whether a rollout goes on as it was, and only for longer."""
        before, state = self.before, self.state
        if before is None or before.rollout is None or state.rollout is None:
            return False
        is_same = replace(before.rollout, until=state.rollout.until) == state.rollout
        return is_same and before.incumbent == state.incumbent


@dataclass(frozen=True, slots=True)
class GenerationsRefused:
    """A state of a cascade's generations is no use, and ``why``: the one in force stays."""

    cascade: str
    why: str


@dataclass(frozen=True, slots=True)
class CandidateDrafted:
    """What came of a request to the incumbent (arm ``incumbent``), the candidate, or ``shadow``,
    the candidate beside the incumbent, while one was tried."""

    cascade: str
    arm: str
    outcome: Drafted


@dataclass(frozen=True, slots=True)
class CandidateCompared:
    """What a draft came to beside another answer: the teacher's or, ``is_with_incumbent``, what the
    incumbent kept."""

    cascade: str
    arm: str
    outcome: Compared
    is_with_incumbent: bool = False


@dataclass(frozen=True, slots=True)
class ShadowDrafted:
    """A candidate wrote, or should have written, a draft that nobody gets; ``legs`` are its calls.

    ``tenant`` is the one whose request it was a draft for; None where it needed no key.
    """

    cascade: str
    legs: Sequence[Leg]
    tenant: str | None


class AuditOutcome(StrEnum):
    """What an audit found: the teacher says the same, something else, or gave no answer."""

    AGREE = "agree"
    DIFFER = "differ"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AuditOver:
    """The teacher was asked, off the path, about a draft; ``legs`` are all calls that took.

    ``outcome`` is None where it is unknown because the process ended first, and of calls that only
    compared two answers that were there.  ``tenant`` is the one whose request it was; None where it
    needed no key.
    """

    cascade: str
    tenant: str | None
    legs: Sequence[Leg]
    outcome: AuditOutcome | None = None


@dataclass(frozen=True, slots=True)
class AuditSkipped:
    """A kept draft was drawn, and is not audited for this cause."""

    cascade: str
    cause: NotAudited
