"""``POST /v1/messages/count_tokens``: how long a request is, in tokens of the cascade's student.

Nothing is written, so nothing is billed; what one request, those of one key and all together may
take holds here as well.  It is told of as a request that passes to a tokenizer.
"""

from starlette.types import Receive, Scope, Send

from gateway.api.context import Context
from gateway.api.entering import enter, json_body, tenant_of, understood
from gateway.api.exchange import Departure, headers_of
from gateway.api.limited import reserve_passed
from gateway.api.passed import PassedExchange
from gateway.api.wishes import find_cascade, wish_of
from gateway.errors import GatewayError
from gateway.wire.messages.counting import count_body
from gateway.wire.messages.request import parse_request
from gateway.wire.passing import PassedRoute
from gateway.wire.protocol import Wire
from routing.vocabulary import Role, Route


class CountTokens:
    """The route, as an ASGI application.  ``wire`` says how errors look."""

    def __init__(self, context: Context, wire: Wire) -> None:
        self._context = context
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        told = PassedExchange(self._context, self._wire, PassedRoute.TOKENIZE, scope)
        await told.run(_count, receive, send)


async def _count(told: PassedExchange, receive: Receive) -> bytes:
    context = told.context
    headers = headers_of(told.scope)
    tenant = told.tenant = tenant_of(context, headers)
    enter(context, tenant)
    body = await json_body(context, told.scope, receive)
    request = await understood(context, body, parse_request, group=None, is_count=True)
    served, named = find_cascade(context, tenant, request.chat)
    told.model = served.cascade.name
    wish = wish_of(headers, request.chat, named, tenant)
    role = Role.TEACHER if wish.route is Route.TEACHER else Role.STUDENT
    try:
        served.admission.check(request.chat)
        told.permit = await reserve_passed(context, tenant, body, None, is_free=True)
        with Departure(told.scope, receive):
            return count_body(await served.counters[role].count(request))
    except GatewayError as error:
        if error.param is not None:
            error.rename(request.client_param(error.param))
        raise
