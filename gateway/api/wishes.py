"""Carries out what a request may say of how it is to be answered, within what its key allows."""

from collections.abc import Mapping
from dataclasses import replace

from gateway.api.context import Context, Served
from gateway.errors import Forbidden, ModelNotFound, RequestError
from gateway.keys import Tenant, may_use
from gateway.wire.chat import Chat
from gateway.wire.controls import (
    CONFIDENCE_HEADER,
    FIELD,
    NO_WISH,
    ROUTE_HEADER,
    Wish,
    agreed,
    named_wish,
    wish_in_headers,
)
from routing.vocabulary import Route, Threshold

_ROUTE, _CONFIDENCE = ROUTE_HEADER.encode(), CONFIDENCE_HEADER.encode()
MAX_ECHO = 100  # characters of the client's own words in an error message


def find_cascade(context: Context, tenant: Tenant | None, chat: Chat) -> tuple[Served, Wish]:
    """The cascade that a request names, and what its name says of who is to answer.

    Raises ModelNotFound, also for one that does not exist for this key.
    """
    name, wish = chat.model, NO_WISH
    if name not in context.served:
        name, wish = named_wish(name)
    found = context.served.get(name)
    if found is None or not may_use(tenant, name):
        echo = chat.model[:MAX_ECHO]
        raise ModelNotFound(f"The model '{echo}' does not exist.", param="model")
    return found, wish


def wish_of(headers: Mapping[bytes, bytes], chat: Chat, named: Wish, tenant: Tenant | None) -> Wish:
    """What the request wishes.  Raises RequestError, and Forbidden where its key does not allow it.

    A wish for what would happen anyway needs no right.
    """
    said = wish_in_headers(headers.get(_ROUTE), headers.get(_CONFIDENCE))
    wish = agreed(named, said, chat.wish)
    if tenant is None or wish is NO_WISH:
        return wish
    if wish.is_pin and not tenant.may_pin:
        raise Forbidden("This key may not say who answers.", param=FIELD)
    if wish.route is Route.TEACHER and not tenant.may_escalate:
        raise Forbidden("This key may not ask for the teacher.", param=FIELD)
    if wish.min_confidence is not None:
        _check_dial(wish.min_confidence, tenant)
    return wish


def _check_dial(wished: float, tenant: Tenant) -> None:
    if tenant.dial is None:
        raise Forbidden("This key may not say how sure a draft must be.", param=FIELD)
    least, most = tenant.dial
    if not least <= wished <= most:
        raise Forbidden(
            f"This key may ask for a confidence from {least:g} to {most:g}, not {wished:g}.",
            param=FIELD,
        )


def refuse_foreign_ids(chat: Chat, served: Served, wish: Wish) -> None:
    """Raise RequestError for token ids that two tokenizers would read differently."""
    if chat.token_ids_in is None or wish.is_pin or served.cascade.is_one_tokenizer:
        return
    raise RequestError(
        f"'{chat.token_ids_in}' speaks in token ids, and the two models of this cascade may have "
        "different ones: say who is to answer (`understudy.route`), or ask the operator to set "
        "`same_tokenizer`.",
        param=chat.token_ids_in,
    )


def as_wished(served: Served, wish: Wish) -> Served:
    """The cascade as one request wants it."""
    cascade = served.cascade
    policy = cascade.policy
    if wish.min_confidence is not None:
        policy = policy.with_threshold(Threshold(wish.min_confidence))
    wanted = replace(cascade, policy=policy, route=wish.route or Route.AUTO)
    return replace(served, cascade=wanted)
