"""``POST /v1/messages/count_tokens``: how long a request is, in tokens of the cascade's student.

Nothing is written, so nothing is billed; what one request, those of one key and all together may
take holds here as well.  It is told of as a request that passes to a tokenizer.
"""

import asyncio

from starlette.types import Receive, Scope, Send

from gateway.api.context import Context
from gateway.api.exchange import (
    ClientGone,
    Departure,
    header,
    read_body,
    refuse_foreign_content,
    request_id,
    send_error,
    send_response,
)
from gateway.api.limited import reserve_passed, settle_passed
from gateway.api.wishes import find_cascade, wish_of
from gateway.errors import (
    GatewayError,
    InternalError,
    Overloaded,
    RequestError,
    ShuttingDown,
    UpstreamRefused,
)
from gateway.keys import Tenant
from gateway.limiting import Permit
from gateway.passage import Passage, PassedThrough
from gateway.wire.bounds import refuse_crowd
from gateway.wire.errors import status_of
from gateway.wire.messages.counting import count_body
from gateway.wire.messages.request import parse_request
from gateway.wire.passing import PassedRoute
from gateway.wire.protocol import Wire
from routing.vocabulary import Role, Route

OK = 200
CLIENT_GONE_STATUS = 499  # nobody receives it: nginx's number for a client that left


class CountTokens:
    """The route, as an ASGI application.  ``wire`` says how errors look."""

    def __init__(self, context: Context, wire: Wire) -> None:
        self._context = context
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        context = self._context
        context.open_requests += 1
        try:
            await _Exchange(context, self._wire, scope, receive).run(send)
        finally:
            context.open_requests -= 1


class _Exchange:
    """One request and its response."""

    def __init__(self, context: Context, wire: Wire, scope: Scope, receive: Receive) -> None:
        self._context = context
        self._wire = wire
        self._scope = scope
        self._receive = receive
        self._id = request_id(scope, context.new_id())
        self._started = context.clock()
        self._tenant: Tenant | None = None
        self._cascade: str | None = None
        self._permit: Permit | None = None

    async def run(self, send: Send) -> None:
        """Answer it, whatever happens."""
        context = self._context
        try:
            count = await self._count()
        except ClientGone:
            self._tell(Passage.CANCELLED, CLIENT_GONE_STATUS)
        except GatewayError as error:
            is_clients = isinstance(error, RequestError | UpstreamRefused)
            await self._fail(send, error, Passage.REJECTED if is_clients else Passage.FAILED)
        except Exception:
            context.observer.log.exception("bug", request_id=self._id)
            await self._fail(send, InternalError("Internal error."), Passage.FAILED)
        except asyncio.CancelledError:  # this process is stopping and has waited long enough
            ending = ShuttingDown("The gateway is shutting down.")
            await self._fail(send, ending, Passage.CANCELLED)
            raise
        else:
            self._tell(Passage.PASSED, OK)
            headers = {"content-type": "application/json", "x-request-id": self._id}
            if self._permit is not None:
                headers |= self._permit.headers()
            await send_response(send, OK, headers, count_body(count))
        finally:
            settle_passed(self._permit, None)
            context.keys.end(self._tenant)

    async def _count(self) -> int:
        context, scope, limits = self._context, self._scope, self._context.limits
        tenant = self._tenant = context.keys.tenant(
            header(scope, b"authorization"), header(scope, b"x-api-key")
        )
        context.keys.begin(tenant)
        if context.open_requests > limits.open_requests:
            raise Overloaded("This gateway has as many open requests as it may have.")
        refuse_foreign_content(scope)
        body = await read_body(
            scope, self._receive, most=limits.body_bytes, seconds=limits.body_seconds
        )
        refuse_crowd(body, limits.body_members, limits.body_entries)
        request = parse_request(body, None, is_count=True)
        served, named = find_cascade(context, tenant, request.chat)
        self._cascade = served.cascade.name
        wish = wish_of(scope, request.chat, named, tenant)
        role = Role.TEACHER if wish.route is Route.TEACHER else Role.STUDENT
        try:
            served.admission.check(request.chat)
            self._permit = await reserve_passed(context, tenant, body, None, is_free=True)
            with Departure(self._receive):
                return await served.counters[role].count(request)
        except GatewayError as error:
            if error.param is not None:
                error.rename(request.client_param(error.param))
            raise

    async def _fail(self, send: Send, error: GatewayError, outcome: Passage) -> None:
        self._tell(outcome, status_of(error), error.code)
        await send_error(send, self._wire, error, self._id)

    def _tell(self, outcome: Passage, status: int, error_code: str | None = None) -> None:
        self._context.observer.passed_through(
            PassedThrough(
                request_id=self._id,
                model=self._cascade,
                route=PassedRoute.TOKENIZE,
                outcome=outcome,
                status=status,
                seconds=self._context.clock() - self._started,
                tenant=None if self._tenant is None else self._tenant.name,
                error_code=error_code,
            )
        )
