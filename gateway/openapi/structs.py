"""JSON Schemas of the structs by which requests are really read."""

from collections.abc import Mapping

import msgspec

Schema = dict[str, object]

# No value fits: for what a request may not hold.
NEVER: Schema = {"not": {}}
NULL: Schema = {"type": "null"}
TEXT: Schema = {"type": "string"}


def ref(name: str) -> Schema:
    """The component of that name."""
    return {"$ref": f"#/components/schemas/{name}"}


def derived(*kinds: type[msgspec.Struct]) -> dict[str, Schema]:
    """The schema of each struct, and of those inside it, by its class's name."""
    _, components = msgspec.json.schema_components(
        [_told(kind) for kind in kinds], ref_template="#/components/schemas/{name}"
    )
    for schema in components.values():
        for described in _named(schema, "properties").values():
            described.pop("default", None)  # all are null, which says nothing
        schema.pop("title", None)
    return components


def properties(schema: Schema) -> dict[str, Schema]:
    """The properties of an object's schema."""
    return dict(_named(schema, "properties"))


def record(
    described: Mapping[str, Schema], *required: str, is_closed: bool = False, **more: object
) -> Schema:
    """An object with these properties."""
    schema: Schema = {"type": "object", "properties": dict(described)}
    if required:
        schema["required"] = list(required)
    if is_closed:
        schema["additionalProperties"] = False
    return schema | more


def array(items: Schema, **more: object) -> Schema:
    """A list."""
    return {"type": "array", "items": items, **more}


def one_of(*values: object) -> Schema:
    """One of these values."""
    return {"enum": list(values)}


def either(*schemas: Schema) -> Schema:
    """Any of these."""
    return {"anyOf": list(schemas)}


def maybe(schema: Schema) -> Schema:
    """This, or null."""
    return either(schema, NULL)


def _told(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The struct without fields that stay undecoded: what they hold is said elsewhere."""
    fields = msgspec.structs.fields(kind)
    if all(field.default is msgspec.NODEFAULT or field.default is None for field in fields):
        return kind
    decoded = [field for field in fields if field.type is not msgspec.Raw]
    twin = msgspec.defstruct(
        kind.__name__,
        [
            (each.name, each.type) if each.required else (each.name, each.type, each.default)
            for each in decoded
        ],
    )
    twin.__doc__ = kind.__doc__
    return twin


def _named(schema: Schema, name: str) -> dict[str, Schema]:
    found = schema.get(name)
    return found if isinstance(found, dict) else {}
