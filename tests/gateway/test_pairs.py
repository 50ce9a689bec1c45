"""The record of one escalation: what its fields say of the draft, the seam and the odds."""

import json
from typing import Any

import pytest

from gateway.answer_stream import Splice
from gateway.facts import ABORTED
from gateway.legs import Charge, Legs, Model
from gateway.outcomes import Outcome
from gateway.pairs import (
    SCHEMA_VERSION,
    Pair,
    Provenance,
    Rescue,
    Source,
    content_of,
    pair_record,
)
from gateway.safekeeping import Kept, Safekeeping
from gateway.trace_context import UNTRACED
from gateway.wire.chat import Prefix, parse_chat
from routing.cascade import Defer
from routing.money import Price, Usage
from routing.vocabulary import Confidence, Handover, Reason, Role

REQUEST = b'{"model": "a",\n "messages": [{"role": "user", "content": "x"}], "seed": 1.50e3}'
DRAFT = b'{"choices": [{"message": {"content": "Ro"}}]}'
ANSWER = b'{"choices": [{"message": {"content": "Paris"}}]}'
PROVENANCE = Provenance(
    source=Source(
        cascade="a",
        student_version="s1",
        teacher_model="t",
        teacher_version="t-2",
        teacher_outputs_may_train=True,
    ),
    policy_version="v",
    id="p2",
    time=1.5,
    request_id="r",
    tenant="ann",
    tenant_may_train=False,
)


class Nobody:
    """Stands where a model is, and is not asked."""


def line(rescue: Rescue, legs: Legs | None = None, kept: Kept | None = None) -> bytes:
    chat = parse_chat(REQUEST)
    kept = kept or Safekeeping().keep(content_of(chat, rescue))
    return pair_record(Pair(PROVENANCE, rescue, kept), chat, legs or Legs(lambda: 0.0))


def record(rescue: Rescue, legs: Legs | None = None, kept: Kept | None = None) -> dict[str, Any]:
    written = line(rescue, legs, kept)
    assert b"\n" not in written
    decoded: dict[str, Any] = json.loads(written)
    return decoded


def rescue(**changes: Any) -> Rescue:
    fields: dict[str, Any] = {"draft": DRAFT, "is_draft_complete": True, "answer": ANSWER}
    return Rescue(**(fields | {"reason": Reason.LOW_CONFIDENCE} | changes))


def test_a_whole_draft_is_a_rejected_answer() -> None:
    pair = record(rescue())
    assert pair["schema_version"] == SCHEMA_VERSION
    assert pair["content"]["draft"] == json.loads(DRAFT)
    assert pair["draft_complete"] is True
    assert pair["content"]["answer"] == json.loads(ANSWER)
    assert pair["content"]["released"] is None
    assert pair["splice"] is None
    assert pair["completes"] is None
    assert pair["propensity"] == 1.0
    assert pair["reason"] == "low_confidence"
    assert pair["served_by"] == "teacher"


def test_request_and_answers_are_kept_byte_for_byte() -> None:
    written = line(rescue())
    for payload in (REQUEST.replace(b"\n", b" "), DRAFT, ANSWER):
        assert payload in written


def test_what_was_agreed_and_who_was_asked_is_told() -> None:
    pair = record(rescue())
    assert pair["consent"] == {"tenant_may_train": False, "teacher_outputs_may_train": True}
    assert (pair["teacher_model"], pair["teacher_version"]) == ("t", "t-2")
    assert (pair["student_version"], pair["policy_version"]) == ("s1", "v")
    assert (pair["tenant"], pair["is_stream"]) == ("ann", False)


@pytest.mark.parametrize(
    "kept", [Kept(sealed="gAAAA"), Kept(dropped="redactor_failed", redactor="pii")]
)
def test_where_the_content_is_not_in_clear_nothing_of_it_is(kept: Kept) -> None:
    written = line(rescue(), kept=kept)
    assert b"Paris" not in written
    pair = json.loads(written)
    assert pair["content"] is None
    assert (pair["sealed"], pair["dropped"]) == (kept.sealed, kept.dropped)
    assert pair["redactor"] == kept.redactor


def test_a_draft_that_was_cut_short_says_so() -> None:
    assert record(rescue(is_draft_complete=False))["draft_complete"] is False


def test_where_there_was_no_draft_there_is_none() -> None:
    pair = record(rescue(draft=None, is_draft_complete=False))
    assert pair["content"]["draft"] is None
    assert pair["draft_complete"] is False


@pytest.mark.parametrize("handover", [Handover.CONTINUE, Handover.RESTART])
def test_a_splice_says_where_it_is_and_what_was_out(handover: Handover) -> None:
    splice = Splice(handover, Prefix("Ro", tokens=1))
    pair = record(rescue(is_draft_complete=False, splice=splice, reason=Reason.LATE_DOUBT))
    assert pair["splice"] == {"handover": handover, "after_tokens": 1, "after_characters": 2}
    assert pair["content"]["released"] == "Ro"
    assert pair["reason"] == "late_doubt"


def test_a_draft_finished_later_names_its_pair_and_its_odds() -> None:
    pair = record(rescue(completes="p1", propensity=0.05))
    assert pair["id"] == "p2"
    assert pair["completes"] == "p1"
    assert pair["propensity"] == 0.05
    assert pair["draft_complete"] is True


def test_the_verdict_and_each_call_are_told() -> None:
    price = Price(input=2, cached_input=1, output=6, reasoning=6)
    times = iter([0.5, 1.0, 2.0, 2.0])
    legs = Legs(lambda: next(times))
    legs.verdict = Defer(
        Reason.LOW_CONFIDENCE, Confidence(0.25), has_draft=True, signals={"min_probability": 0.1}
    )
    student = Model(Role.STUDENT, Nobody(), price)  # type: ignore[arg-type]
    teacher = Model(Role.TEACHER, Nobody(), None)  # type: ignore[arg-type]
    charges = [Charge(model, 0, legs.clock(), UNTRACED) for model in (student, teacher)]
    usage = Usage(input=100, output=8, cached_input=40, reasoning=3)
    legs.note(charges[0], Outcome(usage, ABORTED, is_estimated=True))
    legs.note(charges[1], Outcome(None))
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
            "estimated": True,
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
            "estimated": False,
        },
    ]
