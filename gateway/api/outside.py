"""Errors outside the life of a request: a path that is none, a wrong method, a small route's bug.

Each has the form of the protocol that its path belongs to.
"""

from collections.abc import Callable

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from gateway.api.exchange import headers_of, request_id
from gateway.api.wires import WIRES, wire_of
from gateway.errors import GatewayError, InternalError, MethodNotAllowed, NotFound
from gateway.wire.errors import error_headers, status_of
from gateway.wire.passing import PATHS


class ErrorForms:
    """Answers them; ``new_id`` makes a request's id."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id

    def serve(self, app: FastAPI) -> None:
        """Answer those of an application."""
        app.add_exception_handler(HTTPException, self._on_http_exception)
        app.add_exception_handler(GatewayError, self._on_gateway_error)
        app.add_exception_handler(Exception, self._on_bug)

    def _response(self, request: Request, error: GatewayError) -> Response:
        identity = request_id(headers_of(request.scope), self._new_id())
        body = wire_of(request.url.path).error_body(error, identity)
        headers = {**error_headers(error), "x-request-id": identity}
        return Response(body, status_of(error), headers)

    async def _on_http_exception(self, request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 405:
            where = f"{request.method} is not allowed on {request.url.path}."
            response = self._response(request, MethodNotAllowed(where))
            response.headers["allow"] = ", ".join(_methods(request))
            return response
        return self._response(request, NotFound(_nowhere(request.url.path)))

    async def _on_gateway_error(self, request: Request, error: Exception) -> Response:
        known = error if isinstance(error, GatewayError) else InternalError("?")
        return self._response(request, known)

    async def _on_bug(self, request: Request, _: Exception) -> Response:
        return self._response(request, InternalError("Internal error."))


def _methods(request: Request) -> list[str]:
    """What the path can be asked by: each of its routes knows its own methods alone."""
    found: set[str] = set()
    for route in request.app.router.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found)


def _nowhere(path: str) -> str:
    """Says so, and what may be wrong with the client's base URL."""
    message = f"There is no route {path}."
    if path.startswith("/v1/v1/"):
        return f"{message} Anthropic's clients want a base URL without /v1, OpenAI's with it once."
    if f"/v1{path}" in (*WIRES, *PATHS, "/v1/models"):
        return f"{message} The base URL of OpenAI's clients ends in /v1."
    return message
