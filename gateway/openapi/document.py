"""The whole document, which the gateway serves and ``docs/openapi.json`` holds."""

import json
from importlib.metadata import version

from gateway.openapi.headers import OF_ERRORS, references, response_headers
from gateway.openapi.operations import GROUPS, paths
from gateway.openapi.operators import operator_schemas
from gateway.openapi.replies import error_schemas, reply_schemas
from gateway.openapi.requests import request_schemas
from gateway.openapi.structs import Schema

_ABOUT = (
    "An OpenAI-compatible gateway: a cheap student answers, and a teacher is asked only when the "
    "student is unsure. This describes what is accepted; what a model server makes of the fields "
    "that pass to it is its own. Beyond the schemas a request may be refused for what the "
    "operation's `x-refusals` list, `*` for any field. Integers are written without a "
    "point: `1`, and not `1.0`."
)


def document() -> Schema:
    """OpenAPI 3.1."""
    told = references(OF_ERRORS)
    responses = {name: each for one in GROUPS for name, each in one.components(told).items()}
    errors = {name: each for one in GROUPS for name, each in one.examples().items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Understudy",
            "version": version("understudy"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"xApiKey": []}, {}],
        "tags": [
            {"name": name}
            for name in ("answers", "stored completions", "pass-through", "models", "operators")
        ],
        "paths": paths(),
        "components": {
            "schemas": request_schemas() | reply_schemas() | operator_schemas() | error_schemas(),
            "responses": responses,
            "examples": errors,
            "headers": response_headers(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "xApiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def as_bytes() -> bytes:
    """The document as it is served."""
    return json.dumps(document(), separators=(",", ":")).encode()


def as_text() -> str:
    """The document as people read it, the same text whenever the code is the same."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
