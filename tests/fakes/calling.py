"""One request to the gateway's application, without a socket: a test says what the client does."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive


@dataclass
class Response:
    """What came back."""

    status: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def body_at_once(body: bytes) -> Receive:
    """A client that has sent everything, and waits."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    return receive


async def call(
    app: ASGIApp,
    receive: Receive,
    *,
    method: str = "POST",
    path: str = "/v1/chat/completions",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Have the application answer one request."""
    told = {"content-type": "application/json"} | dict(headers or {})
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("latin-1", "replace"),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in told.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    response = Response()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            response.status = message["status"]
            named = {name.decode(): value.decode() for name, value in message["headers"]}
            response.headers.update(named)
        else:
            response.body += message.get("body", b"")

    await app(scope, receive, send)
    return response
