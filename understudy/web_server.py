"""The HTTP server: uvicorn, and how its connections end without losing a request."""

import asyncio
import contextlib
from typing import Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.errors import RequestError
from gateway.wire.errors import error_body
from understudy.upgrades import BodyReader

KEEP_ALIVE_SECONDS = 75
LINGER_SECONDS = 5  # for a client that was not told to ask for its next answer
LAST_REPLY = (b"connection", b"close")
# Of what is no body: a request's line and headers, or what stands between and behind its chunks.
# Nobody's key is known by then.  What comes in one piece is looked at as a whole.
MAX_HEAD_BYTES = 64 * 2**10
HEAD_SECONDS = 30.0  # as a body may take
# Requests that a client sends before it has its answers; hardly any does.  uvicorn reads on while
# they wait, however many there are.
MAX_WAITING = 100
_TICKS = 10  # of the server, in a second


class Connection(HttpToolsProtocol):
    """A client's connection, which ends without a race where the client was told of that."""

    _linger_seconds = 0
    _has_declined = False
    _body: BodyReader | None = None
    _head_bytes = 0
    _head_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Take in a client, which may not stay silent for longer than between two requests."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        """Take in what came: uvicorn's own, but for offers to go on in another protocol."""
        self._unset_keepalive_if_required()
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
        super().on_message_begin()
        self._head_since = self.loop.time()

    def on_headers_complete(self) -> None:
        """It is whole."""
        self._head_bytes, self._head_since = 0, None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body has come, of which the exchange knows how much it may be."""
        self._head_bytes = 0
        super().on_body(body)

    def end_slow_head(self) -> None:
        """Close where a head has begun and is not whole after so long."""
        since = self._head_since
        if since is not None and self.loop.time() - since >= HEAD_SECONDS:
            self._refuse(
                "408 Request Timeout",
                f"The request's head did not arrive within {HEAD_SECONDS:g} seconds.",
            )

    def _decline(self, rest: bytes) -> None:
        """Read the body after all, and nothing else on this connection."""
        self._has_declined = True
        self.cycle.keep_alive = False
        self._body = BodyReader(self.headers, self)
        self.data_received(rest)

    def on_message_complete(self) -> None:
        """The request is whole; where it made such an offer, the parser says so too early."""
        self._head_bytes = 0
        if self._has_declined or not self.parser.should_upgrade():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP, and close."""
        self._refuse("400 Bad Request", msg)

    def _refuse(self, status: str, message: str) -> None:
        """Say in OpenAI's form what is wrong, unless that would be inside an answer, and close."""
        asked = self._asked
        is_inside = asked is not None and asked.response_started and not asked.response_complete
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

    @property
    def _asked(self) -> RequestResponseCycle | None:
        """The last request; its type in uvicorn forgets that there may be none yet."""
        return cast("RequestResponseCycle | None", self.cycle)

    def end(self, linger_seconds: int) -> None:
        """Have the reply that begins next be the last one.

        One that has begun cannot say so: behind it the connection stays for so long.
        """
        self._linger_seconds = self.timeout_keep_alive = linger_seconds
        if (asked := self._asked) is not None and not asked.response_started:
            asked.keep_alive = False  # it came when the headers of replies did not say so yet

    def shutdown(self) -> None:
        """Close at once, but for what is being answered, or was until a moment ago."""
        asked, timer, linger = self._asked, self.timeout_keep_alive_task, self._linger_seconds
        is_answering = asked is not None and not asked.response_complete
        is_lingering = timer is not None and timer.when() - self.loop.time() <= linger
        if not (linger and (is_answering or is_lingering)):
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
                    connection.end_slow_head()
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
