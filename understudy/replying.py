"""One request at the server, and its reply: uvicorn's, with less to do for each.

A reply's head waits for the first bytes of its body, as ASGI wants it, and both leave in one write:
a system call costs as much as judging a draft.  The application may ask for a body that is there
already, and be told when the client leaves, without a task that waits for either.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from starlette.types import Message
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    RequestResponseCycle,
)

from gateway.api.exchange import EXCHANGE

LAST_REPLY = (b"connection", b"close")
# A client that reads nothing for so long has left without a word, and holds what others wait for.
UNREAD_SECONDS = 60.0
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t"))
_WITHOUT_BODY = (204, 304)


class Event:
    """``asyncio.Event``, without the room that it keeps for those who wait: hardly ever anybody."""

    __slots__ = ("_is_set", "_waiters")

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: tuple[asyncio.Future[None], ...] = ()

    def set(self) -> None:
        """Let go who waits, and who comes before it is cleared."""
        self._is_set = True
        for waiter in self._waiters:
            if not waiter.done():  # it is, where who waits was cancelled
                waiter.set_result(None)

    def clear(self) -> None:
        """Have who comes wait."""
        self._is_set = False

    async def wait(self) -> None:
        """Wait until it is set."""
        if self._is_set:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters = (*self._waiters, waiter)
        try:
            await waiter
        finally:
            self._waiters = tuple([each for each in self._waiters if each is not waiter])


class Flow(FlowControl):
    """Whether a client reads, and is read."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._is_writable_event = Event()  # type: ignore[assignment]  # it is used as the other is
        self._is_writable_event.set()


