"""One audit: the teacher is asked what it would have said, and the two answers are compared.

The client has had its answer.  What comes of it is recorded, counted, billed and, where a
controller steers the cascade, told as a grade.
"""

from dataclasses import replace
from functools import partial

from gateway.api.context import Served
from gateway.audits.asking import Asking, NeverAnswered, NoAnswer
from gateway.audits.case import Case, said
from gateway.audits.debt import Debt, Owed
from gateway.audits.hindrance import refusal_of
from gateway.audits.record import Finding, write_record
from gateway.facts import AuditOutcome, AuditOver, AuditSkipped
from gateway.legs import Legs
from gateway.wire.completion import Completion
from routing.auditing import Known, loss_of
from routing.money import total_of
from routing.vocabulary import Denied


def begin_audit(case: Case) -> None:
    """Audit a draft in the background; nothing stood in the way of that."""
    case.served.audits.open += 1
    debt = _debt_of(case)
    if debt is not None:
        debt.open += 1
    case.context.go_on(_audit(case))


async def _audit(case: Case) -> None:
    context, served = case.context, case.served
    legs, outcome, is_there = Legs(context.clock), None, None
    try:
        grant = legs.reserve(served.cascade.teacher)
        if isinstance(grant, Denied):
            _put_off(case, grant)
            return
        taught, score, is_there = await _found(case, legs)
        if not is_there and _is_owed_again(case):
            return
        loss = loss_of(score, served.cascade.samples.comparator.at_least)
        outcome = AuditOutcome.AGREE if loss == 0 else AuditOutcome.DIFFER
        if score is None:
            outcome = AuditOutcome.FAILED
        answer = None if taught is None else taught.body
        await write_record(case, Finding(answer, score, loss, legs.made))
        grade = case.grade(loss)
        if grade is not None and served.steered is not None:
            served.steered.grade(replace(grade, is_answered=score is not None))
    finally:
        served.audits.open -= 1
        debt = _debt_of(case)
        if debt is not None:
            debt.ended(context.clock(), is_there=is_there)
        pay(served, legs)
        tenant = case.provenance.tenant
        context.observer.audit_over(AuditOver(case.cascade, tenant, legs.made, outcome))


def _put_off(case: Case, denied: Denied) -> None:
    """The teacher may not be asked after all: what is owed stays so."""
    debt = _debt_of(case)
    if debt is not None:
        owe(case, debt)
        return
    case.context.observer.audit_skipped(AuditSkipped(case.cascade, refusal_of(denied)))


def _is_owed_again(case: Case) -> bool:
    """Owe once more what the teacher failed at when it was thought to be back."""
    debt = _debt_of(case)
    if debt is None or case.is_last_try:
        return False
    owe(replace(case, is_last_try=True), debt)
    return True


def _debt_of(case: Case) -> Debt | None:
    """What the audit is part of; None of a draft that was kept."""
    return case.served.audits.debt if case.known is Known.OWED else None


def owe(case: Case, debt: Debt) -> None:
    """Have it audited later, and count what is forgotten for it."""
    dropped = debt.owe(Owed(partial(begin_audit, case), case.size))
    if dropped:
        case.context.observer.audit_debt_dropped(case.cascade, dropped)


async def _found(case: Case, legs: Legs) -> tuple[Completion | None, float | None, bool]:
    """The teacher's answer, and how far it says the same, None where nobody could say; and whether
    those who were asked are there: one that refuses is."""
    served = case.served
    asking = Asking(served.cascade.teacher, served.audits, legs)
    taught = None
    try:
        taught = await asking.answer(case.chat)
        texts = case.said, said(taught)
        comparator = served.cascade.samples.comparator
        return taught, await asking.score(comparator, case.chat, *texts), True
    except NeverAnswered:
        return taught, None, True
    except NoAnswer:
        return taught, None, False


def pay(served: Served, legs: Legs) -> None:
    """Take what the calls cost from what audits may spend; an unknown cost is nobody's."""
    pico = total_of([leg.cost_pico for leg in legs.made]) or 0
    if served.steered is not None:
        served.steered.audit_spent(pico)
    else:
        served.audits.purse.pay(pico)
