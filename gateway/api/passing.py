"""Requests that pass to a named model, or to a cascade's tokenizer, as they are: admitted and told
of like all others, and judged by nobody.
"""

import asyncio
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from gateway.api.context import Context, NamedModel
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
from gateway.errors import (
    Forbidden,
    GatewayError,
    InternalError,
    ModelNotFound,
    NotServed,
    Overloaded,
    RequestError,
    ShuttingDown,
    UpstreamError,
    UpstreamMalformed,
    UpstreamRefused,
)
from gateway.facts import CANCELLED
from gateway.keys import Tenant, may_use
from gateway.limiting import Permit
from gateway.passage import Passage, PassedCall, PassedThrough
from gateway.trace_context import context_of
from gateway.wire.bounds import refuse_crowd
from gateway.wire.chat_wire import ChatWire
from gateway.wire.errors import status_of
from gateway.wire.passing import Passed, PassedReply, PassedRoute, read_passed, read_reply
from routing.money import NOTHING_USED, Usage, cost_of, usd
from routing.vocabulary import Role

MAX_ECHO = 100  # characters of the client's own words in an error message
OK = 200
CLIENT_GONE_STATUS = 499  # nobody receives it: nginx's number for a client that left
_FORM = ChatWire()  # of errors: OpenAI's


class PassThrough:
    """One route, as an ASGI application."""

    def __init__(self, context: Context, route: PassedRoute) -> None:
        self._context = context
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        context = self._context
        context.open_requests += 1
        try:
            await _Exchange(context, self._route, scope, receive, send).run()
        finally:
            context.open_requests -= 1


def find_model(
    context: Context, tenant: Tenant | None, name: str, route: PassedRoute
) -> NamedModel:
    """The model of that name, or the tokenizer of a cascade's student, or of the model that
    ``CASCADE:student`` and ``CASCADE:teacher`` say.  Raises ModelNotFound, NotServed, and Forbidden
    where the teacher may not be asked.
    """
    owner, mark, role = name.partition(":")
    served = context.served.get(owner)
    found = context.named.get(name)
    if found is None and served is not None and role in (["student", "teacher"] if mark else [""]):
        found = served.tokenizers.get(Role(role or Role.STUDENT))
    shown = name[:MAX_ECHO]
    if found is None or not may_use(tenant, owner):
        raise ModelNotFound(f"The model '{shown}' does not exist.", param="model")
    if role == Role.TEACHER and tenant is not None and not tenant.may_escalate:
        raise Forbidden("This key may not ask for the teacher.", param="model")
    if route not in found.model.routes:
        raise NotServed(f"The model '{shown}' does not serve '{route}'.", param="model")
    return found


@dataclass(slots=True)
class _Told:
    """What is known of one request so far."""

    tenant: Tenant | None = None
    target: NamedModel | None = None
    call: PassedCall | None = None
    permit: Permit | None = None
    is_settled: bool = False


class _Exchange:
    """One request and its response."""

    def __init__(
        self, context: Context, route: PassedRoute, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._context = context
        self._route = route
        self._scope = scope
        self._receive = receive
        self._send = send
        self._id = request_id(scope, context.new_id())
        self._started = context.clock()
        self._told = _Told()

    async def run(self) -> None:
        """Pass it on, whatever happens."""
        try:
            await self._pass_on(*await self._admitted())
        except ClientGone:
            self._settle(Passage.CANCELLED, CLIENT_GONE_STATUS)
        except GatewayError as error:
            is_clients = isinstance(error, RequestError | UpstreamRefused)
            await self._fail(error, Passage.REJECTED if is_clients else Passage.FAILED)
        except Exception:
            self._context.observer.log.exception("bug", request_id=self._id)
            await self._fail(InternalError("Internal error."), Passage.FAILED)
        except asyncio.CancelledError:  # this process is stopping and has waited long enough
            await self._fail(ShuttingDown("The gateway is shutting down."), Passage.CANCELLED)
            raise
        finally:
            settle_passed(self._told.permit, self._told.call)
            self._context.keys.end(self._told.tenant)

    async def _admitted(self) -> tuple[Passed, NamedModel]:
        context, scope, limits = self._context, self._scope, self._context.limits
        tenant = context.keys.tenant(header(scope, b"authorization"), header(scope, b"x-api-key"))
        self._told.tenant = tenant
        context.keys.begin(tenant)
        if context.open_requests > limits.open_requests:
            raise Overloaded("This gateway has as many open requests as it may have.")
        refuse_foreign_content(scope)
        body = await read_body(
            scope, self._receive, most=limits.body_bytes, seconds=limits.body_seconds
        )
        refuse_crowd(body, limits.body_members, limits.body_entries)
        passed = read_passed(body)
        target = self._told.target = find_model(context, tenant, passed.model, self._route)
        passed.refuse_media(target.media)
        self._told.permit = await reserve_passed(
            context, tenant, body, target.price, is_free=self._route.is_free
        )
        return passed, target

    async def _pass_on(self, passed: Passed, target: NamedModel) -> None:
        with Departure(self._receive):
            reply = await self._ask(passed, target)
        body = reply.body_for(passed.model)
        headers = {"content-type": "application/json", "x-request-id": self._id}
        call = self._told.call
        if call is not None and call.cost_pico is not None and not self._route.is_free:
            headers["x-understudy-cost-usd"] = usd(call.cost_pico)
        if self._told.permit is not None:
            headers |= self._told.permit.headers()
        self._settle(Passage.PASSED, OK)
        await send_response(self._send, OK, headers, body)

    async def _ask(self, passed: Passed, target: NamedModel) -> PassedReply:
        target.model.reserve()
        traced = context_of(self._scope["headers"])
        started, clock = self._context.clock(), self._context.clock
        usage: Usage | None = None
        code: str | None = CANCELLED
        detail: str | None = None
        try:
            body = passed.body_for(target.upstream_name)
            answer = await target.model.ask(self._route, body, traced.lines if traced else b"")
            reply = _read(answer)
            usage, code = NOTHING_USED if self._route.is_free else reply.usage, None
            return reply
        except (UpstreamError, UpstreamRefused) as failure:
            usage = None if failure.is_usage_unknown else NOTHING_USED
            code, detail = failure.code, failure.detail()
            raise
        finally:
            cost = cost_of(usage, target.price)
            self._told.call = PassedCall(clock() - started, usage, cost, code, detail)

    async def _fail(self, error: GatewayError, outcome: Passage) -> None:
        self._settle(outcome, status_of(error), error.code)
        await send_error(self._send, _FORM, error, self._id)

    def _settle(self, outcome: Passage, status: int, error_code: str | None = None) -> None:
        """Tell how the request ended, once."""
        told = self._told
        if told.is_settled:
            return
        told.is_settled = True
        self._context.observer.passed_through(
            PassedThrough(
                request_id=self._id,
                model=None if told.target is None else told.target.name,
                route=self._route,
                outcome=outcome,
                status=status,
                seconds=self._context.clock() - self._started,
                tenant=None if told.tenant is None else told.tenant.name,
                call=told.call,
                error_code=error_code,
            )
        )


def _read(answer: bytes) -> PassedReply:
    try:
        return read_reply(answer)
    except (ValueError, RecursionError) as error:
        message = "The model server's answer is no JSON object."
        raise UpstreamMalformed(message, is_usage_unknown=True) from error
