"""One audit, or one escalation with a whole draft, as an evaluation record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from distill.pairs import Audit, Pair
from gateway.errors import RequestError
from gateway.wire.chat import Chat, parse_chat
from gateway.wire.completion import Completion, read_completion, substance_of
from routing.comparators import Comparator, Question, Score
from understudy.draft_part import draft_part
from understudy.pairs.sealed import Seals

STUDENT, TEACHER = "student", "teacher"


class LeftOut(Exception):
    """Why there is no record of something: a word that is counted."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How records are made: what compares, what opens content, whose drafts are wanted.

    ``comparator`` is None where the cascade's own would ask somebody: then audits alone say.
    """

    comparator: Comparator | None
    seals: Seals
    student_version: str | None = None


def record_of(pair: Pair, comparison: Comparison) -> Mapping[str, Any]:
    """The record.  Raises LeftOut, and SealBroken where no key opens its content."""
    wanted = comparison.student_version
    if wanted is not None and pair.student_version != wanted:
        raise LeftOut("other_student")
    if not pair.draft_complete:
        raise LeftOut("draft_incomplete")
    if pair.splice is not None:
        raise LeftOut("spliced")
    content = comparison.seals.content_of(pair)
    if content is None:
        raise LeftOut("dropped")
    chat, draft = _chat(bytes(content.request), pair.group), _completion(content.draft_or_none)
    if chat.choices != 1 or len(draft.choices) != 1:
        raise LeftOut("several_choices")
    is_answered = not isinstance(pair, Audit) or pair.score is not None
    answer = _completion(bytes(content.answer)) if is_answered else None
    said = substance_of(draft.choices[0])
    taught = None if answer is None else substance_of(answer.choices[0])
    student = draft_part(draft, chat) | _outcome(pair, said, taught, comparison.comparator)
    student["version"] = pair.student_version
    teacher: dict[str, Any] = {"ok": taught is not None}
    if taught is not None:
        teacher["text"] = taught
    for role, part in ((STUDENT, student), (TEACHER, teacher)):
        if (cost := _cost(pair, role)) is not None:
            part["cost_usd"] = cost
    return {
        "id": pair.id,
        "cascade": pair.cascade,
        **({} if pair.group is None else {"group": pair.group}),
        "request": content.request,
        "weight": 1.0 / pair.propensity,
        "ok_by": TEACHER,
        "student": student,
        "teacher": teacher,
    }


def _outcome(
    pair: Pair, said: str, taught: str | None, comparator: Comparator | None
) -> dict[str, Any]:
    """Whether the draft is as good as the teacher's answer: an audit has said so already."""
    if isinstance(pair, Audit):
        return {"ok": pair.loss == 0, **({} if pair.score is None else {"score": pair.score})}
    if comparator is None:
        raise LeftOut("comparator_asks")
    score = comparator.begin(Question(), said, taught or "")
    if not isinstance(score, Score):
        raise LeftOut("comparator_asks")
    return {"ok": score.is_same(comparator.at_least), "score": score.value}


def _chat(request: bytes, group: str | None) -> Chat:
    try:
        return parse_chat(request, group)
    except RequestError:
        raise LeftOut("request_unreadable") from None


def _completion(body: bytes | None) -> Completion:
    if body is None:
        raise LeftOut("draft_incomplete")
    try:
        return read_completion(body)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        raise LeftOut("answer_unreadable") from None


def _cost(pair: Pair, role: str) -> float | None:
    """What a model's last call took that came to its end."""
    ended = [leg for leg in pair.legs if leg.role == role and leg.error is None]
    return float(ended[-1].cost_usd) if ended and ended[-1].cost_usd is not None else None
