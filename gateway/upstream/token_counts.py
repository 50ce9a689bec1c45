"""Asks a model's server how many tokens a request has."""

from collections.abc import Sequence

from gateway.errors import CannotCount, UpstreamError
from gateway.upstream.faults import NETWORK_ERRORS, fault_of, fault_of_status
from gateway.upstream.http1 import HttpClient
from gateway.upstream.openai import Endpoint
from gateway.wire.messages.counting import COUNT_ROUTES, CountRoute, count_in
from gateway.wire.messages.request import MessageRequest

MAX_REPLY_BYTES = 64 * 2**20  # vLLM tells each token
# Nothing is written: a server that takes longer will not say it at all.
MOST_SECONDS = 30.0
# Servers without the route, and vLLM where its model is none that chats.
_NO_SUCH_ROUTE = frozenset({404, 405, 501})
_API_VERSION = "/v1"


class TokenCounter:
    """One model, at one server or at several that are the same.

    What it last counted by is tried first.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._servers = [_Server(endpoint) for endpoint in endpoints]
        self._routes = list(COUNT_ROUTES)

    async def count(self, request: MessageRequest) -> int:
        """How many tokens it has.

        Raises CannotCount where the server has no route for that, UpstreamRefused where it blames
        the request, and UpstreamError where none of the servers can be asked.
        """
        for route in tuple(self._routes):
            found = await self._ask(route, request)
            if found is not None:
                self._routes.remove(route)
                self._routes.insert(0, route)
                return found
        raise CannotCount("The model's server has no route that counts tokens.")

    async def _ask(self, route: CountRoute, request: MessageRequest) -> int | None:
        *others, last = self._servers
        for server in others:
            try:
                return await server.ask(route, request)
            except UpstreamError as error:
                if not error.is_down:
                    raise
        return await last.ask(route, request)


class _Server:
    def __init__(self, endpoint: Endpoint) -> None:
        self._dialect = endpoint.dialect
        self._seconds = min(MOST_SECONDS, endpoint.timeout_seconds)
        base = endpoint.base_url.rstrip("/")
        headers = {"content-type": "application/json", **endpoint.authorization}
        self._clients = {
            route: HttpClient(
                (base.removesuffix(_API_VERSION) if route.is_at_root else base) + route.path,
                headers,
            )
            for route in COUNT_ROUTES
        }

    async def ask(self, route: CountRoute, request: MessageRequest) -> int | None:
        """Ask once; None where the server has no such route."""
        client = self._clients[route]
        try:
            status, reply = await client.post(
                route.body(request, self._dialect), seconds=self._seconds, most=MAX_REPLY_BYTES
            )
        except NETWORK_ERRORS as failure:
            raise fault_of(failure) from failure
        finally:
            client.close()  # it is asked too seldom for a connection to be kept
        if status in _NO_SUCH_ROUTE:
            return None
        if status != 200:
            raise fault_of_status(status, reply)
        return count_in(reply)
