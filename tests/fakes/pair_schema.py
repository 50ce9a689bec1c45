"""The published JSON Schemas of pairs and audits, held against every one that a test looks at."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator

from tests.architecture.source import ROOT

SCHEMA = ROOT / "docs" / "pair.schema.json"
AUDIT_SCHEMA = ROOT / "docs" / "audit.schema.json"


@cache
def validator(schema: Path = SCHEMA) -> Draft202012Validator:
    """A schema, compiled."""
    return Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))


def valid_pair(line: bytes) -> dict[str, Any]:
    """The pair in a line of the journal.  Fails where it is not of the published form."""
    pair: dict[str, Any] = json.loads(line)["pair"]
    _check(pair, SCHEMA)
    return pair


def valid_audit(record: bytes) -> dict[str, Any]:
    """The audit that a record of the journal is.  Fails where it is not of the published form."""
    audit: dict[str, Any] = json.loads(record)
    _check(audit, AUDIT_SCHEMA)
    return audit


def _check(document: dict[str, Any], schema: Path) -> None:
    found = validator(schema).iter_errors(document)
    errors = [f"{error.instance_path}: {error.message}" for error in found]
    assert not errors, errors
