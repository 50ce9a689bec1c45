"""The request's id under the name by which Anthropic's clients read it."""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.exchange import EXCHANGE, ServerExchange, exchange_of

_OURS, _THEIRS = "x-request-id", "request-id"
_OURS_RAW, _THEIRS_RAW = _OURS.encode(), _THEIRS.encode()


class WithRequestId:
    """A route whose responses say the id twice."""

    def __init__(self, route: ASGIApp) -> None:
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = exchange_of(scope, send)
        if exchange is not None:
            named = _NamedExchange(exchange)
            scope = {**scope, "extensions": {EXCHANGE: {"exchange": named}}}
            await self._route(scope, receive, named.send)
            return

        async def send_named(message: Message) -> None:
            await send(_named(message))

        await self._route(scope, receive, send_named)


class _NamedExchange:
    """The server's side of an exchange, with another header in its reply."""

    def __init__(self, exchange: ServerExchange) -> None:
        self._exchange = exchange
        self.receive = exchange.receive
        self.task = exchange.task
        self.arrived_body: Callable[[], bytes | None] = exchange.arrived_body
        self.on_departure: Callable[[Callable[[], None] | None], None] = exchange.on_departure
        self.pass_on: Callable[[bytes], bool] = exchange.pass_on

    async def send(self, message: Message) -> None:
        await self._exchange.send(_named(message))

    def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        named = {**headers, _THEIRS: headers[_OURS]} if _OURS in headers else headers
        return self._exchange.reply(status, named, body)


def _named(message: Message) -> Message:
    """A message with the id's second name, where it has the first."""
    headers: list[tuple[bytes, bytes]] | Any = message.get("headers")
    if message["type"] != "http.response.start" or not headers:
        return message
    named = [(_THEIRS_RAW, value) for name, value in headers if name == _OURS_RAW]
    return {**message, "headers": [*headers, *named]}
