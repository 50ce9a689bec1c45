"""``/v1/chat/completions`` but for asking: what clients had stored is listed, read and deleted."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.context import Context
from gateway.api.entering import enter, json_body, tenant_of, understood
from gateway.api.exchange import headers_of
from gateway.errors import NotFound
from gateway.keys import may_use
from gateway.stored_reading import Owner, StoredReader
from gateway.wire.stored import (
    Listing,
    Objects,
    Page,
    deleted_object,
    list_object,
    read_listing,
    read_update,
)

PATH = "/v1/chat/completions"
_ONE = f"{PATH}/{{completion_id}}"

_Handler = Callable[[Request, Owner], Awaitable[bytes]]


class StoredRoutes:
    """The routes.  A client sees its own tenant's completions, and nobody else's."""

    def __init__(self, context: Context, reader: StoredReader) -> None:
        self._context = context
        self._reader = reader

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(PATH, self._answering(self._list), methods=["GET"]),
            Route(_ONE, self._answering(self._retrieve), methods=["GET"]),
            Route(_ONE, self._answering(self._update), methods=["POST"]),
            Route(_ONE, self._answering(self._delete), methods=["DELETE"]),
            Route(f"{_ONE}/messages", self._answering(self._messages), methods=["GET"]),
        ]

    def _answering(self, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            with self._admitted(request) as owner:
                body = await handler(request, owner)
            headers = {"cache-control": "no-store"}
            return Response(body, media_type="application/json", headers=headers)

        return answer

    @contextmanager
    def _admitted(self, request: Request) -> Iterator[Owner]:
        """Whose completions these are; open requests are bounded as they are anywhere."""
        context = self._context
        tenant = tenant_of(context, headers_of(request.scope))
        context.open_requests += 1
        try:
            enter(context, tenant)
            cascades = [
                name
                for name, served in context.served.items()
                if served.is_keeping_completions and may_use(tenant, name)
            ]
            yield Owner(None if tenant is None else tenant.name, cascades)
        finally:
            context.keys.end(tenant)
            context.open_requests -= 1

    async def _list(self, request: Request, owner: Owner) -> bytes:
        listing = read_listing(request.scope["query_string"])
        return list_object(await self._reader.page(owner, listing))

    async def _retrieve(self, request: Request, owner: Owner) -> bytes:
        completion = await self._reader.completion(owner, request.path_params["completion_id"])
        return bytes(completion)

    async def _update(self, request: Request, owner: Owner) -> bytes:
        context, completion_id = self._context, request.path_params["completion_id"]
        body = await json_body(context, request.scope, request.receive)
        update = await understood(context, body, read_update)
        await self._reader.attach(
            owner,
            completion_id,
            update,
            lambda cascade: context.served[cascade].safekeeping,
        )
        return bytes(await self._reader.completion(owner, completion_id))

    async def _delete(self, request: Request, owner: Owner) -> bytes:
        completion_id = request.path_params["completion_id"]
        await self._reader.delete(owner, completion_id, self._context.epoch())
        return deleted_object(completion_id)

    async def _messages(self, request: Request, owner: Owner) -> bytes:
        listing = read_listing(request.scope["query_string"])
        messages = await self._reader.messages(owner, request.path_params["completion_id"])
        return list_object(_cut(messages, listing))


def _cut(messages: Objects, listing: Listing) -> Page:
    """The page of messages that is wanted."""
    ordered = list(messages) if listing.is_ascending else list(reversed(messages))
    if listing.after is not None:
        ids = [each for each, _ in ordered]
        if listing.after not in ids:
            raise NotFound("There is no such message to go on behind.", param="after")
        ordered = ordered[ids.index(listing.after) + 1 :]
    return Page(ordered[: listing.limit], len(ordered) > listing.limit)
