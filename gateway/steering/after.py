"""What a steered cascade learns of the traffic from a request that is over."""

from gateway.api.account import Account
from gateway.audits.after import may_tell
from gateway.facts import Ending, RequestSettled
from gateway.steering.steered import Steered
from routing.money import total_of
from routing.steering import Sample
from routing.vocabulary import Reason, Role


def report(account: Account) -> None:
    """Tell who steers the cascade of a request, where somebody does."""
    fact, served = account.fact, account.served
    if fact is None or served is None or served.steered is None or account.chat is None:
        return
    steered = served.steered
    pay(steered, account, fact)
    if account.standing is None or not fact.is_answered:
        return
    steered.ended(
        is_escalated=fact.ending is Ending.ESCALATED, is_denied=fact.ending is Ending.DEGRADED
    )
    merit = _merit(fact)
    sample = None
    if merit is not None:
        sample = Sample(merit, account.cost_pico)  # what it was decided by, not what is known now
    conversation = account.conversation if steered.is_promise else None
    steered.answered(sample, conversation, is_mute=not may_tell(account, served, fact))


def pay(steered: Steered, account: Account, fact: RequestSettled) -> None:
    """Take what it cost from what may be spent, and learn what an escalation costs."""
    spending = account.spending
    taught = [leg for leg in fact.legs if leg.role is Role.TEACHER]
    escalated = sum(leg.cost_pico or 0 for leg in taught)
    whole = sum(leg.cost_pico or 0 for leg in fact.legs)
    steered.paid(whole, escalated, 0 if spending is None else spending.taken)
    if taught and account.chat is not None and taught[-1].error is None:
        pico = total_of([leg.cost_pico for leg in taught])
        steered.costs.learn(len(account.chat.body), taught[-1].usage, pico)


def _merit(fact: RequestSettled) -> float | None:
    """What the draft was judged by; 1 where its form alone spoke for it, None without any."""
    if fact.reason is Reason.VALID_STRUCTURE:
        return 1.0
    return None if fact.merit is None else fact.merit.value
