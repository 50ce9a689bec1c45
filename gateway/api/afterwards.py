"""What goes on after a request was answered: an abandoned draft is finished, to learn from."""

from fractions import Fraction

from msgspec import structs

from gateway.api.account import Account
from gateway.api.arms import leave
from gateway.api.trials import compare_held_out
from gateway.audits.escalated import grade_completed
from gateway.drafting import Drafting
from gateway.errors import UpstreamError
from gateway.facts import DraftCompleted
from gateway.legs import Legs
from gateway.pairs import Rescue
from routing.money import Usage
from routing.vocabulary import Kind


def finish_draft(account: Account, draft: Drafting, legs: Legs, rescue: Rescue) -> None:
    """Have the student finish in the background; ``rescue`` gets the whole draft as a new pair."""
    account.is_draft_awaited = True
    if account.served is not None:
        account.served.standing.open_requests += 1
    account.context.go_on(_finish_draft(account, draft, legs, rescue))


def abandon_draft(account: Account, draft: Drafting, legs: Legs) -> None:
    """Have the student stop after all: there is no pair that the draft would complete."""
    draft.leg.close()
    _bill(account, legs)


async def _finish_draft(account: Account, draft: Drafting, legs: Legs, rescue: Rescue) -> None:
    usage: Usage | None = None
    body: bytes | None = None
    if not account.is_held_out:
        draft.open_gate()
    try:
        while not draft.is_over:
            await draft.advance()
            draft.take(draft.gate.tokens)
    except UpstreamError:
        pass  # nothing was learnt, and that is all
    else:
        if draft.is_whole:
            usage, body = draft.leg.usage, draft.assembly.body()
            await account.log_pair(structs.replace(rescue, draft=body, is_draft_complete=True))
    finally:
        draft.leg.close()
        _bill(account, legs)
        account.observe(usage, Fraction(rescue.propensity))
        leave(account)
    if account.is_held_out:
        compare_held_out(account, body)
    grade_completed(account, body)


def _bill(account: Account, legs: Legs) -> None:
    if account.served is not None:
        name = account.served.cascade.name
        kind = Kind.SHADOW if account.is_held_out else Kind.AUDIT
        tenant = None if account.tenant is None else account.tenant.name
        for leg in legs.made:
            account.context.observer.draft_completed(DraftCompleted(name, leg, kind, tenant))