class Cycle(RequestResponseCycle):
    """One request and its reply.

    ``task`` runs ``run_asgi``, and is there while it does; then it takes itself out of those that
    the server knows.  One that is cancelled before it has begun stays there, as one that is over.
    """

    task: asyncio.Task[None]
    # What each begins with.
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0
    _head = b""
    _on_departure: Callable[[], None] | None = None
    _ends_with_connection = False  # for a client that knows no chunks
    _has_news = False  # of the body, since it was last asked for
    _news: Event | None = None  # that there is some, or the end: once somebody has waited for it

    def __init__(self, scope: Any, connection: Any, *, keep_alive: bool) -> None:
        # Not uvicorn's own, which takes each of these by name, and another event for each request.
        self.scope = scope
        self.transport = connection.transport
        self._turn = connection.turn
        self.flow = connection.flow
        self.logger = connection.logger
        self.default_headers = connection.server_state.default_headers
        self.on_response = connection.on_response_complete
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = connection.expect_100_continue
        self.body = bytearray()
        self._open = connection.tasks
        scope["extensions"] = {EXCHANGE: {"exchange": self}}

    async def run_asgi(self, app: Any) -> None:
        """Answer, or say that this went wrong."""
        self._turn.exchanges += 1
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:
            self.logger.error("Exception in ASGI application\n", exc_info=error)
            await self._fail()
        else:
            if not (self.response_complete or self.disconnected):
                lacking = "completing" if self.response_started else "starting"
                self.logger.error("ASGI callable returned without %s response.", lacking)
                await self._fail()
        finally:
            self._turn.exchanges -= 1
            # These lead back here, and what goes in a circle waits for the garbage collector.
            self.on_response = _nothing
            self._open.discard(self.task)  # a callback of the task would be a turn of the loop
            del self.task

    async def _fail(self) -> None:
        if self.response_started:
            self._close()
        else:
            await self.send_500_response()

    def take(self, part: bytes) -> None:
        """A part of the body has come."""
        self.body += part
        if len(self.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self._has_news = True
        if self._news is not None:
            self._news.set()

    def take_last(self) -> None:
        """The body is whole."""
        self.more_body, self._has_news = False, True
        if self._news is not None:
            self._news.set()

    def left(self) -> None:
        """The client has left."""
        if not self.response_complete:
            self.disconnected = True
            if self._on_departure is not None:
                self._on_departure()
        if self._news is not None:
            self._news.set()

    async def receive(self) -> Any:
        """What has come of the body, or that nothing will: ASGI's own."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self._turn.write(self.transport, b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not (self.disconnected or self.response_complete):
            self.flow.resume_reading()
            await self._wait_for_news()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._take_out(), "more_body": self.more_body}

    async def _wait_for_news(self) -> None:
        if not self._has_news:
            if self._news is None:
                self._news = Event()
            self._news.clear()
            await self._news.wait()

    def _take_out(self) -> bytes:
        body, self.body = bytes(self.body), bytearray()
        self._has_news = False
        return body

    def arrived_body(self) -> bytes | None:
        """The whole body, once, where it is there; None where ``receive`` has to wait for it."""
        if self.more_body or self.disconnected or self.waiting_for_100_continue:
            return None
        return self._take_out()

    def on_departure(self, told: Callable[[], None] | None) -> None:
        """Have that called when the client leaves before its reply is whole, now if it has left."""
        self._on_departure = told
        if told is not None:
            self.flow.resume_reading()  # a large body has stopped it, and nobody would see it leave
            if self.disconnected:
                told()

    def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        """Write a whole reply, for a third of what it costs in messages; False where they have to
        be sent, because the client reads slowly.

        Raises RuntimeError where one has begun.
        """
        if self.disconnected:
            return True
        if self.flow.write_paused:
            return False
        if self.response_started:
            raise RuntimeError("a reply is sent where one has begun")
        self._start()
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        _check(tuple(headers), head := lines.encode("latin-1"))
        always = _Always.of(self.default_headers)
        if always.has_close:
            self.keep_alive = False
        elif not self.keep_alive:
            head += b"connection: close\r\n"
        length = b"content-length: %d\r\n\r\n" % len(body)
        whole = b"".join((STATUS_LINE[status], always.lines, head, length, body))
        self._turn.write(self.transport, whole)
        self._finish()
        return True

    def pass_on(self, part: bytes) -> bool:
        """Write a part of a stream that has begun; False where that would have to wait."""
        is_begun = self.response_started and not (self._head or self.response_complete)
        if self.flow.write_paused or self.disconnected or not (is_begun and self.chunked_encoding):
            return False
        self._turn.write(self.transport, b"%x\r\n%b\r\n" % (len(part), part))
        return True

    async def send(self, message: Message) -> None:  # type: ignore[override]  # uvicorn's types
        """Send a part of the reply.  Raises RuntimeError for one that is none now."""
        while self.flow.write_paused and not self.disconnected:
            await self._wait_for_reader()
        if self.disconnected:
            return
        expected = "http.response.body" if self.response_started else "http.response.start"
        if self.response_complete or message["type"] != expected:
            raise RuntimeError(f"{message['type']!r} is sent where {expected!r} would be")
        if self.response_started:
            self._write(message.get("body", b""), is_last=not message.get("more_body", False))
        else:
            self._begin(message)

    def _start(self) -> None:
        """Have a client that was not asked for its body go: what it sends next could be either."""
        self.keep_alive &= not (self.waiting_for_100_continue and self.more_body)
        self.response_started, self.waiting_for_100_continue = True, False

    async def _wait_for_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        try:
            async with asyncio.timeout(UNREAD_SECONDS):
                await self.flow.drain()
        except TimeoutError:
            if self.transport.get_write_buffer_size() >= unread:
                self.disconnected = True
                self.transport.abort()

    def _begin(self, message: Mapping[str, Any]) -> None:
        self._start()
        status, has_close = message["status"], False
        headers = (*self.default_headers, *message.get("headers", ()))
        lines: list[bytes] = []
        for name, value in headers:
            name = name.lower()
            if name == b"content-length" and self.chunked_encoding is None:
                self.expected_content_length, self.chunked_encoding = int(value), False
            elif name == b"transfer-encoding" and value.lower() == b"chunked":
                self.expected_content_length, self.chunked_encoding = 0, True
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive, has_close = False, True
            lines += (name, b": ", value, b"\r\n")
        _check(tuple([name.decode("latin-1") for name, _ in headers]), head := b"".join(lines))
        if not (self.keep_alive or has_close):
            head += b"connection: close\r\n"
        if self.chunked_encoding is None and not self._is_bodiless(status):
            self._ends_with_connection = self.scope["http_version"] == "1.0"
            self.chunked_encoding = not self._ends_with_connection
            head += b"transfer-encoding: chunked\r\n" if self.chunked_encoding else b""
        self._head = STATUS_LINE[status] + head + b"\r\n"

    def _is_bodiless(self, status: int) -> bool:
        return self.scope["method"] == "HEAD" or status in _WITHOUT_BODY

    def _write(self, body: bytes, *, is_last: bool) -> None:
        """Write a part of the body, with the head where it is the first."""
        head, self._head = self._head, b""
        if self.scope["method"] == "HEAD":
            self.expected_content_length, body = 0, b""
        elif self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body += b"0\r\n\r\n" if is_last else b""
        elif not self._ends_with_connection:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (is_last and self.expected_content_length):
                raise RuntimeError("the body has another length than its head says")
        if head or body:
            self._turn.write(self.transport, head + body)
        if is_last:
            self._finish()

    def _finish(self) -> None:
        self.response_complete = True
        if self._news is not None:
            self._news.set()
        # It leads back here, and what goes in a circle waits for the garbage collector.
        self.scope.pop("extensions", None)
        if not self.keep_alive:
            self._close()
        self.on_response()

    def _close(self) -> None:
        self._turn.flush()
        self.transport.close()


@dataclass(frozen=True, slots=True)
class _Always:
    """The headers of every reply, as lines: the server makes a new list of them each second."""

    headers: Sequence[tuple[bytes, bytes]]
    lines: bytes
    has_close: bool

    _last: ClassVar["_Always | None"] = None

    @classmethod
    def of(cls, headers: Sequence[tuple[bytes, bytes]]) -> "_Always":
        """These headers, made to lines once."""
        last = cls._last
        if last is None or last.headers is not headers:
            lines = b"".join([b"%b: %b\r\n" % header for header in headers])
            has_close = any(header == LAST_REPLY for header in headers)
            last = cls._last = cls(headers, lines, has_close)
        return last


def _nothing() -> None:
    """Nobody is to be told any more."""


def _check(names: tuple[str, ...], head: bytes) -> None:
    """Raise RuntimeError where a header is not what it says, or more than one."""
    _check_names(names)
    line_ends = len(b"\r\n") * len(names)
    if len(head.translate(None, _CONTROLS)) < len(head) - line_ends:
        raise RuntimeError("a header's value has characters that it may not have")


@lru_cache(maxsize=64)  # nearly all replies have the same names
def _check_names(names: tuple[str, ...]) -> None:
    if not all(map(_NAME.fullmatch, names)):
        raise RuntimeError("a header's name has characters that it may not have")
