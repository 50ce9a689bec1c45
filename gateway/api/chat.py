"""``POST /v1/chat/completions``: from bytes to bytes, around ``gateway/answer.py``.

The facts are told, and the pair is in the journal, before the first byte of the answer leaves.
"""

import asyncio
from dataclasses import dataclass, field

import msgspec
from starlette.types import Receive, Scope, Send

from gateway.answer import Answer, Legs, answer
from gateway.api.context import Context, Served
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
from gateway.errors import (
    GatewayError,
    InternalError,
    ModelNotFound,
    Overloaded,
    RequestError,
    ShuttingDown,
    UpstreamRefused,
)
from gateway.facts import Ending, RequestSettled
from gateway.pairs import Provenance, pair_record
from gateway.wire.chat import Chat, parse_chat
from gateway.wire.completion import client_fields
from gateway.wire.errors import status_of
from gateway.wire.replay import CONTENT_TYPE, replay
from routing.money import baseline_of, total_of, usd
from routing.vocabulary import Role

MAX_ECHO = 100  # characters of the client's own words in an error message
CLIENT_GONE_STATUS = 499  # nobody receives it: nginx's number for a client that left


@dataclass(slots=True)
class _Exchange:
    """What is known of one request so far; the fact at its end is made from it."""

    request_id: str
    started: float
    legs: Legs
    tenant: str | None = None
    chat: Chat | None = None
    served: Served | None = None
    answer: Answer | None = None
    headers: dict[str, str] = field(default_factory=dict)


class ChatCompletions:
    """The route, as an ASGI application."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        context = self._context
        exchange = _Exchange(
            request_id=request_id(scope, context.new_id()),
            started=context.clock(),
            legs=Legs(context.clock),
        )
        context.open_requests += 1
        context.observer.metrics.open_requests.set(context.open_requests)
        try:
            body = await self._respond(exchange, scope, receive)
        except ClientGone:
            self._settled(exchange, Ending.CANCELLED, CLIENT_GONE_STATUS)
        except GatewayError as error:
            self._settled_with(exchange, error)
            await send_error(send, error, exchange.request_id)
        except Exception:
            context.observer.log.exception("bug", request_id=exchange.request_id)
            failure = InternalError("Internal error.")
            exchange.answer = None  # whatever it was, the client does not get it
            self._settled_with(exchange, failure)
            await send_error(send, failure, exchange.request_id)
        except asyncio.CancelledError:  # this process is stopping and has waited long enough
            stopping = ShuttingDown("The gateway is shutting down.")
            self._settled(exchange, Ending.CANCELLED, status_of(stopping), stopping.code)
            await send_error(send, stopping, exchange.request_id)
            raise
        else:
            await send_response(send, 200, exchange.headers, body)
        finally:
            context.open_requests -= 1
            context.observer.metrics.open_requests.set(context.open_requests)

    async def _respond(self, exchange: _Exchange, scope: Scope, receive: Receive) -> bytes:
        context = self._context
        exchange.tenant = context.keys.tenant(header(scope, b"authorization"))
        limits = context.limits
        if context.open_requests > limits.open_requests:
            raise Overloaded("This gateway has as many open requests as it may have.")
        refuse_foreign_content(scope)
        body = await read_body(scope, receive, most=limits.body_bytes, seconds=limits.body_seconds)
        chat = exchange.chat = parse_chat(body)
        served = exchange.served = context.served.get(chat.model)
        if served is None:
            name = chat.model[:MAX_ECHO]
            raise ModelNotFound(f"The model '{name}' does not exist.", param="model")
        async with Departure(receive):
            exchange.answer = await answer(chat, served.cascade, exchange.legs)
        return self._deliver(exchange, chat, served, exchange.answer)

    def _deliver(self, exchange: _Exchange, chat: Chat, served: Served, given: Answer) -> bytes:
        """Write the pair, tell the facts, and encode the answer."""
        if chat.is_stream:
            body = b"".join(replay(given.completion, chat))
        else:
            body = msgspec.json.encode(client_fields(given.completion, chat))
        exchange.headers = self._headers(exchange, chat, served, given)
        if given.served_by is Role.TEACHER:
            self._log_pair(exchange, chat, served, given)
            self._settled(exchange, Ending.ESCALATED, 200)
        else:
            self._settled(exchange, Ending.DEGRADED if given.degraded else Ending.KEPT, 200)
        return body

    def _headers(
        self, exchange: _Exchange, chat: Chat, served: Served, given: Answer
    ) -> dict[str, str]:
        verdict = given.verdict
        headers = {
            "content-type": CONTENT_TYPE if chat.is_stream else "application/json",
            "x-request-id": exchange.request_id,
            "x-understudy-cascade": served.cascade.name,
            "x-understudy-served-by": given.served_by.value,
            "x-understudy-reason": verdict.reason.value,
            "x-understudy-policy": served.cascade.policy.version,
        }
        if verdict.confidence is not None:
            headers["x-understudy-confidence"] = f"{verdict.confidence.value:.6f}"
        cost = total_of([leg.cost_pico for leg in exchange.legs.made])
        if chat.is_stream:
            headers["cache-control"] = "no-cache"
        if cost is not None:
            headers["x-understudy-cost-usd"] = usd(cost)
        if given.degraded is not None:
            headers["x-understudy-degraded"] = given.degraded.value
        return headers

    def _log_pair(self, exchange: _Exchange, chat: Chat, served: Served, given: Answer) -> None:
        if not (served.is_storing and chat.is_store_allowed):
            return
        provenance = Provenance(
            id=self._context.new_id(),
            time=self._context.epoch(),
            request_id=exchange.request_id,
            tenant=exchange.tenant,
            cascade=served.cascade.name,
            student_version=served.student_version,
            teacher_model=served.teacher_model,
            policy_version=served.cascade.policy.version,
            may_train=served.may_train,
        )
        record = pair_record(provenance, chat, given, exchange.legs.made)
        self._context.pairs.append(served.cascade.name, record)

    def _settled_with(self, exchange: _Exchange, error: GatewayError) -> None:
        is_client_mistake = isinstance(error, RequestError | UpstreamRefused)
        ending = Ending.REJECTED if is_client_mistake else Ending.FAILED
        self._settled(exchange, ending, status_of(error), error.code)

    def _settled(
        self, exchange: _Exchange, ending: Ending, status: int, error_code: str | None = None
    ) -> None:
        chat, served, given = exchange.chat, exchange.served, exchange.answer
        cascade = None if served is None else served.cascade
        verdict = exchange.legs.verdict
        self._context.observer.settled(
            RequestSettled(
                request_id=exchange.request_id,
                ending=ending,
                status=status,
                seconds=self._context.clock() - exchange.started,
                cascade=None if cascade is None else cascade.name,
                tenant=exchange.tenant,
                is_stream=chat is not None and chat.is_stream,
                served_by=None if given is None else given.served_by,
                reason=None if verdict is None else verdict.reason,
                degraded=None if given is None else given.degraded,
                confidence=None if verdict is None else verdict.confidence,
                policy_version=None if cascade is None else cascade.policy.version,
                legs=exchange.legs.made,
                baseline_pico=None if given is None else _baseline(exchange),
                error_code=error_code,
            )
        )


def _baseline(exchange: _Exchange) -> int | None:
    legs = {leg.role: leg for leg in exchange.legs.made if leg.error is None}
    student, teacher = legs.get(Role.STUDENT), legs.get(Role.TEACHER)
    price = None if exchange.served is None else exchange.served.cascade.teacher.price
    return baseline_of(
        None if student is None else student.usage,
        None if teacher is None else teacher.cost_pico,
        price,
    )
