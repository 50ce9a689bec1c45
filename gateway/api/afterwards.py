"""What goes on after a request was answered: an abandoned draft is finished, to learn from."""

import asyncio
from dataclasses import replace

from gateway.api.account import Account
from gateway.drafting import Drafting
from gateway.errors import UpstreamError
from gateway.facts import DraftCompleted
from gateway.legs import Legs
from gateway.pairs import Rescue


def finish_draft(account: Account, draft: Drafting, legs: Legs, rescue: Rescue) -> None:
    """Have the student finish in the background; ``rescue`` gets the whole draft as a new pair."""
    background = account.context.background
    task = asyncio.create_task(_finish_draft(account, draft, legs, rescue))
    background.add(task)
    task.add_done_callback(background.discard)


def abandon_draft(account: Account, draft: Drafting, legs: Legs) -> None:
    """Have the student stop after all: there is no pair that the draft would complete."""
    draft.leg.close()
    _bill(account, legs)


async def _finish_draft(account: Account, draft: Drafting, legs: Legs, rescue: Rescue) -> None:
    draft.open_gate()
    try:
        while not draft.is_over:
            await draft.advance()
            draft.take(draft.gate.tokens)
    except UpstreamError:
        pass  # nothing was learnt, and that is all
    else:
        if draft.is_whole:
            body = draft.assembly.body()
            account.log_pair(replace(rescue, draft=body, is_draft_complete=True))
    finally:
        draft.leg.close()
        _bill(account, legs)


def _bill(account: Account, legs: Legs) -> None:
    if account.served is not None:
        name = account.served.cascade.name
        for leg in legs.made:
            account.context.observer.draft_completed(DraftCompleted(name, leg))
