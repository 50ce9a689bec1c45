"""``GET /v1/models``: the cascades, under the names that clients ask for."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.context import Context


class Models:
    """The route.  Its body never changes while the process runs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        created = context.started_at
        data = [
            {"id": name, "object": "model", "created": created, "owned_by": "understudy"}
            for name in context.served
        ]
        self._body = msgspec.json.encode({"object": "list", "data": data})

    async def __call__(self, request: Request) -> Response:
        """List them, for those who have a key."""
        self._context.keys.tenant(request.headers.get("authorization"))
        return Response(self._body, media_type="application/json")
