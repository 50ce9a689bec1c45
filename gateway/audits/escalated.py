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
from gateway.audits.case import draft_said, left_said, said, said_in, taught_said
from gateway.audits.hindrance import barrier_of, hindrance_of
from gateway.facts import ABORTED, AuditOver, RequestSettled
from gateway.legs import Legs
from gateway.wire.chat import Chat
from routing.auditing import Known, loss_of
from routing.comparators import Comparator
from routing.vocabulary import Denied, Reason, Role

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


def ask_after_all(account: Account, served: Served, fact: RequestSettled) -> bool:
    """Ask the teacher, within the budget of audits, what its client did not wait for.

    False where that may not be, or there is no whole draft.  Who leaves chooses that requests are
    asked about once more, and not that they are differences.
    """
    known, draft, chat = _known_of(account, fact), left_said(account), account.chat
    if known is None or draft is None or chat is None:
        return False
    if served.audits.comparing >= MOST_COMPARING or barrier_of(account) is not None:
        return False
    if hindrance_of(account.context, served) is not None:
        return False
    _go_on(account, served, known, _Answers(chat, draft, None))
    return True


def grade_failed(account: Account, served: Served, fact: RequestSettled) -> None:
    """Grade a draft about which the teacher was asked in vain: nobody can say that it agrees.

    It is no accident which requests a teacher fails at, nor which clients leave before it is
    through: they lose patience with long answers, and might have waited for the draft.  A teacher
    that was not even asked for lack of room, money or health says nothing: that was decided before.
    So does one that is cut off because this process ends.
    """
    known = _known_of(account, fact)
    if known is not None:
        _tell(account, served, known, 1.0, is_answered=False)


def _known_of(account: Account, fact: RequestSettled) -> Known | None:
    """How the loss of a draft about which the teacher was asked in vain is known; None: it is no
    grade."""
    if not was_asked_in_vain(fact) or not is_counted(account) or account.context.is_draining:
        return None
    if account.legs.is_drawn and fact.is_draft_enough:
        return Known.HELD_OUT
    return Known.ESCALATED if fact.reason is Reason.LOW_CONFIDENCE else None


def was_asked_in_vain(fact: RequestSettled) -> bool:
    """Whether the teacher was asked, and failed or refused, or nobody waited for its end."""
    asked = [leg for leg in fact.legs if leg.role is Role.TEACHER]
    return bool(asked) and asked[-1].error not in _NO_FAULT


def is_counted(account: Account) -> bool:
    """Whether a controller learns from requests like this one, whatever their answer is.

    A promise alone does: to ask anybody on behalf of a rate or a spend would be money for nothing.
    Not from one that probes a teacher that was left alone: it would fail however good its draft is,
    and that it is asked about was known before.
    """
    terms, chat, served = account.terms, account.chat, account.served
    if terms is None or terms.standing is None or chat is None:
        return False
    if served is None or served.steered is None or not served.steered.is_promise:
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
    _go_on(account, served, known, _Answers(chat, draft, taught))


@dataclass(frozen=True, slots=True)
class _Answers:
    """What both have said to a request; ``taught`` None: the teacher is still to be asked."""

    chat: Chat
    draft: str
    taught: str | None


def _go_on(account: Account, served: Served, known: Known, answers: _Answers) -> None:
    served.audits.comparing += 1
    served.audits.open += _is_calling(served, answers)
    account.context.go_on(_compare(account, served, known, answers))


def _is_calling(served: Served, answers: _Answers) -> bool:
    return served.audits.is_asking or answers.taught is None


async def _compare(account: Account, served: Served, known: Known, answers: _Answers) -> None:
    audits, comparator = served.audits, served.cascade.samples.comparator
    legs = Legs(account.context.clock)
    try:
        score = await _score(Asking(served.cascade.teacher, audits, legs), comparator, answers)
        loss = loss_of(score, comparator.at_least)
        _tell(account, served, known, loss, is_answered=score is not None)
    finally:
        audits.comparing -= 1
        audits.open -= _is_calling(served, answers)
        if legs.made:
            pay(served, legs)
            tenant = None if account.tenant is None else account.tenant.name
            fact = AuditOver(served.cascade.name, tenant, legs.made)
            account.context.observer.audit_over(fact)


async def _score(asking: Asking, comparator: Comparator, answers: _Answers) -> float | None:
    """How far both say the same; None where nobody could say."""
    taught = answers.taught
    try:
        if taught is None:
            if isinstance(asking.legs.reserve(asking.teacher), Denied):
                return None
            taught = said(await asking.answer(answers.chat))
        return await asking.score(comparator, answers.chat, answers.draft, taught)
    except NoAnswer:
        return None


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
