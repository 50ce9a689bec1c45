"""What stands in the way of an audit, before anything is known of its outcome.

That is why it may: a draft that is not asked about for one of these causes is no part of what is
learnt, while one that was asked about in vain counts as one that differs.
"""

from gateway.api.account import Account
from gateway.api.context import Context, Served
from routing.vocabulary import Degraded, Denied, NotAudited

_BARRED = {
    Degraded.NOT_ALLOWED: NotAudited.NOT_ALLOWED,
    Degraded.BUDGET_SPENT: NotAudited.KEY_BUDGET_SPENT,
    Degraded.JOURNAL_FULL: NotAudited.JOURNAL_FULL,
}


def barrier_of(account: Account) -> NotAudited | None:
    """Why the draft of this request may never be asked about; None where nothing forbids it."""
    if not account.is_storing:
        return NotAudited.NO_CONSENT
    if account.chat is None or account.chat.choices != 1:
        return NotAudited.SEVERAL_CHOICES
    bar = account.legs.bar
    return None if bar is None else _BARRED[bar.degraded]


def hindrance_of(context: Context, served: Served) -> NotAudited | None:
    """Why no audit of this cascade may begin now; None where one may."""
    audits, steered = served.audits, served.steered
    if context.is_draining:
        return NotAudited.STOPPING
    if not context.pairs.has_room:
        return NotAudited.JOURNAL_FULL
    has_money = audits.purse.has_money if steered is None else steered.may_audit()
    if not has_money:
        return NotAudited.BUDGET_SPENT
    if served.cascade.teacher.chat.is_left_alone:
        return NotAudited.LEFT_ALONE
    has_room = audits.has_room and served.cascade.teacher.chat.has_spare_room
    return None if has_room else NotAudited.NO_ROOM


def refusal_of(denied: Denied) -> NotAudited:
    """Why the teacher itself may not be asked now."""
    is_away = denied.degraded is Degraded.TEACHER_FAILED
    return NotAudited.LEFT_ALONE if is_away else NotAudited.NO_ROOM
