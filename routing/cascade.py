"""Every branch of the product: whom to ask, whether a draft is enough, and what then.

Three pure steps, in the order in which a request meets them.  Whatever they depend on is an
argument; they never wait, measure time or roll dice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from routing.policy import Policy, Rule
from routing.signals import Signals, signals_of
from routing.vocabulary import (
    Confidence,
    Degraded,
    Draft,
    Grant,
    Granted,
    Need,
    NoDraft,
    Reason,
    Structure,
    Threshold,
    WhenDenied,
)


@dataclass(frozen=True, slots=True)
class AskStudent:
    """Have the student write a draft first."""


@dataclass(frozen=True, slots=True)
class Keep:
    """The draft is good enough to be served.

    ``confidence`` is None where its form alone spoke for it, reason ``valid_structure``.
    """

    confidence: Confidence | None
    signals: Signals = field(default_factory=dict)
    reason: Reason = Reason.CONFIDENT


@dataclass(frozen=True, slots=True)
class Defer:
    """The draft is not enough, or there is none.

    ``confidence`` is None where nothing could be said; ``has_draft`` says whether something could
    be served in place of the teacher's answer, if only once it is finished.
    """

    reason: Reason
    confidence: Confidence | None = None
    has_draft: bool = False
    signals: Signals = field(default_factory=dict)


Verdict = Keep | Defer


@dataclass(frozen=True, slots=True)
class ServeDraft:
    """Serve the draft; ``degraded`` says why, where it was deferred."""

    degraded: Degraded | None = None


@dataclass(frozen=True, slots=True)
class AskTeacher:
    """Ask the teacher."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """There is nothing to serve; ``degraded`` says why the teacher was not to be had."""

    degraded: Degraded


Outcome = ServeDraft | AskTeacher | Refuse


def plan(needs: frozenset[Need], student_cannot: frozenset[Need]) -> AskStudent | NoDraft:
    """Whom to ask first, from the request alone: no draft is paid for that cannot come out well."""
    if needs & student_cannot:
        return NoDraft(Reason.STUDENT_CANNOT)
    return AskStudent()


def defer(drafts: Sequence[Draft] | NoDraft, policy: Policy) -> Verdict:
    """Judge what the student wrote.

    A request for several choices has a draft each, at least one, and is judged by its weakest: one
    answer goes to the client, and it is as good as its worst part.  No signal is a case of its own
    and defers.
    """
    if isinstance(drafts, NoDraft):
        return Defer(drafts.reason)
    whole = policy.whole
    return weakest([judge(draft, whole, whole.threshold) for draft in drafts])


def judge(draft: Draft, rule: Rule, at_least: Threshold) -> Verdict:
    """Judge one draft, or the part of it that is there, by a rule and one of its two bounds."""
    signals = signals_of(draft)
    confidence = rule.confidence(signals)
    if draft.structure is Structure.INVALID:
        return Defer(Reason.INVALID_STRUCTURE, confidence, has_draft=True, signals=signals)
    if confidence is None:
        return Defer(Reason.NO_SIGNAL, has_draft=True, signals=signals)
    if not at_least.admits(confidence):
        return Defer(Reason.LOW_CONFIDENCE, confidence, has_draft=True, signals=signals)
    return Keep(confidence, signals)


def weakest(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on the weakest of several parts of one answer, at least one."""
    return min(verdicts, key=_certainty)


def _certainty(verdict: Verdict) -> tuple[bool, float]:
    """Order verdicts: any deferral before any keep, then by confidence, silence first."""
    confidence = -1.0 if verdict.confidence is None else verdict.confidence.value
    return isinstance(verdict, Keep), confidence


def settle(verdict: Verdict, grant: Grant, when_denied: WhenDenied) -> Outcome:
    """What to do with a verdict, given whether the teacher may be asked.

    Called again with a Denied once a granted escalation has failed.
    """
    if isinstance(verdict, Keep):
        return ServeDraft()
    if isinstance(grant, Granted):
        return AskTeacher()
    if verdict.has_draft and when_denied is WhenDenied.SERVE:
        return ServeDraft(grant.degraded)
    return Refuse(grant.degraded)
