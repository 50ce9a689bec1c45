"""HTTP/1.1 towards one model server: POST over kept connections, and nothing that a POST needs not.

A general client costs more than the whole decision, docs/decisions/0003, so here is the little that
lies between two libraries: httptools parses, aiohappyeyeballs connects.  A call that is cancelled
closes its connection at once, so that the server stops working for nobody; a slow reader slows the
server; and a failure says whether the request was sent, the difference between "cost nothing" and
"cost unknown".  A failed call is never repeated here.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Mapping
from functools import partial

import aiohappyeyeballs
import httptools

from gateway.turn import Turn
from gateway.upstream.deadline import Deadline
from gateway.upstream.reply import BrokenOff, Reply
from gateway.upstream.target import target_of

CONNECT_SECONDS = 2.0
# uvicorn, and so vLLM, closes a connection after 5 idle seconds: be the first.
IDLE_SECONDS = 4.0
# llama.cpp's server closes the connection after a stream, against its own `keep-alive`: a call that
# came at once would be sent into a connection that is just about to end.
SETTLE_SECONDS = 0.02
DNS_SECONDS = 10.0
# The second address family gets its chance after so long: RFC 8305, section 5.
HAPPY_EYEBALLS_SECONDS = 0.25
# So many bytes may come without more of a body: a head, interim answers, trailers.
MAX_HEAD_BYTES = 64 * 2**10
# So much of a stream waits here for its reader before the server is made to wait.
MAX_UNREAD_BYTES = 256 * 2**10
# A server that waited for our reader gets that time on top of its own, and at least so much.
PAUSE_SECONDS = 1.0
# The head but for the length of the body, that length, lines of this request alone, the body.
_REQUEST = b"%b%d\r\n%b\r\n%b"


class Unreachable(Exception):  # a state, like the one below
    """No connection could be made: nothing was sent."""


class TooLarge(Exception):
    """The answer is larger than the caller takes."""


class _Connection(asyncio.Protocol):
    """One connection, which carries one exchange after another."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self.status = 0
        self.retry_after: bytes | None = None
        self.is_head_complete = False
        self.is_complete = True
        self._is_reusable = False
        self._is_whole = True
        self._is_ended_by_close = False
        self._has_more = False
        self._paused_at: float | None = None
        self._paused_seconds = 0.0
        self._bytes_without_body = 0
        self._pieces: list[bytes] = []
        self._size = 0
        self._most = 0
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self.loop = asyncio.get_running_loop()
        self._turn = Turn.of(self.loop)
        self._leaves_behind: int | None = None  # so many flushes of the turn
        self._deadline = Deadline(self.loop, self._expire)
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport

    @property
    def is_usable(self) -> bool:
        """Whether another exchange may begin."""
        return self._is_reusable and self.is_complete and not self._transport.is_closing()

    def send(self, request: bytes, *, seconds: float, most: int | None) -> None:
        """Begin an exchange, whole up to ``most`` bytes, or as a stream where that is None."""
        self.is_complete = self.is_head_complete = False
        self._is_whole, self._most = most is not None, most or 0
        self._bytes_without_body = self._size = 0
        self._paused_seconds = 0.0
        self._deadline.set(seconds)
        has_left = self._turn.write(self._transport, request)
        self._leaves_behind = None if has_left else self._turn.flushes

    def finish(self) -> bool:
        """End the exchange, and say whether another may follow.

        What is not complete is broken off, so that the server hears of it.
        """
        self._deadline.clear()
        if self._alarm is not None:
            self._silence()
        if self._pieces:
            self._pieces.clear()
        if self._paused_at is not None:
            self._resume()
        # A server may answer before it has read the request, and never read the rest of it.
        if self.is_usable and not self._transport.get_write_buffer_size():
            return True
        self._transport.abort()
        return False

    def abort(self) -> None:
        """Close without ceremony."""
        self._transport.abort()

    async def some(self, until: float | None) -> bytes | None:
        """Wait for more of a stream: empty at its end, None where nothing came until then."""
        while not self._pieces and not self.is_complete:
            if until is not None:
                if self.loop.time() >= until:
                    return None
                self._be_woken_at(until)
            await self.wait()
        return self.take()

    def take(self) -> bytes:
        """What has come of the answer's body since the last time."""
        pieces = self._pieces
        if len(pieces) == 1:
            data = pieces.pop()
        else:
            data = b"".join(pieces)
            pieces.clear()
        self._size = 0
        if self._paused_at is not None:
            self._resume()
        return data

    def _resume(self) -> None:
        if self._paused_at is not None:
            self._paused_seconds += self.loop.time() - self._paused_at
            self._paused_at = None
            self._transport.resume_reading()

    def wait(self) -> "asyncio.Future[None]":
        """What is done once something has happened.  Raises the connection's failure."""
        if self._failure is not None:
            raise self._failure
        self._waiter = self.loop.create_future()
        return self._waiter

    def _be_woken_at(self, until: float) -> None:
        """Have a waiter look at the clock then: one timer for all reads that end at that time."""
        if self._alarm is None or self._alarm_at != until:
            self._silence()
            self._alarm_at = until
            self._alarm = self.loop.call_at(until, self._ring)

    def _ring(self) -> None:
        self._alarm = None  # it may be early by the loop's rounding: then another one is set
        self._wake()

    def _silence(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():  # it is, where who waits was cancelled
            waiter.set_result(None)

    def _expire(self) -> None:
        """The time is over, but for what the server waited for our own reader."""
        if self._paused_at is not None:
            now = self.loop.time()
            self._paused_seconds += now - self._paused_at
            self._paused_at = now
        if self._paused_seconds:
            seconds, self._paused_seconds = max(self._paused_seconds, PAUSE_SECONDS), 0.0
            self._deadline.set(seconds)
        else:
            self._fail(TimeoutError())

    def _fail(self, failure: Exception) -> None:
        """End the connection; no answer becomes complete any more."""
        if self._failure is None:
            self._failure = failure
        self._transport.abort()
        self._wake()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # create_connection makes no other

    def data_received(self, data: bytes) -> None:
        if self.is_complete or self._leaves_behind == self._turn.flushes:
            self._fail(BrokenOff("nobody asked"))
            return
        self._bytes_without_body += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(BrokenOff("no HTTP"))
        if self._bytes_without_body > MAX_HEAD_BYTES and not self.is_complete:
            self._fail(BrokenOff("an endless head"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.close()
        if self._is_ended_by_close and exc is None:
            self.on_message_complete()
        self._fail(BrokenOff(str(exc) if exc else "closed"))

    # What httptools calls.

    def on_message_begin(self) -> None:
        self._is_ended_by_close = True  # until a header says otherwise
        self.retry_after = None
        self._has_more = self.is_complete
        if self._has_more:  # a second answer to one request
            self._is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._is_ended_by_close = False
        elif name == b"retry-after":
            self.retry_after = value

    def on_headers_complete(self) -> None:
        if self._has_more:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:  # it only announces the answer
            return
        self.is_head_complete = True
        self._is_reusable = self._parser.should_keep_alive()
        if not self._is_whole:
            self._wake()

    def on_body(self, body: bytes) -> None:
        if self._has_more:
            return
        self._bytes_without_body = 0
        self._pieces.append(body)
        self._size += len(body)
        if self._is_whole:
            if self._size > self._most:
                self._fail(TooLarge())
            return
        self._wake()
        if self._size > MAX_UNREAD_BYTES and self._paused_at is None:
            self._paused_at = self.loop.time()
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.is_head_complete and self._failure is None:
            self.is_complete = True
            self._wake()


class HttpClient:
    """Requests to one URL.  As many connections as there are calls at once, kept while in use.

    ``headers`` are sent with every request.  Raises ValueError for an URL or a header that cannot
    be written into a request.  ``retry_after`` is what the last whole answer said of that.
    """

    def __init__(self, url: str, headers: Mapping[str, str], method: str = "POST") -> None:
        self.retry_after: bytes | None = None
        self._target = target_of(url, headers, method)
        self._idle: deque[_Connection] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._addresses: list[aiohappyeyeballs.AddrInfoType] = []
        self._resolved_at = float("-inf")
        self._resolving = asyncio.Lock()

    async def post(
        self, body: bytes, *, seconds: float, most: int, headers: bytes = b""
    ) -> tuple[int, bytes]:
        """Status and body of the whole answer; ``headers`` are lines of this request alone.

        Raises Unreachable, BrokenOff, TooLarge beyond ``most`` bytes, and TimeoutError once that
        many seconds have passed since the request was sent.
        """
        connection = self._kept() or await self._connect()
        try:
            request = _REQUEST % (self._target.head, len(body), headers, body)
            connection.send(request, seconds=seconds, most=most)
            while not connection.is_complete:
                await connection.wait()
            answer = connection.take()
            self.retry_after = connection.retry_after
            return connection.status, answer
        finally:
            self.give_back(connection)

    async def stream(self, body: bytes, *, seconds: float, headers: bytes = b"") -> Reply:
        """The answer as it comes, once its status is known.  Raises as ``post`` does."""
        connection = self._kept() or await self._connect()
        try:
            request = _REQUEST % (self._target.head, len(body), headers, body)
            connection.send(request, seconds=seconds, most=None)
            while not connection.is_head_complete:
                await connection.wait()
            return Reply(connection, partial(self.give_back, connection, SETTLE_SECONDS))
        except BaseException:
            self.give_back(connection)
            raise

    def close(self) -> None:
        """Close the kept connections."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._idle:
            self._idle.pop().abort()

    def give_back(self, connection: _Connection, settles: float = 0.0) -> None:
        """End a connection's exchange; keep the connection, which is idle in so many seconds."""
        if not connection.finish():
            return
        connection.idle_since = connection.loop.time() + settles
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = connection.loop.call_later(IDLE_SECONDS, self._close_idle)

    def _kept(self) -> _Connection | None:
        """The one used last, which is the likeliest to be open still; None where none will do."""
        idle = self._idle
        for place in range(len(idle) - 1, -1, -1):
            connection = idle[place]
            idle_seconds = connection.loop.time() - connection.idle_since
            if idle_seconds >= 0:  # else it settles
                del idle[place]
                if idle_seconds < IDLE_SECONDS and connection.is_usable:
                    return connection
                connection.abort()
        return None

    def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE_SECONDS
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().abort()
        self._sweep = None
        if self._idle:
            self._sweep = loop.call_at(self._idle[0].idle_since + IDLE_SECONDS, self._close_idle)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                opened = await aiohappyeyeballs.start_connection(
                    await self._resolve(), happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS, interleave=1
                )
                name = None if self._target.tls is None else self._target.host
                _, connection = await loop.create_connection(
                    _Connection, sock=opened, ssl=self._target.tls, server_hostname=name
                )
        except OSError as error:  # a timeout and a certificate that will not do are such too
            raise Unreachable(str(error)) from error
        return connection

    async def _resolve(self) -> list[aiohappyeyeballs.AddrInfoType]:
        loop = asyncio.get_running_loop()
        async with self._resolving:
            if loop.time() - self._resolved_at > DNS_SECONDS:
                self._addresses = [
                    (family, kind, protocol, name, address)
                    for family, kind, protocol, name, address in await loop.getaddrinfo(
                        self._target.host, self._target.port, type=socket.SOCK_STREAM
                    )
                ]
                self._resolved_at = loop.time()
            addresses = self._addresses
            self._addresses = addresses[1:] + addresses[:1]  # replicas of one name take turns
            return addresses
