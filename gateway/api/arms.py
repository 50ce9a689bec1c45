"""Whose student a request gets: said once, when it is admitted, and true for all its life."""

from dataclasses import replace
from fractions import Fraction

from starlette.types import Scope

from gateway.api.account import Account
from gateway.api.context import Served
from gateway.api.exchange import header
from gateway.api.wishes import as_wished
from gateway.wire.chat import Chat
from gateway.wire.controls import Wish
from gateway.wire.conversation import CONVERSATION_HEADER
from gateway.wire.session import SESSION_HEADER, session_of
from routing.conversation import NO_PAST, NOTHING_SAID
from routing.rollout import Arm

_HEADERS = (SESSION_HEADER.encode(), CONVERSATION_HEADER.encode())


def assign(account: Account, chat: Chat, incumbent: Served, scope: Scope, wish: Wish) -> Served:
    """The student, policy and all that go with it, for this request, whose turn is known by now.

    One that says itself how it is to be answered is no part of a trial, and no draft of it is held
    out: it would tell of itself, and not of what the policy does.
    """
    served, trial = incumbent, incumbent.trial
    account.holdout = served.holdout
    if wish.is_any:
        served, trial, account.holdout = as_wished(incumbent, wish), None, Fraction(0)
        account.is_own = True
    if trial is not None and trial.rollout.is_running(now := account.context.epoch()):
        account.trial, account.holdout = trial, trial.holdout
        if trial.rollout.is_serving(now):
            account.arm = trial.rollout.arm_of(session_of(chat, named_in(scope)), now)
    if account.arm is Arm.CANDIDATE and trial is not None:
        served = trial.candidate
    talk = NOTHING_SAID if account.turn is None else account.turn.talk
    if (steered := served.steered) is not None:
        account.cost_pico = steered.costs.expected(len(chat.body), talk)
        if not wish.is_any and account.arm is Arm.INCUMBENT:
            account.standing = steered.standing
            served = steered.applied(served, account.cost_pico)
    if (past := talk.past) is not NO_PAST:
        served = replace(served, cascade=replace(served.cascade, past=past))
    account.served = served
    served.standing.open_requests += 1
    return served


def named_in(scope: Scope) -> str | None:
    """What a header calls the conversation of a request."""
    return next((said for name in _HEADERS if (said := header(scope, name))), None)


def leave(account: Account) -> None:
    """The request is over: nothing more is wanted of its student for it."""
    if account.served is not None:
        account.served.standing.open_requests -= 1
