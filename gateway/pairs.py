"""The record of one escalation, as the journal and the store hold it: docs/pair.schema.json.

What a pair says of a request is in clear; what the request and its answers say is its ``content``,
which may have been redacted, sealed or dropped before it comes here.  Money is in US dollars, as
exact decimals in text, null where unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from gateway.answer_stream import Splice
from gateway.facts import Leg
from gateway.legs import Legs
from gateway.safekeeping import Kept
from gateway.wire.chat import Chat
from gateway.wire.raw import one_line
from routing.cascade import Verdict
from routing.money import usd
from routing.vocabulary import Reason, Role

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class Source:
    """What all pairs of one cascade say alike."""

    cascade: str
    student_version: str
    teacher_model: str
    teacher_version: str
    teacher_outputs_may_train: bool


# Each escalation has one of each: structs are made in a fifth of the time of frozen dataclasses.
class Provenance(Struct, frozen=True):
    """Where a pair comes from.  ``id`` tells pairs apart; ``time`` counts seconds from 1970."""

    source: Source
    policy_version: str
    id: str
    time: float
    request_id: str
    tenant: str | None
    tenant_may_train: bool


class Rescue(Struct, frozen=True):
    """What one escalation came to.

    ``draft`` and ``answer`` are chat completions; ``draft`` is None where there was none, and not
    complete where it was cut short: then it is no label and no rejected answer.  ``propensity`` is
    the probability with which a complete draft was to be had; ``samples`` how many drafts it was
    chosen from.  ``splice`` tells a teacher's answer
    that goes on from the draft, which is no training target, from one that stands alone.
    ``completes`` names the pair whose draft this is, now that it is complete.
    """

    draft: bytes | None
    is_draft_complete: bool
    answer: bytes
    reason: Reason | None
    splice: Splice | None = None
    propensity: float = 1.0
    samples: int = 1
    completes: str | None = None


def content_of(chat: Chat, rescue: Rescue) -> bytes:
    """What the client and the models said: OpenAI payloads, byte for byte, but for line breaks.

    A line break between two tokens of JSON would end a line of the journal: it is made a blank.
    """
    splice = rescue.splice
    content = {
        "request": msgspec.Raw(one_line(chat.body)),
        "draft": None if rescue.draft is None else msgspec.Raw(one_line(rescue.draft)),
        "answer": msgspec.Raw(one_line(rescue.answer)),
        "released": None if splice is None else splice.prefix.text,
    }
    return msgspec.json.encode(content)


class Pair(Struct, frozen=True):
    """One escalation, with its content as it may be written."""

    provenance: Provenance
    rescue: Rescue
    kept: Kept


def pair_record(pair: Pair, chat: Chat, legs: Legs) -> bytes:
    """Encode one pair as JSON, on one line."""
    return msgspec.json.encode(members_of(pair, chat, legs.verdict, legs.made))


def members_of(
    pair: Pair, chat: Chat, verdict: Verdict | None, legs: Sequence[Leg]
) -> dict[str, object]:
    """What a record says, by name."""
    provenance, rescue, kept = pair.provenance, pair.rescue, pair.kept
    source = provenance.source
    confidence = None if verdict is None else verdict.confidence
    merit = None if verdict is None else verdict.merit
    return {
        "schema_version": SCHEMA_VERSION,
        "id": provenance.id,
        "completes": rescue.completes,
        "time": provenance.time,
        "cascade": source.cascade,
        "tenant": provenance.tenant,
        "request_id": provenance.request_id,
        "is_stream": chat.is_stream,
        "served_by": Role.TEACHER,
        "reason": rescue.reason,
        "group": chat.group,
        "confidence": None if confidence is None else confidence.value,
        "merit": None if merit is None else merit.value,
        "signals": {} if verdict is None else dict(verdict.signals),
        "propensity": rescue.propensity,
        "samples": rescue.samples,
        "student_version": source.student_version,
        "teacher_model": source.teacher_model,
        "teacher_version": source.teacher_version,
        "policy_version": provenance.policy_version,
        "consent": {
            "tenant_may_train": provenance.tenant_may_train,
            "teacher_outputs_may_train": source.teacher_outputs_may_train,
        },
        "legs": [_leg(leg) for leg in legs],
        "draft_complete": rescue.is_draft_complete,
        "splice": None if rescue.splice is None else _splice(rescue.splice),
        "redactor": kept.redactor,
        "dropped": kept.dropped,
        "content": None if kept.content is None else msgspec.Raw(kept.content),
        "sealed": kept.sealed,
    }


def _splice(splice: Splice) -> Mapping[str, object]:
    return {
        "handover": splice.handover,
        "after_tokens": splice.prefix.tokens,
        "after_characters": len(splice.prefix.text),
    }


def _leg(leg: Leg) -> Mapping[str, object]:
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
        "estimated": leg.is_estimated,
    }
