from typing import Annotated, Any

import msgspec

from gateway.openapi.structs import NEVER, derived, either, maybe, record


class Inner(msgspec.Struct):
    size: Annotated[int, msgspec.Meta(ge=1, le=9)] | None = None


class Outer(msgspec.Struct):
    """What it is."""

    name: str
    inner: Inner | None = None
    raw: msgspec.Raw = msgspec.Raw(b"null")


def test_a_struct_s_schema_has_its_bounds_and_those_of_what_is_inside() -> None:
    found: Any = derived(Outer)
    assert found.keys() == {"Outer", "Inner"}
    size = {"type": "integer", "minimum": 1, "maximum": 9}
    assert found["Inner"]["properties"] == {"size": maybe(size)}
    assert found["Outer"]["required"] == ["name"]
    assert found["Outer"]["description"] == "What it is."
    assert found["Outer"]["properties"]["inner"] == maybe({"$ref": "#/components/schemas/Inner"})


def test_what_stays_undecoded_is_left_out() -> None:
    found: Any = derived(Outer)
    assert found["Outer"]["properties"].keys() == {"name", "inner"}


def test_a_record_is_open_unless_it_is_closed() -> None:
    assert record({"a": NEVER}) == {"type": "object", "properties": {"a": NEVER}}
    closed = record({"a": {}}, "a", is_closed=True)
    assert closed["required"] == ["a"]
    assert closed["additionalProperties"] is False
    assert either(closed, NEVER) == {"anyOf": [closed, NEVER]}
