"""The HTTP server: uvicorn, and how its connections end without losing a request."""

import asyncio
import contextlib
import urllib.parse
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.errors import RequestError
from gateway.turn import Turn
from gateway.wire.errors import error_body
from understudy.heads import KnownHead
from understudy.replying import LAST_REPLY, Cycle, Flow
from understudy.upgrades import BodyReader

KEEP_ALIVE_SECONDS = 75
LINGER_SECONDS = 5  # for a client that was not told to ask for its next answer
# Of what is no body: a request's line and headers, or what stands between and behind its chunks.
# Nobody's key is known by then.  What comes in one piece is looked at as a whole.
MAX_HEAD_BYTES = 64 * 2**10
HEAD_SECONDS = 30.0  # as a body may take
# Requests that a client sends before it has its answers; hardly any does.  uvicorn reads on while
# they wait, however many there are.
MAX_WAITING = 100
# A client whose heads differ in more than their length each time is not learnt from for ever.
_MOST_LESSONS = 4
_TICKS = 10  # of the server, in a second


class Connection(HttpToolsProtocol):
    """A client's connection, which ends without a race where the client was told of that."""

    # Beside uvicorn's these would be more than the 30 attributes that take no dictionary.
    __slots__ = (
        "_answering",
        "_body",
        "_has_declined",
        "_head_bytes",
        "_head_since",
        "_idle_until",
        "_known_head",
        "_lessons",
        "_linger_seconds",
        "turn",
    )

    cycle: Cycle | None  # type: ignore[assignment]  # the last; there may be none yet
    # A deque takes 600 bytes at once, and hardly any connection has one that waits.
    pipeline: list[Cycle]  # type: ignore[assignment]

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.pipeline = []
        self._linger_seconds = 0
        self._has_declined = False
        self._body: BodyReader | None = None
        self._head_bytes = 0
        self._head_since: float | None = None
        self._idle_until: float | None = None  # when it is closed unless another request comes
        self._answering: Cycle | None = None  # others that were asked wait behind it
        self._known_head: KnownHead | None = None
        self._lessons = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Take in a client, which may not stay silent for longer than between two requests."""
        super().connection_made(transport)
        self.flow = Flow(transport)
        self.turn = Turn.of(self.loop)
        self._idle_until = self.loop.time() + self.timeout_keep_alive

    def data_received(self, data: bytes) -> None:
        """Take in what came: uvicorn's own, but for offers to go on in another protocol, and heads
        that came before."""
        before = self.cycle
        is_between = self._is_between(before)
        if is_between and self._known_head is not None:
            known = self._known_head.again(data)
            if known is not None:
                self._begin_again(*known)
                return
        self._parse(data)
        if is_between and self.cycle is not before and self._lessons < _MOST_LESSONS:
            self._learn(data)

    def _is_between(self, before: Cycle | None) -> bool:
        """Whether nothing of a request has come since the last one was answered."""
        if self._head_bytes or self._head_since is not None or self._body is not None:
            return False
        return before is None or (
            before.response_complete and before.keep_alive and not before.more_body
        )

    def _begin_again(self, scope: dict[str, Any], body: bytes) -> None:
        """A request has come whole, with a head that is known."""
        self.expect_100_continue, self._idle_until = False, None
        self.cycle = cycle = Cycle(scope, self, keep_alive=True)
        self._answer(cycle)
        cycle.take(body)
        cycle.take_last()

    def _learn(self, data: bytes) -> None:
        """Remember the head of a request that has come whole, and in one piece."""
        cycle = self.cycle
        is_whole = cycle is not None and not cycle.more_body
        if cycle is None or not (is_whole and cycle.keep_alive) or cycle.waiting_for_100_continue:
            return
        self._lessons += 1
        self._known_head = KnownHead.of(data, cycle.scope) or self._known_head

    def _parse(self, data: bytes) -> None:
        self._head_bytes += len(data)
        try:
            if self._body is None:
                self.parser.feed_data(data)
            else:
                self._body.feed(data)
        except httptools.HttpParserUpgrade as stopped:
            self._decline(data[stopped.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("The request is no valid HTTP/1.1.")
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(
                "431 Request Header Fields Too Large",
                f"The request's head has more than the {MAX_HEAD_BYTES} bytes allowed.",
            )

    def on_message_begin(self) -> None:
        """A head begins."""
        if len(self.pipeline) >= MAX_WAITING:
            raise RuntimeError("too many wait already")  # to the parser, which then reads no more
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._head_since, self._idle_until = self.loop.time(), None

    def on_headers_complete(self) -> None:
        """It is whole."""
        # It may have begun before the last answer ended, behind which the connection seemed idle.
        self._head_bytes, self._head_since, self._idle_until = 0, None, None
        parser = self.parser
        url, version = httptools.parse_url(self.url), parser.get_http_version()
        path = url.path.decode("ascii")
        scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": parser.get_method().decode("ascii"),
            "root_path": self.root_path,
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self.headers,
            "state": self.app_state.copy(),
        }
        before = self.cycle
        keep_alive = version != "1.0" and parser.should_keep_alive()
        self.cycle = cycle = Cycle(scope, self, keep_alive=keep_alive)
        if before is None or before.response_complete:
            self._answer(cycle)
        else:  # it has not had its last answer yet
            self.flow.pause_reading()
            self.pipeline.insert(0, cycle)

    def eof_received(self) -> None:
        """The client says no more, and so the connection is closed: as uvicorn does."""
        self.turn.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left: neither who answers it nor who waits has to go on."""
        self.connections.discard(self)
        for cycle in {self.cycle, self._answering}:
            if cycle is not None:
                cycle.left()
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()
        self.parser = None  # type: ignore[assignment]  # as uvicorn does: it leads back here

    def on_body(self, body: bytes) -> None:
        """A piece of the body has come, of which the exchange knows how much it may be."""
        self._head_bytes = 0
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.take(body)

    def _answer(self, cycle: Cycle) -> None:
        self._answering = cycle
        task = cycle.task = self.loop.create_task(cycle.run_asgi(self.app))
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        """Go on to a request that waits, or wait for one; no timer of its own for each."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._answer(self.pipeline.pop())
        else:
            self._idle_until = self.loop.time() + self.timeout_keep_alive

    def end_overdue(self) -> None:
        """Close where a head has begun and is not whole after so long, or nothing has come."""
        if self._idle_until is not None and self.loop.time() >= self._idle_until:
            self.turn.flush()
            self.timeout_keep_alive_handler()
        since = self._head_since
        if since is not None and self.loop.time() - since >= HEAD_SECONDS:
            self._refuse(
                "408 Request Timeout",
                f"The request's head did not arrive within {HEAD_SECONDS:g} seconds.",
            )

    def _decline(self, rest: bytes) -> None:
        """Read the body after all, and nothing else on this connection."""
        self._has_declined = True
        if self.cycle is not None:
            self.cycle.keep_alive = False
        self._body = BodyReader(self.headers, self)
        self.data_received(rest)

    def on_message_complete(self) -> None:
        """The request is whole; where it made such an offer, the parser says so too early."""
        self._head_bytes = 0
        if self.cycle is None or self.cycle.response_complete:
            return
        if self._has_declined or not self.parser.should_upgrade():
            self.cycle.take_last()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP, and close."""
        self._refuse("400 Bad Request", msg)

    def _refuse(self, status: str, message: str) -> None:
        """Say in OpenAI's form what is wrong, unless that would be inside an answer, and close."""
        answer = self._answering
        is_inside = answer is not None and answer.response_started and not answer.response_complete
        self.turn.flush()
        if is_inside or self.transport.is_closing():
            self.transport.close()
            return
        body = error_body(RequestError(message))
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def end(self, linger_seconds: int) -> None:
        """Have the reply that begins next be the last one.

        One that has begun cannot say so: behind it the connection stays for so long.
        """
        self._linger_seconds = self.timeout_keep_alive = linger_seconds
        if (asked := self.cycle) is not None and not asked.response_started:
            asked.keep_alive = False  # it came when the headers of replies did not say so yet

    def shutdown(self) -> None:
        """Close at once, but for what is being answered, or was until a moment ago."""
        asked, until, linger = self.cycle, self._idle_until, self._linger_seconds
        is_answering = asked is not None and not asked.response_complete
        is_lingering = until is not None and until - self.loop.time() <= linger
        if not (linger and (is_answering or is_lingering)):
            self.turn.flush()
            super().shutdown()


class Server(uvicorn.Server):
    """A server whose signals are ours: two servers share this process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave the signals alone."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Once in a while close what only pretends to ask."""
        if counter % _TICKS == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.end_overdue()
        return await super().on_tick(counter)

    def end_connections(self, delay_seconds: int) -> None:
        """Have each reply that begins from now on be the last one of its connection.

        A client that is told so opens another connection for its next request; one whose idle
        connection is just closed may have sent a request meanwhile.  The server adds these headers
        to every reply anyway, so that a request costs nothing more for this.
        """
        self.config.encoded_headers.append(LAST_REPLY)  # taken up every second
        self.server_state.default_headers = [*self.server_state.default_headers, LAST_REPLY]
        for connection in self.server_state.connections:
            if isinstance(connection, Connection):
                connection.end(min(LINGER_SECONDS, delay_seconds))


def web_server(app: Any) -> Server:
    """A server for an application, which does not listen yet."""
    config = uvicorn.Config(
        app,
        http=Connection,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    return Server(config)
