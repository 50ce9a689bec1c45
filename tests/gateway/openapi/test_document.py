"""The document as a whole, held against what reads requests."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.errors import RequestError
from gateway.openapi.document import as_bytes, document
from gateway.wire.chat import parse_chat
from gateway.wire.reserved import OPERATOR_ONLY

SCHEMAS: Any = document()["components"]["schemas"]  # type: ignore[index]  # an object


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    whole: Any = document()
    led = set(references(whole))
    for each in led:
        found = whole
        for step in each.removeprefix("#/").split("/"):
            found = found[step]
    assert {f"#/components/schemas/{name}" for name in SCHEMAS} <= led


def test_what_is_served_is_the_document() -> None:
    assert json.loads(as_bytes()) == json.loads(json.dumps(document()))


@pytest.mark.parametrize("name", ["n", "top_logprobs"])
def test_a_bound_is_the_parser_s(name: str) -> None:
    number, _ = SCHEMAS["ChatBody"]["properties"][name]["anyOf"]
    for value, is_good in (
        (number["minimum"], True),
        (number["maximum"], True),
        (number["minimum"] - 1, False),
        (number["maximum"] + 1, False),
    ):
        assert is_taken({"logprobs": True, name: value}) is is_good


@pytest.mark.parametrize("name", sorted(OPERATOR_ONLY))
def test_what_only_an_operator_may_set_is_refused_and_said_so(name: str) -> None:
    assert SCHEMAS["ChatBody"]["properties"][name] == {"$ref": "#/components/schemas/OperatorOnly"}
    assert not is_taken({name: None})


def is_taken(fields: dict[str, Any]) -> bool:
    asked = {"model": "m", "messages": [{"role": "user", "content": "?"}], **fields}
    try:
        parse_chat(json.dumps(asked).encode())
    except RequestError:
        return False
    return True
