"""How any request comes in: whose it is, whether there is room for it, and its body."""

from starlette.types import Receive, Scope

from gateway.api.context import Context
from gateway.api.exchange import header, read_body, refuse_foreign_content
from gateway.errors import Overloaded
from gateway.keys import Tenant


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


async def json_body(context: Context, scope: Scope, receive: Receive) -> bytes:
    """The whole body, which says that it is JSON.

    Raises UnsupportedMediaType, BodyTooLarge, RequestTimeout and ClientGone.
    """
    refuse_foreign_content(scope)
    limits = context.limits
    return await read_body(scope, receive, most=limits.body_bytes, seconds=limits.body_seconds)
