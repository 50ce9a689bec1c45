"""What is learnt of a request once its client has the answer: which drafts are audited, and what
the teacher's own answers say of drafts that were not enough.
"""

from gateway.api.account import Account
from gateway.api.context import Served
from gateway.audits.audit import begin_audit, owe
from gateway.audits.case import case_of
from gateway.audits.escalated import (
    GRADED,
    ask_after_all,
    grade_escalated,
    grade_failed,
    is_counted,
    was_asked_in_vain,
)
from gateway.audits.hindrance import barrier_of, hindrance_of
from gateway.audits.unmade import write_unmade
from gateway.facts import ABORTED, AuditSkipped, Ending, RequestSettled
from routing.auditing import Known
from routing.vocabulary import Degraded, NotAudited, Reason, Role

_AWAY = frozenset({Degraded.TEACHER_FAILED, Degraded.TEACHER_BUSY})
_IN_VAIN = frozenset({Ending.DEGRADED, Ending.FAILED, Ending.CANCELLED})


def learn(account: Account) -> None:
    """Learn from a request that is over what there is to learn; the work goes on behind it."""
    fact, served = account.fact, account.served
    if fact is None or served is None:
        return
    if fact.reason is Reason.PROMPT_SAYS_SO and fact.ending is Ending.ESCALATED:
        write_unmade(account, served)
    if account.terms is None:
        return
    is_kept = fact.ending is Ending.KEPT
    if is_kept and not account.legs.is_drawn:
        if account.legs.is_audit_drawn:
            _audit_kept(account, served)
    elif fact.ending is Ending.ESCALATED:
        grade_escalated(account, served)
    elif _is_undelivered(account, fact):
        if account.legs.is_audit_drawn:
            _skip(account, served, NotAudited.NOT_DELIVERED)
    elif is_kept or fact.ending in _IN_VAIN:
        if fact.ending is not Ending.CANCELLED or not ask_after_all(account, served, fact):
            grade_failed(account, served, fact)
        if fact.degraded in _AWAY:
            _owe(account, served, fact)


def may_tell(account: Account, served: Served, fact: RequestSettled) -> bool:
    """Whether a grade may come of a request that was answered, as far as can be known before.

    Of a kept one it does where a coin says so, and nothing stands in the way of the audit.
    """
    if account.terms is None or account.terms.standing is None:
        return False
    if fact.ending is Ending.KEPT:
        return barrier_of(account) is None
    if fact.ending is Ending.DEGRADED and not was_asked_in_vain(fact):
        is_owed = served.audits.debt is not None and fact.degraded in _AWAY
        return is_owed and barrier_of(account) is None and _is_owed_telling(fact)
    return fact.reason in GRADED and is_counted(account)


def _audit_kept(account: Account, served: Served) -> None:
    """Have the draft audited, or say why not: a cause that is known before the outcome."""
    cause = barrier_of(account) or hindrance_of(account.context, served)
    if cause is not None:
        _skip(account, served, cause)
        return
    case = case_of(account, Known.AUDITED)
    if case is not None:
        begin_audit(case)


def _is_undelivered(account: Account, fact: RequestSettled) -> bool:
    """Whether a kept draft was going out, and did not arrive: there is no answer to ask about."""
    is_kept = fact.served_by is Role.STUDENT and fact.degraded is None and not account.legs.is_drawn
    return is_kept and fact.ending in (Ending.CANCELLED, Ending.FAILED)


def _skip(account: Account, served: Served, cause: NotAudited) -> None:
    account.context.observer.audit_skipped(AuditSkipped(served.cascade.name, cause))


def _owe(account: Account, served: Served, fact: RequestSettled) -> None:
    """Remember a degraded answer, where what is owed is caught up.

    It tells a controller something where its own merit deferred it, and nobody was asked about it.
    """
    debt = served.audits.debt
    if debt is None or barrier_of(account) is not None:
        return
    case = case_of(account, Known.OWED, is_telling=_is_owed_telling(fact))
    if case is not None:
        owe(case, debt)


def _is_owed_telling(fact: RequestSettled) -> bool:
    is_own = not any(leg.role is Role.STUDENT and leg.error == ABORTED for leg in fact.legs)
    return fact.reason is Reason.LOW_CONFIDENCE and is_own and not was_asked_in_vain(fact)
