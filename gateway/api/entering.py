"""How any request comes in: whose it is, whether there is room for it, and its body."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Concatenate, ParamSpec, TypeVar

from starlette.types import Receive, Scope

from gateway.api.context import Context
from gateway.api.exchange import headers_of, read_body, refuse_foreign_content
from gateway.errors import Overloaded
from gateway.keys import Tenant
from gateway.wire.bounds import refuse_crowd

P = ParamSpec("P")
T = TypeVar("T")


def tenant_of(context: Context, headers: Mapping[bytes, bytes]) -> Tenant | None:
    """Whose key the headers carry; None where no key is asked for.  Raises as ``Keys.tenant``."""
    return context.keys.tenant(headers.get(b"authorization"), headers.get(b"x-api-key"))


def enter(context: Context, tenant: Tenant | None) -> None:
    """Begin a request of this key; ``context.keys.end`` it, whatever happens here.

    Raises RateLimited and Overloaded.
    """
    context.keys.begin(tenant)
    if context.open_requests > context.limits.open_requests:
        raise Overloaded("This gateway has as many open requests as it may have.")


def understood(
    context: Context,
    body: bytes,
    read: Callable[Concatenate[bytes, P], T],
    *given: P.args,
    **named: P.kwargs,
) -> Awaitable[T]:
    """What ``read`` makes of a body that holds no more than it may: of a large one in a thread.

    Raises BodyTooLarge, and what ``read`` raises.
    """
    limits = context.limits

    def understand() -> T:
        refuse_crowd(body, limits.body_members, limits.body_entries)
        return read(body, *given, **named)

    return context.aside.for_body(body, understand)


def json_body(context: Context, scope: Scope, receive: Receive) -> Awaitable[bytes]:
    """The whole body, which says that it is JSON.

    Raises UnsupportedMediaType, BodyTooLarge, RequestTimeout and ClientGone.
    """
    refuse_foreign_content(headers_of(scope))
    limits = context.limits
    return read_body(scope, receive, most=limits.body_bytes, seconds=limits.body_seconds)
