"""What operators see of objectives, and what they may set."""

from typing import Any

from gateway.openapi.structs import TEXT, Schema, array, maybe, record, ref
from gateway.steering.orders import objective_schema

_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def operator_schemas() -> dict[str, Schema]:
    """The components."""
    ordered: dict[str, Schema] = {"version": _COUNT, "by": maybe(TEXT), "at": maybe(_NUMBER)}
    entry: dict[str, Schema] = {
        **ordered,
        "before": maybe(ref("Objective")),
        "after": maybe(ref("Objective")),
        "is_restored": {"type": "boolean"},
    }
    return {
        **_objectives(),
        "SteeredCascade": _cascade(ordered),
        "SteeredCascades": record({"cascades": array(ref("SteeredCascade"))}, "cascades"),
        "ObjectiveHistory": record({"entries": array(record(entry, *entry))}, "entries"),
    }


def _objectives() -> dict[str, Schema]:
    """As a request is really read, each kind by itself."""
    whole = _untitled(objective_schema("#/components/schemas/{model}"))
    kinds: dict[str, Schema] = whole.pop("$defs")
    return {"Objective": whole, **kinds}


def _cascade(ordered: dict[str, Schema]) -> Schema:
    always = {
        "cascade": TEXT,
        "student_version": TEXT,
        "teacher_version": TEXT,
        "policy_version": TEXT,
        "objective": maybe(ref("Objective")),
        "threshold": maybe(_NUMBER),
        "line": TEXT,
        "missing": array(TEXT),
    }
    steered: dict[str, Schema] = {
        "is_in_force": {"type": "boolean"},
        "ordered": record(ordered | {"is_from_file": {"type": "boolean"}}, *ordered),
        "keeps_nothing": {"type": "boolean"},
        "revision": _COUNT,
        "epoch": _COUNT,
        "audit_probability": _NUMBER,
        "per_usd": maybe(_NUMBER),
        "cap_usd_per_hour": maybe(_NUMBER),
        "controller": {"type": "object"},
        "replica": {"type": "object"},
        "controller_says": maybe({"type": "object"}),
    }
    return record(
        always | steered, *always, description="Without an objective to steer by it is shorter."
    )


def _untitled(schema: Any) -> Any:
    """Without the titles, which say what names do."""
    if isinstance(schema, dict):
        return {key: _untitled(each) for key, each in schema.items() if key != "title"}
    return [_untitled(each) for each in schema] if isinstance(schema, list) else schema
