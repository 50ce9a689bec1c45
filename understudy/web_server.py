"""The HTTP server: uvicorn, and how its connections end without losing a request."""

import contextlib
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

KEEP_ALIVE_SECONDS = 75
LINGER_SECONDS = 5  # for a client that was not told to ask for its next answer
LAST_REPLY = (b"connection", b"close")


class Connection(HttpToolsProtocol):
    """A client's connection, which ends without a race where the client was told of that."""

    _linger_seconds = 0

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
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    return Server(config)
