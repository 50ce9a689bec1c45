"""One HTTP exchange at ASGI level: the request's id, its body within limits, the client's leaving.

Written against ASGI itself: a framework's request object costs more than the whole decision.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from starlette.types import Message, Receive, Scope, Send

from gateway.errors import BodyTooLarge, GatewayError, RequestTimeout, UnsupportedMediaType
from gateway.wire.errors import error_headers, status_of
from gateway.wire.protocol import Wire

# The ASGI extension by which our own server offers its side of an exchange.
EXCHANGE = "understudy.exchange"
_HEADERS = "understudy.headers"
_CHUNKED = b"chunked"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class ClientGone(Exception):
    """The client left before it had an answer."""


class ServerExchange(Protocol):
    """What a server that knows us can do for a request, for less than ASGI's messages take.

    Whoever stands between it and a route reads or changes messages: then there have to be some.
    """

    @property
    def task(self) -> asyncio.Task[None]:
        """The one that answers it, while it does: to ask which one is running takes longer."""

    async def receive(self) -> Message:
        """ASGI's own."""

    async def send(self, message: Message) -> None:
        """ASGI's own."""

    def arrived_body(self) -> bytes | None:
        """The whole body, where it is there already and nobody has read of it."""

    def on_departure(self, told: Callable[[], None] | None) -> None:
        """Have that called when the client leaves, at once where it has left; None: no more."""

    def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        """Write a whole reply at once, whose length is added to the headers.

        False where it has to be sent, and perhaps waited for: while the client reads slowly.
        """

    def pass_on(self, part: bytes) -> bool:
        """Write a part of a stream at once; False where it has to be sent, and perhaps waited for.

        That is so before the first part, and while the client reads slowly.
        """


def passing_on(scope: Scope, send: Send) -> Callable[[bytes], bool]:
    """How a part of a stream is written at once: ``ServerExchange.pass_on``."""
    exchange = exchange_of(scope, send)
    return _never if exchange is None else exchange.pass_on


def _never(_: bytes) -> bool:
    return False


def exchange_of(scope: Scope, way: Receive | Send) -> ServerExchange | None:
    """The server's side of an exchange, where ``way`` leads there and to nobody before."""
    extensions = scope.get("extensions")
    if extensions is None or EXCHANGE not in extensions:
        return None
    exchange: ServerExchange = extensions[EXCHANGE]["exchange"]
    return exchange if getattr(way, "__self__", None) is exchange else None


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """A request's headers by their lower-case names: of those with one name the first."""
    headers: Mapping[bytes, bytes] | None = scope.get(_HEADERS)
    if headers is None:  # the first question of several
        headers = scope[_HEADERS] = dict(reversed(scope["headers"]))
    return headers


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that lower-case name."""
    value = headers_of(scope).get(name)
    return None if value is None else value.decode("latin-1")


def request_id(headers: Mapping[bytes, bytes], fresh: str) -> str:
    """The client's ``x-request-id`` where it is harmless in a header and a log, else ``fresh``."""
    given = headers.get(b"x-request-id")
    return fresh if given is None or _REQUEST_ID.fullmatch(given) is None else given.decode()


def refuse_foreign_content(headers: Mapping[bytes, bytes]) -> None:
    """Raise UnsupportedMediaType for a body that is not declared to be JSON.

    A web page may send any other type, or none, to an address on its reader's machine without
    asking first, and a gateway on loopback may have no keys.
    """
    said = headers.get(b"content-type", b"").decode("latin-1")
    kind = said.partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedMediaType("The body must be sent as 'content-type: application/json'.")


async def read_body(scope: Scope, receive: Receive, *, most: int, seconds: float) -> bytes:
    """The whole body.  Raises BodyTooLarge, RequestTimeout and ClientGone."""
    headers = headers_of(scope)
    declared = headers.get(b"content-length")
    if declared is None and (headers.get(b"transfer-encoding") or _CHUNKED).lower() != _CHUNKED:
        raise UnsupportedMediaType("The body must be sent without a transfer coding but 'chunked'.")
    if declared is not None and declared.isdigit() and int(declared) > most:
        raise BodyTooLarge(f"The body has {declared.decode()} bytes; {most} are allowed.")
    exchange = exchange_of(scope, receive)
    if exchange is not None and (arrived := exchange.arrived_body()) is not None:
        if len(arrived) > most:
            raise BodyTooLarge(f"The body has more than the {most} bytes allowed.")
        return arrived
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body += message.get("body", b"")
                if len(body) > most:
                    raise BodyTooLarge(f"The body has more than the {most} bytes allowed.")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise RequestTimeout(f"The body did not arrive within {seconds:g} seconds.") from None


class Departure:
    """Cancels the current task once the client has left, so that no model works for nobody."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._exchange = exchange_of(scope, receive)
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._has_left = False

    def __enter__(self) -> None:
        if self._exchange is None:
            task = asyncio.current_task()
            if task is None:
                raise RuntimeError("needs a running task")
            self._task = task
            self._watcher = asyncio.create_task(self._watch())
        else:
            self._task = self._exchange.task
            self._exchange.on_departure(self.give_up)

    def give_up(self) -> None:
        """Take the client as gone."""
        if not self._has_left:
            self._has_left = True
            self._task.cancel()

    async def _watch(self) -> None:
        message: Message = {"type": ""}
        while message["type"] != "http.disconnect":
            message = await self._receive()
        self.give_up()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
        if self._exchange is not None:
            self._exchange.on_departure(None)
        if self._has_left:
            self._task.uncancel()
            if kind is not None and issubclass(kind, asyncio.CancelledError):
                raise ClientGone


def encoded_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI wants them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def reply_at_once(
    scope: Scope, send: Send, status: int, headers: Mapping[str, str], body: bytes
) -> bool:
    """Write a whole response; False where it has to be sent instead: ``ServerExchange.reply``."""
    exchange = exchange_of(scope, send)
    try:
        return exchange is not None and exchange.reply(status, headers, body)
    except RuntimeError:  # uvloop's word for a client that left this very moment
        return True


async def send_response(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """A whole response in ASGI's messages."""
    length = (b"content-length", str(len(body)).encode())
    all_headers = [*encoded_headers(headers), length]
    start = {"type": "http.response.start", "status": status, "headers": all_headers}
    with suppress(RuntimeError):  # uvloop's word for a client that left this very moment
        await send(start)
        await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, wire: Wire, error: GatewayError, request_id: str) -> None:
    """An error in the form of the client's protocol."""
    headers = {**error_headers(error), "x-request-id": request_id}
    await send_response(send, status_of(error), headers, wire.error_body(error, request_id))
