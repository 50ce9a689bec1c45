"""Every branch of the product: whom to ask, whether a draft is enough, and what then.

Three pure steps, in the order in which a request meets them.  Whatever they depend on is an
argument; they never wait, measure time or roll dice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from routing.policy import Policy, Rule
from routing.sampling import Sampling
from routing.signals import SIGNAL_NAMES, Signals, signals_of, with_past
from routing.vocabulary import (
    Confidence,
    Degraded,
    Denied,
    Draft,
    Grant,
    Granted,
    Merit,
    Need,
    NoDraft,
    Reason,
    Route,
    Structure,
    Threshold,
    WhenDenied,
)


@dataclass(frozen=True, slots=True)
class Prospect:
    """What is known of a request before anybody has answered it.

    ``group`` is the kind of task that it names, None where it names none; ``promised`` the merit
    that its prompt lets expect, None where the policy does not estimate it; ``sampling`` how its
    tokens are to be drawn, which may be left out where the policy does not ask; ``samples`` how
    many drafts of one answer the student is to write.  ``route`` says who is to answer, whatever
    the policy says.  ``is_sticky``: its conversation stays with the teacher for now, who answered
    an earlier turn; ``earlier_kept`` in [0, 1] is the share of earlier drafts in it which were
    enough, None where nobody knows of any.
    """

    needs: frozenset[Need] = frozenset()
    group: str | None = None
    promised: Merit | None = None
    sampling: Sampling = field(default_factory=dict)
    samples: int = 1
    route: Route = Route.AUTO
    is_sticky: bool = False
    earlier_kept: float | None = None


NOTHING_KNOWN = Prospect()
_NO_SIGNALS: Signals = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AskStudent:
    """Have the student write a draft first."""


# A tuple, as a draft is: each request that the student answers has one.
class Keep(NamedTuple):
    """The draft is good enough to be served.

    ``confidence`` and ``merit`` are None where its form alone spoke for it, reason
    ``valid_structure``.
    """

    confidence: Confidence | None
    signals: Signals = _NO_SIGNALS
    reason: Reason = Reason.CONFIDENT
    merit: Merit | None = None


class Defer(NamedTuple):
    """The draft is not enough, or there is none.

    ``confidence`` is None where nothing could be said; ``has_draft`` says whether something could
    be served in place of the teacher's answer, if only once it is written.  ``merit`` is that of
    the draft or, where the prompt alone decided, the most that it promised.  ``kept`` is the
    verdict on a draft that was enough, and is held out all the same.
    """

    reason: Reason
    confidence: Confidence | None = None
    has_draft: bool = False
    signals: Signals = _NO_SIGNALS
    merit: Merit | None = None
    kept: Keep | None = None


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

# They say the same of each request, and looking an enumeration's member up takes a call's time.
_ASK_STUDENT = AskStudent()
_SERVE_DRAFT = ServeDraft()
_TO_STUDENT = Route.STUDENT
_TO_TEACHER = Route.TEACHER
_INVALID = Structure.INVALID


def plan(
    prospect: Prospect,
    student_cannot: frozenset[Need],
    policy: Policy,
    *,
    is_live: bool = False,
    has_room: bool = True,
) -> AskStudent | NoDraft:
    """Whom to ask first, from the request alone: no draft is paid for that cannot come out well.

    A draft that is sampled in another way than those that the policy was fitted on, or chosen from
    another number of them, has no confidence, whatever its tokens say; and one whose prompt
    promises too little is not worth its price.  Nor is one in a conversation that stays with the
    teacher.  All of these can still be written, should the teacher fail.  A request that has said
    who is to answer gets that one alone.  ``is_live``: the draft would be judged while it is
    written.  ``has_room`` False: the request is surely too long for the student.
    """
    route = prospect.route
    if route is _TO_TEACHER:
        return NoDraft(Reason.PINNED)
    if route is _TO_STUDENT:
        return _ASK_STUDENT
    if prospect.needs & student_cannot or not has_room:
        return NoDraft(Reason.STUDENT_CANNOT)
    if prospect.is_sticky:
        return NoDraft(Reason.STICKY, is_to_be_had=True)
    if not policy.covers(prospect.sampling, prospect.samples):
        return NoDraft(Reason.NO_SIGNAL, is_to_be_had=True)
    bar = policy.bar(prospect.promised)
    if bar is not None and not policy.least_bar(is_live=is_live).admits(bar):
        return NoDraft(Reason.PROMPT_SAYS_SO, bar, is_to_be_had=True)
    return _ASK_STUDENT


def defer(
    drafts: Sequence[Draft] | NoDraft,
    policy: Policy,
    prospect: Prospect = NOTHING_KNOWN,
    *,
    is_held_out: bool = False,
) -> Verdict:
    """Judge what the student wrote.

    A request for several choices has a draft each, at least one, and is judged by its weakest: one
    answer goes to the client, and it is as good as its worst part.  No signal is a case of its own
    and defers; so does a draft that was to be chosen from several and was not.  ``is_held_out`` is
    what a coin says that was thrown before: whatever would be kept is the teacher's to answer.  A
    draft that the request itself asked for is kept, whatever it is, and no promise covers it.
    """
    if isinstance(drafts, NoDraft):
        return Defer(drafts.reason, has_draft=drafts.is_to_be_had, merit=drafts.merit)
    whole = policy.whole
    may_be_told = is_held_out or policy.samples > 1  # in a pair, although the draft is enough
    wanted = SIGNAL_NAMES if may_be_told else whole.names
    verdict = weakest([judge(draft, whole, whole.threshold, prospect, wanted) for draft in drafts])
    if prospect.route is _TO_STUDENT:
        return Keep(verdict.confidence, verdict.signals, Reason.PINNED, verdict.merit)
    if policy.is_evidence(verdict.signals) or verdict.reason is Reason.INVALID_STRUCTURE:
        return hold_out(verdict) if is_held_out else verdict
    return Defer(Reason.NO_SIGNAL, has_draft=True, signals=verdict.signals)


def hold_out(verdict: Verdict) -> Verdict:
    """Have the teacher answer in place of a draft that is enough, to see what that would cost."""
    if isinstance(verdict, Defer):
        return verdict
    return Defer(
        Reason.HOLDOUT,
        verdict.confidence,
        has_draft=True,
        signals=verdict.signals,
        merit=verdict.merit,
        kept=verdict,
    )


def as_served(verdict: Verdict) -> Verdict:
    """The verdict under which a draft is served: one held out in vain was kept, and nothing else.

    The client cannot have a worse answer, or a mark on it, because of what we wished to learn.
    """
    return verdict if isinstance(verdict, Keep) or verdict.kept is None else verdict.kept


def judge(
    draft: Draft,
    rule: Rule,
    at_least: Threshold,
    prospect: Prospect = NOTHING_KNOWN,
    wanted: frozenset[str] = SIGNAL_NAMES,
) -> Verdict:
    """Judge one draft, or the part of it that is there, by a rule and one of its two bounds.

    A deferral tells of all signals, for the pair that may come of it; a draft that is kept of those
    that are ``wanted``, which are at least what the rule reads.
    """
    signals = with_past(signals_of(draft, wanted), prospect.earlier_kept)
    group = prospect.group
    opinion = rule.opinion(rule.features(signals, draft.text, group, prospect.promised), group)
    confidence = merit = None
    if opinion is not None:
        confidence, merit = opinion.confidence, opinion.merit
    if draft.structure is _INVALID:
        reason = Reason.INVALID_STRUCTURE
    elif merit is None:
        reason = Reason.NO_SIGNAL
    elif not at_least.admits(merit):
        reason = Reason.LOW_CONFIDENCE
    else:
        return Keep(confidence, signals, merit=merit)
    if wanted is not SIGNAL_NAMES:
        signals = with_past(signals_of(draft), prospect.earlier_kept)
    return Defer(reason, confidence, has_draft=True, signals=signals, merit=merit)


def weakest(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on the weakest of several parts of one answer, at least one."""
    return verdicts[0] if len(verdicts) == 1 else min(verdicts, key=_certainty)


