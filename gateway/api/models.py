"""``GET /v1/models`` and ``GET /v1/models/{id}``: what a key may ask for, and nothing else."""

from collections.abc import Iterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.context import Context
from gateway.api.entering import tenant_of
from gateway.api.exchange import headers_of
from gateway.errors import ModelNotFound
from gateway.keys import Tenant, may_use
from gateway.wire.controls import PINS
from routing.vocabulary import Route

MAX_ECHO = 100  # characters of the client's own words in an error message


class Models:
    """Both routes.  A model that a key may not ask for does not exist for it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def every(self, request: Request) -> Response:
        """List them."""
        tenant = self._tenant(request)
        # Without keys all may pin, and nobody asked for lists that are three times as long.
        names = self._names_for(tenant, has_pins=tenant is not None and tenant.may_pin)
        data = [self._described(name) for name in names]
        return _reply({"object": "list", "data": data})

    async def one(self, request: Request) -> Response:
        """Describe one.  Raises ModelNotFound."""
        name: str = request.path_params["model"]
        tenant = self._tenant(request)
        may_pin = tenant is None or tenant.may_pin
        if name not in self._names_for(tenant, has_pins=may_pin):
            raise ModelNotFound(f"The model '{name[:MAX_ECHO]}' does not exist.", param="model")
        return _reply(self._described(name))

    def _tenant(self, request: Request) -> Tenant | None:
        return tenant_of(self._context, headers_of(request.scope))

    def _names_for(self, tenant: Tenant | None, *, has_pins: bool) -> Iterator[str]:
        for name in self._context.names:
            if may_use(tenant, name):
                yield name
                if has_pins and name in self._context.served:
                    yield from (f"{name}:{pin}" for pin in _pins_of(tenant))

    def _described(self, name: str) -> dict[str, object]:
        created = self._context.started_at
        return {"id": name, "object": "model", "created": created, "owned_by": "understudy"}


def _pins_of(tenant: Tenant | None) -> Iterator[str]:
    may_escalate = tenant is None or tenant.may_escalate
    return (pin for pin, route in PINS.items() if may_escalate or route is not Route.TEACHER)


def _reply(document: dict[str, object]) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json")
