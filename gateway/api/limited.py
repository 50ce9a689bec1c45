"""Limits of keys around one request: what it may take is reserved, and corrected afterwards."""

from gateway.allotment import Allotment, Demand
from gateway.api.account import Account
from gateway.api.context import Context, Served
from gateway.facts import RequestSettled
from gateway.keys import Tenant
from gateway.limiting import Permit
from gateway.passage import PassedCall
from gateway.wire.chat import Chat
from routing.money import NOTHING_USED, Price
from routing.vocabulary import Kind, Need

# Of English text; what a key's requests have beyond that is learnt with their answers.
BYTES_PER_TOKEN = 4


async def reserve(account: Account, allotment: Allotment, chat: Chat, served: Served) -> None:
    """Have the account hold a permit of its key, which has limits.  Raises LimitReached."""
    is_text = Need.VISION not in chat.needs  # the bytes of a picture tell nothing of its tokens
    demand = Demand(
        input_tokens=len(chat.body) // BYTES_PER_TOKEN if is_text else 0,
        most_output=chat.most_tokens,
        choices=chat.choices,
        dearest=served.cascade.teacher.price,
    )
    account.permit = await account.context.limiter.admit(allotment, demand)


async def reserve_passed(
    context: Context, tenant: Tenant | None, body: bytes, price: Price | None, *, is_free: bool
) -> Permit | None:
    """The same for a request that passes to a model: there is no student to answer it instead.

    ``is_free``: it counts as a request, and takes neither tokens nor money.  Raises LimitReached
    and BudgetSpent.
    """
    allotment = context.limiter.allotment(tenant)
    if allotment is None:
        return None
    tokens = 0 if is_free else len(body) // BYTES_PER_TOKEN
    demand = Demand(tokens, most_output=0, dearest=None if is_free else price)
    permit = await context.limiter.admit(allotment, demand)
    if permit.is_student_only and not is_free:
        permit.settle(0, 0)
        raise permit.budget_spent()
    return permit


def settle_permit(account: Account) -> None:
    """Say what the request took, whatever became of it."""
    if account.permit is not None:
        account.permit.settle(*_taken(account.fact))


def settle_passed(permit: Permit | None, call: PassedCall | None) -> None:
    """The same of a request that passed to a model; without a call it took nothing."""
    if permit is None:
        return
    usage = NOTHING_USED if call is None else call.usage
    cost = 0 if call is None else call.cost_pico
    if cost is None and usage is not None:
        cost = 0  # of a model without a price
    permit.settle(None if usage is None else usage.input + usage.output, cost)


def _taken(fact: RequestSettled | None) -> tuple[int | None, int | None]:
    """The tokens that the client got, and what all calls cost in pico-dollars; None is unknown.

    A model without a price costs nothing here: nobody could reserve it either.
    """
    if fact is None:
        return None, None
    tokens: int | None = 0
    cost: int | None = 0
    for entry in fact.entries:
        if entry.usage is None:
            tokens = None if entry.kind is Kind.SERVED else tokens
            cost = None if entry.cost_pico is None else cost
        elif entry.kind is Kind.SERVED and tokens is not None:
            tokens += entry.usage.input + entry.usage.output
        if cost is not None:
            cost += entry.cost_pico or 0
    return tokens, cost
