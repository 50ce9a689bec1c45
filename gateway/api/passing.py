"""Requests that pass to a named model, or to a cascade's tokenizer, as they are: admitted and told
of like all others, and judged by nobody.
"""

from starlette.types import Receive, Scope, Send

from gateway.api.context import Context, NamedModel
from gateway.api.entering import enter, json_body, tenant_of, understood
from gateway.api.exchange import Departure, headers_of
from gateway.api.limited import reserve_passed
from gateway.api.passed import PassedExchange
from gateway.errors import (
    Forbidden,
    ModelNotFound,
    NotServed,
    UpstreamError,
    UpstreamMalformed,
    UpstreamRefused,
)
from gateway.facts import CANCELLED
from gateway.keys import Tenant, may_use
from gateway.passage import PassedCall
from gateway.trace_context import context_of
from gateway.wire.chat_wire import ChatWire
from gateway.wire.passing import Passed, PassedReply, PassedRoute, read_passed, read_reply
from routing.money import NOTHING_USED, Usage, cost_of, usd
from routing.vocabulary import Role

MAX_ECHO = 100  # characters of the client's own words in an error message
_FORM = ChatWire()  # of errors: OpenAI's


class PassThrough:
    """One route, as an ASGI application."""

    def __init__(self, context: Context, route: PassedRoute) -> None:
        self._context = context
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        told = PassedExchange(self._context, _FORM, self._route, scope)
        await told.run(_pass_on, receive, send)


async def _pass_on(told: PassedExchange, receive: Receive) -> bytes:
    passed, target = await _admitted(told, receive)
    with Departure(told.scope, receive):
        reply = await _ask(told, passed, target)
    call = told.call
    if call is not None and call.cost_pico is not None and not told.route.is_free:
        told.headers = {"x-understudy-cost-usd": usd(call.cost_pico)}
    return reply.body_for(passed.model)


async def _admitted(told: PassedExchange, receive: Receive) -> tuple[Passed, NamedModel]:
    context = told.context
    tenant = told.tenant = tenant_of(context, headers_of(told.scope))
    enter(context, tenant)
    body = await json_body(context, told.scope, receive)
    passed = await understood(context, body, read_passed)
    target = find_model(context, tenant, passed.model, told.route)
    told.model = target.name
    await context.aside.for_body(body, passed.refuse_media, target.media)
    told.permit = await reserve_passed(
        context, tenant, body, target.price, is_free=told.route.is_free
    )
    return passed, target


async def _ask(told: PassedExchange, passed: Passed, target: NamedModel) -> PassedReply:
    target.model.reserve()
    traced = context_of(told.scope["headers"])
    clock, is_free = told.context.clock, told.route.is_free
    started = clock()
    usage: Usage | None = None
    code: str | None = CANCELLED
    detail: str | None = None
    try:
        body = passed.body_for(target.upstream_name)
        answer = await target.model.ask(told.route, body, traced.lines if traced else b"")
        reply = _read(answer)
        usage, code = NOTHING_USED if is_free else reply.usage, None
        return reply
    except (UpstreamError, UpstreamRefused) as failure:
        usage = None if failure.is_usage_unknown else NOTHING_USED
        code, detail = failure.code, failure.detail()
        raise
    finally:
        cost = cost_of(usage, target.price)
        told.call = PassedCall(clock() - started, usage, cost, code, detail)


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


def _read(answer: bytes) -> PassedReply:
    try:
        return read_reply(answer)
    except (ValueError, RecursionError) as error:
        message = "The model server's answer is no JSON object."
        raise UpstreamMalformed(message, is_usage_unknown=True) from error
