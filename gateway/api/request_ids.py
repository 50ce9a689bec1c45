"""The request's id under the name by which Anthropic's clients read it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OURS, _THEIRS = b"x-request-id", b"request-id"


class WithRequestId:
    """A route whose responses say the id twice."""

    def __init__(self, route: ASGIApp) -> None:
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                named = [(_THEIRS, value) for name, value in headers if name == _OURS]
                message = {**message, "headers": [*headers, *named]}
            await send(message)

        await self._route(scope, receive, send_named)
