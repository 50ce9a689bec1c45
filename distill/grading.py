"""What there is to grade: the student's drafts beside the answers of another, mostly the teacher's.

Of records only those that the policy keeps: what is escalated is not served, and its pairs have the
draft and the answer anyway.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from distill.dataset import Example, Message, said_in
from distill.rubric import VERSION, Grade, Question, Verdict
from evaluation.records import Record

# What a record that holds a prompt's text alone was asked.
_USER = "user"


@dataclass(frozen=True, slots=True)
class Subject:
    """One draft to be graded; ``ok`` is what else says how good it is, in [0, 1] or None."""

    id: str
    question: Question
    ok: float | None = None

    @property
    def digest(self) -> str:
        """Tells what was graded from anything else of the same id."""
        question = self.question
        told = [list(question.prompt), question.draft, question.answer, VERSION]
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]


def subjects_in(examples: Iterable[Example]) -> list[Subject]:
    """The rejected drafts of rows of preferences, each beside what was chosen."""
    return [
        Subject(
            example.id,
            Question(example.prompt, said_in(example.rejected), said_in(example.answer)),
        )
        for example in examples
        if example.rejected is not None
    ]


@dataclass(frozen=True, slots=True)
class Gathered:
    """The drafts of records, and how many records have none to grade, by cause."""

    subjects: Sequence[Subject]
    escalated: int
    without_texts: int


def subjects_of(records: Iterable[Record], is_kept: Sequence[bool]) -> Gathered:
    """The kept drafts of evaluation records, each beside the teacher's answer."""
    subjects, escalated, without_texts = [], 0, 0
    for record, kept in zip(records, is_kept, strict=True):
        if not kept:
            escalated += 1
            continue
        prompt = _prompt_of(record)
        draft, answer = record.student.text, record.teacher.text
        if not prompt or draft is None or answer is None:
            without_texts += 1
            continue
        ok = float(record.student.ok)
        subjects.append(Subject(record.id, Question(prompt, draft, answer), ok))
    return Gathered(subjects, escalated, without_texts)


def _prompt_of(record: Record) -> tuple[Message, ...]:
    request: Any = record.request
    messages = request.get("messages") if isinstance(request, dict) else None
    if isinstance(messages, list) and all(isinstance(each, dict) for each in messages):
        return tuple(messages)
    return ({"role": _USER, "content": record.prompt},) if record.prompt else ()


def grade_document(subject: Subject, grade: Grade, judge: str) -> dict[str, Any]:
    """One line of the file of grades; ``score`` is the reward, null where there is none."""
    return {
        "id": subject.id,
        "verdict": grade.verdict.value,
        "score": None if grade.score is None else round(grade.score, 6),
        "orders": [order.document() for order in grade.orders],
        "ok": subject.ok,
        "rubric": VERSION,
        "judge": judge,
        "subject": subject.digest,
    }


class _Order(msgspec.Struct):
    first: str
    draft: float
    answer: float
    equal: float


class GradeLine(msgspec.Struct):
    """A line of a file of grades, as far as it is read back."""

    id: str
    verdict: Verdict
    score: float | None
    orders: list[_Order]
    rubric: str
    judge: str
    subject: str = ""
    ok: float | None = None
