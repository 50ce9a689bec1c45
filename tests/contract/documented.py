"""The gateway's own OpenAPI document, and a gateway to hold it against."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs

from gateway.openapi.document import document
from tests.fakes.any_server import any_server
from tests.fakes.serving import Stage, serving, stage
from tests.fakes.valkey import store_server

DOCUMENT: Mapping[str, Any] = document()
OBJECTIVE = {"kind": "escalation_rate", "at_most": 0.5}
ALL = ["embeddings", "tokenize", "detokenize", "score", "rerank"]


@contextlib.contextmanager
def whole_gateway(folder: Path) -> Iterator[Stage]:
    """A gateway in front of models that answer anything, with a Redis and stored completions.

    What ``support`` is held to may be changed, which changes nothing of the others.
    """
    (folder / "store").mkdir()
    with store_server(folder / "store") as store, serving(any_server) as models:
        settings = {"redis_url": store.url}
        with stage(
            folder,
            cascade={"stored": {"enabled": True}},
            others={"support": {"objective": OBJECTIVE}},
            settings=settings,
            models={"embedder": {"serves": ALL}},
            student_url=models,
            teacher_url=models,
        ) as scene:
            yield scene


def resolved(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference leads to, or the thing itself."""
    if "$ref" not in told:
        return told
    found: Any = DOCUMENT
    for step in told["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return resolved(found)


def operations() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Path, method and description of each."""
    for path, methods in DOCUMENT["paths"].items():
        for method, told in methods.items():
            yield path, method, told


def response_of(operation: Mapping[str, Any], status: int) -> Mapping[str, Any]:
    """What is said of a status; KeyError where nothing is."""
    responses = operation["responses"]
    is_other = str(status) not in responses and 400 <= status < 500
    return resolved(responses["4XX" if is_other else str(status)])


def faults(schema: Mapping[str, Any], value: object) -> list[str]:
    """What is wrong with a value."""
    whole = {**schema, "components": DOCUMENT["components"]}
    validator = jsonschema_rs.validator_for(whole)
    return [f"{each.instance_path}: {each.message}" for each in validator.iter_errors(value)]
