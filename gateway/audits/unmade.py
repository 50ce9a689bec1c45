"""Drafts that were never made, because the prompt alone promised too little: a share of them is
written off the request path, so that a policy which does not ask for them can be fitted again.
"""

from msgspec import structs

from gateway.answer import write_draft
from gateway.api.account import Account
from gateway.api.arms import leave
from gateway.api.context import Served
from gateway.errors import UpstreamRefused
from gateway.facts import DraftCompleted
from gateway.legs import Legs
from gateway.pairs import Rescue
from gateway.wire.chat import Chat
from gateway.wire.completion import Completion, drafts_of
from routing.cascade import AskStudent, Defer, Verdict, defer
from routing.vocabulary import Kind, NoDraft, Role


def write_unmade(account: Account, served: Served) -> None:
    """Have the student write in the background, if a coin says so, what its pair is without."""
    context, chat, pair_id = account.context, account.chat, account.pair_id
    share, audits = account.complete_drafts, served.audits
    if chat is None or pair_id is None or not share or context.dice() >= share:
        return
    taught = taught_body(account)
    if taught is None or not audits.has_room or context.is_draining:
        return
    rescue = Rescue(
        draft=None,
        is_draft_complete=True,
        answer=taught,
        reason=account.reason,
        propensity=share,
        completes=pair_id,
    )
    audits.open += 1
    served.standing.open_requests += 1
    context.go_on(_write(account, served, chat, rescue))


def taught_body(account: Account) -> bytes | None:
    """The teacher's answer; None where it gave none."""
    given, answer = account.given, account.course.answer
    if given is not None:
        return given.completion.body if given.served_by is Role.TEACHER else None
    return None if answer is None else answer.body()


async def _write(account: Account, served: Served, chat: Chat, rescue: Rescue) -> None:
    cascade, legs = served.cascade, Legs(account.context.clock)
    prospect = cascade.prospect(chat, cascade.samples.count)
    try:
        draft = await write_draft(AskStudent(), chat, prospect, cascade, legs)  # I/O: student
        if isinstance(draft, NoDraft):
            return
        judged = defer(drafts_of(draft, chat), cascade.policy, prospect, is_held_out=True)
        legs.verdict = _told(account.legs.verdict, judged)
        await account.log_pair(_with(rescue, draft), legs)
    except UpstreamRefused:
        pass  # it blames the request, and that is no fault
    finally:
        served.audits.open -= 1
        leave(account)
        tenant = None if account.tenant is None else account.tenant.name
        for leg in legs.made:
            fact = DraftCompleted(cascade.name, leg, Kind.AUDIT, tenant)
            account.context.observer.draft_completed(fact)


def _with(rescue: Rescue, draft: Completion) -> Rescue:
    return structs.replace(rescue, draft=draft.body, samples=draft.samples)


def _told(planned: Verdict | None, judged: Verdict) -> Verdict:
    """What decided, with what the draft says of itself now that there is one."""
    if not isinstance(planned, Defer):
        return judged
    return planned._replace(confidence=judged.confidence, signals=judged.signals)
