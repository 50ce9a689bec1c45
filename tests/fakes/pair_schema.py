"""The published JSON Schema of pairs, held against every pair that a test looks at."""

import json
from functools import cache
from typing import Any

from jsonschema_rs import Draft202012Validator

from tests.architecture.source import ROOT

SCHEMA = ROOT / "docs" / "pair.schema.json"


@cache
def validator() -> Draft202012Validator:
    """The schema, compiled."""
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def valid_pair(line: bytes) -> dict[str, Any]:
    """The pair in a line of the journal.  Fails where it is not of the published form."""
    pair: dict[str, Any] = json.loads(line)["pair"]
    errors = [f"{error.instance_path}: {error.message}" for error in validator().iter_errors(pair)]
    assert not errors, errors
    return pair
