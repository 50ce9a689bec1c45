"""The record of one escalation: what its fields say of the draft, the seam and the odds."""

import json
from typing import Any

import pytest

from gateway.answer_stream import Splice
from gateway.facts import ABORTED
from gateway.legs import Legs, Model
from gateway.pairs import SCHEMA_VERSION, Provenance, Rescue, pair_record
from gateway.wire.chat import Prefix, parse_chat
from routing.cascade import Defer
from routing.money import Price, Usage
from routing.vocabulary import Confidence, Handover, Reason, Role

REQUEST = b'{"model": "a",\n "messages": [{"role": "user", "content": "x"}], "seed": 1.50e3}'
DRAFT = b'{"choices": [{"message": {"content": "Ro"}}]}'
ANSWER = b'{"choices": [{"message": {"content": "Paris"}}]}'
PROVENANCE = Provenance(
    id="p2",
    time=1.5,
    request_id="r",
    tenant=None,
    cascade="a",
    student_version="s1",
    teacher_model="t",
    policy_version="v",
    may_train=True,
)


class Nobody:
    """Stands where a model is, and is not asked."""


def record(rescue: Rescue, legs: Legs | None = None) -> dict[str, Any]:
    line = pair_record(PROVENANCE, parse_chat(REQUEST), rescue, legs or Legs(lambda: 0.0))
    assert b"\n" not in line
    decoded: dict[str, Any] = json.loads(line)
    return decoded


def rescue(**changes: Any) -> Rescue:
    fields: dict[str, Any] = {"draft": DRAFT, "is_draft_complete": True, "answer": ANSWER}
    return Rescue(**(fields | {"reason": Reason.LOW_CONFIDENCE} | changes))


def test_a_whole_draft_is_a_rejected_answer() -> None:
    pair = record(rescue())
    assert pair["schema_version"] == SCHEMA_VERSION
    assert pair["draft"] == json.loads(DRAFT)
    assert pair["draft_complete"] is True
    assert pair["answer"] == json.loads(ANSWER)
    assert pair["splice"] is None
    assert pair["completes"] is None
    assert pair["propensity"] == 1.0
    assert pair["reason"] == "low_confidence"
    assert pair["served_by"] == "teacher"


def test_request_and_answers_are_kept_byte_for_byte() -> None:
    line = pair_record(PROVENANCE, parse_chat(REQUEST), rescue(), Legs(lambda: 0.0))
    for payload in (REQUEST.replace(b"\n", b" "), DRAFT, ANSWER):
        assert payload in line


def test_a_draft_that_was_cut_short_says_so() -> None:
    assert record(rescue(is_draft_complete=False))["draft_complete"] is False


def test_where_there_was_no_draft_there_is_none() -> None:
    pair = record(rescue(draft=None, is_draft_complete=False))
    assert pair["draft"] is None
    assert pair["draft_complete"] is False


@pytest.mark.parametrize("handover", [Handover.CONTINUE, Handover.RESTART])
def test_a_splice_says_where_it_is_and_what_was_out(handover: Handover) -> None:
    splice = Splice(handover, Prefix("Ro", tokens=1))
    pair = record(rescue(is_draft_complete=False, splice=splice, reason=Reason.LATE_DOUBT))
    assert pair["splice"] == {"handover": handover, "after_tokens": 1, "released": "Ro"}
    assert pair["reason"] == "late_doubt"


def test_a_draft_finished_later_names_its_pair_and_its_odds() -> None:
    pair = record(rescue(completes="p1", propensity=0.05))
    assert pair["id"] == "p2"
    assert pair["completes"] == "p1"
    assert pair["propensity"] == 0.05
    assert pair["draft_complete"] is True


def test_the_verdict_and_each_call_are_told() -> None:
    price = Price(input=2, cached_input=1, output=6, reasoning=6)
    legs = Legs(lambda: 2.0)
    legs.verdict = Defer(
        Reason.LOW_CONFIDENCE, Confidence(0.25), has_draft=True, signals={"min_probability": 0.1}
    )
    student = Model(Role.STUDENT, Nobody(), price)  # type: ignore[arg-type]
    teacher = Model(Role.TEACHER, Nobody(), None)  # type: ignore[arg-type]
    legs.note(student, 0.5, Usage(input=100, output=8, cached_input=40, reasoning=3), ABORTED)
    legs.note(teacher, 1.0, None, None)
    pair = record(rescue(), legs)
    assert pair["confidence"] == 0.25
    assert pair["signals"] == {"min_probability": 0.1}
    assert pair["legs"] == [
        {
            "role": "student",
            "input_tokens": 100,
            "cached_input_tokens": 40,
            "output_tokens": 8,
            "reasoning_tokens": 3,
            "cost_usd": "0.000000000208",
            "seconds": 1.5,
            "error": "aborted",
        },
        {
            "role": "teacher",
            "input_tokens": None,
            "cached_input_tokens": None,
            "output_tokens": None,
            "reasoning_tokens": None,
            "cost_usd": None,
            "seconds": 1.0,
            "error": None,
        },
    ]
