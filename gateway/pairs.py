"""The record of one escalation, as the journal and the store hold it.

``request``, ``draft`` and ``answer`` are OpenAI payloads, byte for byte; ``draft`` is null where
the student wrote none.  Money is in US dollars, as exact decimals in text, null where unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gateway.answer import Answer
from gateway.facts import Leg
from gateway.wire.chat import Chat
from gateway.wire.raw import one_line
from routing.money import usd

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a pair comes from.  ``id`` tells pairs apart; ``time`` counts seconds from 1970."""

    id: str
    time: float
    request_id: str
    tenant: str | None
    cascade: str
    student_version: str
    teacher_model: str
    policy_version: str
    may_train: bool


def pair_record(provenance: Provenance, chat: Chat, answer: Answer, legs: Sequence[Leg]) -> bytes:
    """Encode one pair as JSON, on one line."""
    confidence = answer.verdict.confidence
    record = {
        "schema_version": SCHEMA_VERSION,
        "id": provenance.id,
        "time": provenance.time,
        "cascade": provenance.cascade,
        "tenant": provenance.tenant,
        "request_id": provenance.request_id,
        "served_by": answer.served_by,
        "reason": answer.verdict.reason,
        "confidence": None if confidence is None else confidence.value,
        "signals": dict(answer.verdict.signals),
        "propensity": 1.0,
        "student_version": provenance.student_version,
        "teacher_model": provenance.teacher_model,
        "policy_version": provenance.policy_version,
        "may_train": provenance.may_train,
        "legs": [_leg(leg) for leg in legs],
        "request": msgspec.Raw(one_line(chat.body)),
        "draft": None if answer.draft is None else msgspec.Raw(one_line(answer.draft.body)),
        "answer": msgspec.Raw(one_line(answer.completion.body)),
    }
    return msgspec.json.encode(record)


def _leg(leg: Leg) -> dict[str, object]:
    usage = leg.usage
    return {
        "role": leg.role,
        "input_tokens": usage and usage.input,
        "cached_input_tokens": usage and usage.cached_input,
        "output_tokens": usage and usage.output,
        "reasoning_tokens": usage and usage.reasoning,
        "cost_usd": None if leg.cost_pico is None else usd(leg.cost_pico),
        "seconds": leg.seconds,
        "error": leg.error,
    }
