"""The published form of an audit, held against what a gateway writes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from distill.pairs import read_audit
from gateway.ports import StreamKind
from routing.auditing import Known
from routing.vocabulary import Degraded, Reason
from tests.fakes.journals import all_records
from tests.fakes.pair_schema import AUDIT_SCHEMA, SCHEMA, valid_audit, validator
from tests.fakes.serving import Stage, stage, wait_until
from tests.fakes.upstream import Reply, completion

DOCUMENT = json.loads(AUDIT_SCHEMA.read_text(encoding="utf-8"))
PAIRS = json.loads(SCHEMA.read_text(encoding="utf-8"))
AUDITED: dict[str, Any] = {"audit": {"share": 1.0}}


def records(scene: Stage) -> list[bytes]:
    """What audits wrote, once they are over."""
    context = scene.gateway.context
    wait_until(lambda: not (context.open_requests or context.background))
    frames = all_records(scene.folder / "state")
    return [bytes(each.record) for each in frames if each.kind is StreamKind.AUDITS]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    with stage(tmp_path_factory.mktemp("audit"), cascade=dict(AUDITED)) as scene:
        scene.teacher.reply = Reply(body=completion("Lyon."))
        scene.ask(user="ann")
        (written,) = records(scene)
        yield written


def test_what_a_gateway_writes_is_of_the_published_form_and_can_be_read(record: bytes) -> None:
    told, read = valid_audit(record), read_audit(record)
    assert (read.kind, read.loss, read.score, read.propensity) == ("audit", 1, 0.0, 1.0)
    assert (read.student_version, read.served_by) == ("student-1", "student")
    assert read.content is not None
    assert json.loads(bytes(read.content.answer)) == told["content"]["answer"]
    assert read.consent.may_train


def test_an_audit_is_sealed_as_a_pair_is(tmp_path: Path) -> None:
    key = Fernet.generate_key().decode()
    with stage(tmp_path, cascade=dict(AUDITED), settings={"pairs_keys": key}) as scene:
        scene.ask()
        (written,) = records(scene)
        audit = valid_audit(written)
        assert audit["content"] is None
        assert b"capital of France" not in written
        assert b"capital of France" in Fernet(key).decrypt(audit["sealed"])
        assert (audit["loss"], audit["score"]) == (0, 1.0)


def test_no_member_may_be_missing(record: bytes) -> None:
    audit = valid_audit(record)
    assert set(audit) == set(DOCUMENT["required"]) == set(DOCUMENT["properties"])
    schema = validator(AUDIT_SCHEMA)
    for name in audit:
        assert not schema.is_valid({key: audit[key] for key in audit if key != name}), name


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "pair"},
        {"served_by": "teacher"},
        {"known": "escalated"},
        {"loss": 0.5},
        {"score": 1.5},
        {"propensity": 0},
        {"least": 0},
        {"draft_complete": False},
        {"degraded": "budget_spent"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_schema_refuses_what_is_of_another_form(record: bytes, change: dict[str, Any]) -> None:
    assert not validator(AUDIT_SCHEMA).is_valid(valid_audit(record) | change)


def test_an_audit_has_all_that_a_pair_has(record: bytes) -> None:
    """So that whoever reads pairs can read audits."""
    assert set(PAIRS["properties"]) < set(DOCUMENT["properties"])
    assert not validator().is_valid(valid_audit(record))  # and is none


def test_its_lists_are_the_vocabularys() -> None:
    properties = DOCUMENT["properties"]
    assert properties["reason"]["enum"] == [*(each.value for each in Reason), None]
    assert set(properties["known"]["enum"]) == {Known.AUDITED, Known.OWED}
    away = {Degraded.TEACHER_FAILED, Degraded.TEACHER_BUSY, None}
    assert set(properties["degraded"]["enum"]) == away


def test_every_field_is_described() -> None:
    assert [n for n, member in DOCUMENT["properties"].items() if "description" not in member] == []


def test_a_bare_prompt_is_a_request_too(record: bytes) -> None:
    audit = valid_audit(record)
    schema = validator(AUDIT_SCHEMA)
    for asked, is_valid in (({"prompt": "Once"}, True), ({"input": "Once"}, False)):
        content = audit["content"] | {"request": asked}
        assert schema.is_valid(audit | {"content": content}) is is_valid
