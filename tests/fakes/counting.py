"""A model server that counts tokens by some of the routes there are, and knows no other."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

NOT_FOUND = (404, {"detail": "Not Found"})


@dataclass
class CountingServer:
    """An ASGI application: ``replies`` has a status and a body for each path."""

    replies: Mapping[str, tuple[int, Any]]
    asked: list[tuple[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path = scope["path"]
        self.asked.append((path, json.loads(body)))
        self.keys.append(dict(scope["headers"]).get(b"authorization", b"").decode() or None)
        status, reply = self.replies.get(path, NOT_FOUND)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        await send({"type": "http.response.body", "body": content})
