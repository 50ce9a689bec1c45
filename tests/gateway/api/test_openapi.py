from starlette.requests import Request

from gateway.api.openapi import OpenApiDocument
from gateway.openapi.document import as_bytes


async def test_the_document_is_made_once_and_served_as_it_is() -> None:
    route, request = OpenApiDocument(), Request({"type": "http"})
    first, second = await route(request), await route(request)
    assert first.body == as_bytes()
    assert first.headers["content-type"] == "application/json"
    assert second.body is first.body
