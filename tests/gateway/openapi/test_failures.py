from typing import Any

from gateway.errors import (
    GatewayError,
    MethodNotAllowed,
    UpstreamError,
    UpstreamRefused,
)
from gateway.openapi.document import document
from gateway.openapi.operations import GROUPS

# Roots of the tree, what any route answers to a wrong method, and what has a server's own words.
ELSEWHERE = {GatewayError, UpstreamError, MethodNotAllowed, UpstreamRefused}


def leaves(kind: type[GatewayError]) -> list[type[GatewayError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]


def test_every_error_of_the_tree_is_told_of_some_route() -> None:
    told = {(kind.status, kind.code) for group in GROUPS for kind in group.kinds}
    made = {(kind.status, kind.code) for kind in leaves(GatewayError) if kind not in ELSEWHERE}
    assert made == told


def test_an_error_tells_when_to_come_back_where_it_does() -> None:
    responses: Any = document()["components"]["responses"]  # type: ignore[index]  # an object
    assert "retry-after" in responses["Cascade503"]["headers"]
    assert "retry-after" in responses["Cascade429"]["headers"]
    assert "retry-after" not in responses["Cascade400"]["headers"]
