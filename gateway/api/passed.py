"""One exchange of a request that is answered by one server and judged by nobody."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from starlette.types import Receive, Scope, Send

from gateway.api.context import Context
from gateway.api.exchange import ClientGone, headers_of, request_id, send_error, send_response
from gateway.api.limited import settle_passed
from gateway.errors import (
    GatewayError,
    InternalError,
    RequestError,
    ShuttingDown,
    UpstreamRefused,
)
from gateway.keys import Tenant
from gateway.limiting import Permit
from gateway.passage import Passage, PassedCall, PassedThrough
from gateway.wire.errors import status_of
from gateway.wire.passing import PassedRoute
from gateway.wire.protocol import Wire

OK = 200
CLIENT_GONE_STATUS = 499  # nobody receives it: nginx's number for a client that left


class Answer(Protocol):
    """What is special to a route: takes the request in and answers it."""

    async def __call__(self, told: "PassedExchange", receive: Receive) -> bytes:
        """The response's body.  Raises GatewayError, and ClientGone."""


class PassedExchange:
    """One request and its response, and what is known of it so far.

    ``model`` is the name under which it is told of; ``headers`` go out beside those of all.
    """

    def __init__(self, context: Context, wire: Wire, route: PassedRoute, scope: Scope) -> None:
        """``wire`` says how errors look."""
        self.context = context
        self.route = route
        self.scope = scope
        self.tenant: Tenant | None = None
        self.model: str | None = None
        self.call: PassedCall | None = None
        self.permit: Permit | None = None
        self.headers: Mapping[str, str] = {}
        self._wire = wire
        self._id = request_id(headers_of(scope), context.new_id())
        self._started = context.clock()
        self._is_settled = False

    async def run(self, answer: Answer, receive: Receive, send: Send) -> None:
        """Answer it, whatever happens."""
        context = self.context
        context.open_requests += 1
        try:
            body = await answer(self, receive)
            headers = {"content-type": "application/json", "x-request-id": self._id, **self.headers}
            if self.permit is not None:
                headers |= self.permit.headers()
            self._settle(Passage.PASSED, OK)
            await send_response(send, OK, headers, body)
        except ClientGone:
            self._settle(Passage.CANCELLED, CLIENT_GONE_STATUS)
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
        finally:
            settle_passed(self.permit, self.call)
            context.keys.end(self.tenant)
            context.open_requests -= 1

    async def _fail(self, send: Send, error: GatewayError, outcome: Passage) -> None:
        self._settle(outcome, status_of(error), error.code)
        await send_error(send, self._wire, error, self._id)

    def _settle(self, outcome: Passage, status: int, error_code: str | None = None) -> None:
        """Tell how the request ended, once."""
        if self._is_settled:
            return
        self._is_settled = True
        self.context.observer.passed_through(
            PassedThrough(
                request_id=self._id,
                model=self.model,
                route=self.route,
                outcome=outcome,
                status=status,
                seconds=self.context.clock() - self._started,
                tenant=None if self.tenant is None else self.tenant.name,
                call=self.call,
                error_code=error_code,
            )
        )
