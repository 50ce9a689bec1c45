"""``python -m bench.relay``: what a gateway in Python costs that does nothing at all.

A bare ASGI application on uvicorn, with uvloop and httptools, passes each POST to the upstream by
the gateway's own HTTP client, and what comes back to the client: no key, no metric, no log, and not
a byte of either looked at, but for whether a stream is wanted.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import uvicorn

from bench.upstream import STREAM_WANTED
from gateway.upstream.http1 import HttpClient
from understudy.demo.lifeline import follow_parent

SECONDS = 600.0
MOST_BYTES = 2**24
REQUEST_HEADERS = {"content-type": "application/json"}
WHOLE: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)
STREAM: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"text/event-stream; charset=utf-8"),)


class Relay:
    """The application, towards one upstream; paths stay as they are."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._clients: dict[str, HttpClient] = {}

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """Pass one request on, and its answer back."""
        if scope["method"] == "GET":  # somebody asks whether it is up
            await _start(send, 200, WHOLE)
            await send({"type": "http.response.body", "body": b"{}"})
            return
        body = b""
        has_more = True
        while has_more:
            message = await receive()
            body += message.get("body", b"")
            has_more = message.get("more_body", False)
        client = self._client(scope["path"])
        if STREAM_WANTED in body:
            await _pass_stream(client, body, send)
            return
        status, answer = await client.post(body, seconds=SECONDS, most=MOST_BYTES)
        length = (b"content-length", str(len(answer)).encode())
        await _start(send, status, (*WHOLE, length))
        await send({"type": "http.response.body", "body": answer})

    def _client(self, path: str) -> HttpClient:
        if path not in self._clients:
            self._clients[path] = HttpClient(self._upstream + path, REQUEST_HEADERS)
        return self._clients[path]


async def _pass_stream(client: HttpClient, body: bytes, send: Any) -> None:
    reply = await client.stream(body, seconds=SECONDS)
    try:
        await _start(send, reply.status, STREAM)
        while part := await reply.read():
            await send({"type": "http.response.body", "body": part, "more_body": True})
    finally:
        reply.close()
    await send({"type": "http.response.body", "body": b""})


async def _start(send: Any, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


def main() -> None:
    """Serve on a port of 127.0.0.1 until the parent ends."""
    parser = argparse.ArgumentParser(prog="bench.relay", description=__doc__)
    parser.add_argument("--upstream", required=True, metavar="URL", help="scheme, host and port")
    parser.add_argument("--port", required=True, type=int)
    options = parser.parse_args()
    follow_parent()
    uvicorn.run(
        Relay(options.upstream),
        port=options.port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        ws="none",
        interface="asgi3",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )


if __name__ == "__main__":
    main()
