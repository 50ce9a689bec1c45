"""``GET /openapi.json``: what this gateway accepts.  It is for everybody: it tells nothing of keys,
models or cascades."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response


class OpenApiDocument:
    """The route.  The document is made once, when it is first asked for: few processes ever are."""

    def __init__(self) -> None:
        self._body: bytes | None = None

    async def __call__(self, _: Request) -> Response:
        """The document."""
        if self._body is None:
            self._body = await asyncio.to_thread(_document)
        return Response(self._body, media_type="application/json")


def _document() -> bytes:
    from gateway.openapi.document import as_bytes  # 13 ms that no start has to wait for

    return as_bytes()