def _certainty(verdict: Verdict) -> tuple[bool, float]:
    """Order verdicts: any deferral before any keep, then by merit, silence first."""
    merit = -1.0 if verdict.merit is None else verdict.merit.value
    return isinstance(verdict, Keep), merit


def barred(*, may_escalate: bool, has_room: bool, has_budget: bool = True) -> Denied | None:
    """Why the teacher is out of the question, however well it is; None: it has the next word.

    ``may_escalate`` is what the tenant is allowed.  ``has_room`` says whether the pair could be
    recorded, and is True where nobody insists on that.  ``has_budget``: the key may still spend
    what the teacher costs.
    """
    if not may_escalate:
        return Denied(Degraded.NOT_ALLOWED)
    if not has_budget:
        return Denied(Degraded.BUDGET_SPENT)
    return None if has_room else Denied(Degraded.JOURNAL_FULL)


def settle(verdict: Verdict, grant: Grant, when_denied: WhenDenied) -> Outcome:
    """What to do with a verdict, given whether the teacher may be asked.

    Called again with a Denied once a granted escalation has failed.
    """
    if isinstance(verdict, Keep):
        return _SERVE_DRAFT
    if isinstance(grant, Granted):
        return AskTeacher()
    if verdict.kept is not None:
        return _SERVE_DRAFT
    if verdict.has_draft and when_denied is WhenDenied.SERVE:
        return ServeDraft(grant.degraded)
    return Refuse(grant.degraded)
