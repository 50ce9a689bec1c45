"""What escalations say of the drafts that they took the place of: what a lower threshold would have
kept.

Every one of a whole draft is a grade; so is one of a draft that was finished off the path, at the
probability of that.  The teacher's answer is there already: all that is to do is to compare.
"""

from dataclasses import dataclass, replace

from gateway.api.account import Account
from gateway.api.context import Served
from gateway.audits.asking import Asking, NoAnswer
from gateway.audits.audit import pay
from gateway.audits.case import draft_said, said_in, taught_said
from gateway.audits.hindrance import hindrance_of
from gateway.facts import ABORTED, AuditOver, RequestSettled
from gateway.legs import Legs
from gateway.wire.chat import Chat
from routing.auditing import Known, loss_of
from routing.vocabulary import Reason, Role

# So many pairs of answers of a cascade wait to be compared, and no more.
MOST_COMPARING = 256
# A draft that was deferred for anything else would be so under any threshold.
GRADED = {Reason.LOW_CONFIDENCE: Known.ESCALATED, Reason.HOLDOUT: Known.HELD_OUT}
_NO_FAULT = frozenset({None, ABORTED})


def grade_escalated(account: Account, served: Served) -> None:
    """Grade the draft of a request that the teacher answered, if it is whole."""
    known = None if account.reason is None else GRADED.get(account.reason)
    if known is not None and not account.is_draft_awaited and is_counted(account):
        _begin(account, served, known, draft_said(account))


def grade_completed(account: Account, draft: bytes | None) -> None:
    """Grade a draft whose rest was written off the path; None where that did not come."""
    served = account.served
    if served is None or draft is None or not is_counted(account):
        return
    known = Known.HELD_OUT if account.is_held_out else Known.COMPLETED
    if account.is_held_out or account.reason is Reason.LOW_CONFIDENCE:
        _begin(account, served, known, said_in(draft))


def grade_failed(account: Account, served: Served, fact: RequestSettled) -> None:
    """Grade a draft about which the teacher was asked in vain: nobody can say that it agrees.

    It is no accident which requests a teacher fails at, nor which clients leave before it is
    through: they lose patience with long answers, and might have waited for the draft.  A teacher
    that was not even asked for lack of room, money or health says nothing: that was decided before.
    So does one that is cut off because this process ends.
    """
    if not was_asked_in_vain(fact) or not is_counted(account) or account.context.is_draining:
        return
    is_held_out = account.legs.is_drawn and fact.is_draft_enough
    if is_held_out or fact.reason is Reason.LOW_CONFIDENCE:
        known = Known.HELD_OUT if is_held_out else Known.ESCALATED
        _tell(account, served, known, 1.0, is_answered=False)


def was_asked_in_vain(fact: RequestSettled) -> bool:
    """Whether the teacher was asked, and failed or refused, or nobody waited for its end."""
    asked = [leg for leg in fact.legs if leg.role is Role.TEACHER]
    return bool(asked) and asked[-1].error not in _NO_FAULT


def is_counted(account: Account) -> bool:
    """Whether a controller learns from requests like this one, whatever their answer is.

    Not from one that probes a teacher that was left alone: it would fail however good its draft is,
    and that it is asked about was known before.
    """
    terms, chat = account.terms, account.chat
    if terms is None or terms.standing is None or chat is None:
        return False
    return chat.choices == 1 and account.is_storing and not account.legs.is_probe


def _begin(account: Account, served: Served, known: Known, draft: str | None) -> None:
    """Compare in the background, unless there is no room for that, which is known before."""
    taught, audits = taught_said(account), served.audits
    chat = account.chat
    if chat is None or draft is None or taught is None or audits.comparing >= MOST_COMPARING:
        return
    if audits.is_asking and hindrance_of(account.context, served) is not None:
        return
    audits.comparing += 1
    audits.open += audits.is_asking
    answers = _Answers(chat, draft, taught)
    account.context.go_on(_compare(account, served, known, answers))


@dataclass(frozen=True, slots=True)
class _Answers:
    """What both have said to a request."""

    chat: Chat
    draft: str
    taught: str


async def _compare(account: Account, served: Served, known: Known, answers: _Answers) -> None:
    context, audits, comparator = account.context, served.audits, served.cascade.samples.comparator
    legs = Legs(context.clock)
    try:
        asking = Asking(served.cascade.teacher, audits, legs)
        try:
            score = await asking.score(comparator, answers.chat, answers.draft, answers.taught)
        except NoAnswer:
            score = None
        loss = loss_of(score, comparator.at_least)
        _tell(account, served, known, loss, is_answered=score is not None)
    finally:
        audits.comparing -= 1
        audits.open -= audits.is_asking
        if legs.made:
            pay(served, legs)
            tenant = None if account.tenant is None else account.tenant.name
            context.observer.audit_over(AuditOver(served.cascade.name, tenant, legs.made))


def _tell(
    account: Account, served: Served, known: Known, loss: float, *, is_answered: bool
) -> None:
    terms, verdict = account.terms, account.legs.verdict
    if terms is None or verdict is None or served.steered is None:
        return
    may_audit = known is not Known.HELD_OUT or hindrance_of(account.context, served) is None
    merit = None if verdict.merit is None else verdict.merit.value
    conversation = account.conversation
    grade = terms.grade(known, loss, merit, may_audit=may_audit, conversation=conversation)
    if grade is not None:
        late = max(0.0, account.context.clock() - account.over_at)
        served.steered.grade(replace(grade, is_answered=is_answered, late=late))
