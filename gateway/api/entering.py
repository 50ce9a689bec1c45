"""How any request comes in: whose it is, whether there is room for it, and its body."""

from collections.abc import Callable
from typing import TypeVar

from starlette.types import Receive, Scope

from gateway.api.context import Context
from gateway.api.exchange import header, read_body, refuse_foreign_content
from gateway.errors import Overloaded
from gateway.keys import Tenant
from gateway.wire.bounds import refuse_crowd

T = TypeVar("T")


def tenant_of(context: Context, scope: Scope) -> Tenant | None:
    """Whose key the headers carry; None where no key is asked for.  Raises as ``Keys.tenant``."""
    return context.keys.tenant(header(scope, b"authorization"), header(scope, b"x-api-key"))


def enter(context: Context, tenant: Tenant | None) -> None:
    """Begin a request of this key; ``context.keys.end`` it, whatever happens here.

    Raises RateLimited and Overloaded.
    """
    context.keys.begin(tenant)
    if context.open_requests > context.limits.open_requests:
        raise Overloaded("This gateway has as many open requests as it may have.")


async def understood(context: Context, body: bytes, read: Callable[[bytes], T]) -> T:
    """What ``read`` makes of a body that holds no more than it may: of a large one in a thread.

    Raises BodyTooLarge, and what ``read`` raises.
    """
    limits = context.limits

    def understand() -> T:
        refuse_crowd(body, limits.body_members, limits.body_entries)
        return read(body)

    return await context.aside.for_body(body, understand)


async def json_body(context: Context, scope: Scope, receive: Receive) -> bytes:
    """The whole body, which says that it is JSON.

    Raises UnsupportedMediaType, BodyTooLarge, RequestTimeout and ClientGone.
    """
    refuse_foreign_content(scope)
    limits = context.limits
    return await read_body(scope, receive, most=limits.body_bytes, seconds=limits.body_seconds)
