"""Evaluation records: JSON lines, plain or gzipped, to typed values and to columns of numbers.

One line is one request with both models' answers.  What a reader here does not know it skips, so
that a record may carry more.  Records are read one at a time: no prompt stays in memory unless the
caller keeps it.
"""

import gzip
import json
import math
import re
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from evaluation.errors import RecordError
from evaluation.outcomes import Floats, Integers, Outcomes
from routing import Draft, signals_of
from routing.signals import AGREEMENT, EARLIER_KEPT, SIGNAL_NAMES

MAX_LINE_BYTES = 16 * 2**20  # a record of 100,000 tokens with top-20 log-probabilities fits
# Squares and sums of so many of these are still numbers; servers' lowest float stands for "none".
MOST_SIGNAL = 1e100
LEAST_WEIGHT, MOST_WEIGHT = 1e-12, 1e12
NO_GROUP = -1
EVIDENCE_PREFIX = "evidence:"

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PLACE = re.compile(r"(?P<text>.*) - at `(?:key in )?\$(?P<key>[^`]*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<key>[^`]*)`")


class StudentPart(msgspec.Struct, frozen=True, kw_only=True):
    """The draft, the evidence that came with it, and how good it was.

    ``ok`` lies in [0, 1].  ``token_logprobs`` has shape (t,), ``top_logprobs`` (t, k), most likely
    first; a token whose log-probability was not reported is None.  ``answer_span`` is the half-open
    range of tokens to judge, all of them where absent.  ``signals`` holds further evidence, and
    ``samples`` says how many drafts were asked for to have it; ``sampling`` is how it was drawn.
    """

    ok: bool | float
    text: str | None = None
    tokens: tuple[str, ...] | None = None
    token_logprobs: tuple[float | None, ...] | None = None
    top_logprobs: tuple[tuple[float | None, ...] | None, ...] | None = None
    answer_span: tuple[int, int] | None = None
    signals: dict[str, bool | float | None] | None = None
    finish_reason: str | None = None
    end_logprob: float | None = None
    complete: bool | None = None
    samples: int | None = None
    sampling: dict[str, Any] | None = None
    version: str | None = None
    cost_usd: float | None = None


class AgainPart(msgspec.Struct, frozen=True, kw_only=True):
    """A second answer of the teacher's, and whether it says the same as the first."""

    agrees: bool | float | None = None


class TeacherPart(msgspec.Struct, frozen=True, kw_only=True):
    """The teacher's answer and how good it was; ``ok`` lies in [0, 1], and may be assumed."""

    ok: bool | float
    ok_by: str | None = None
    text: str | None = None
    again: AgainPart | None = None
    cost_usd: float | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One request with both answers.

    ``weight`` is the inverse of the probability with which the record was drawn; ``request`` is the
    OpenAI request as it came, where there was one; ``cascade`` names who was asked.  ``ok_by`` says
    who found the student's answer acceptable: ``teacher`` where its own answer was the measure.
    ``made_with`` are digests of what the record depends on beside its question.
    """

    id: str
    student: StudentPart
    teacher: TeacherPart
    cascade: str | None = None
    group: str | None = None
    prompt: str | None = None
    request: Any = None
    weight: float | None = None
    ok_by: str | None = None
    made_with: dict[str, Any] | None = None


def read_records(path: Path) -> Iterator[Record]:
    """The records of a JSON-lines file, plain or gzipped, one at a time; blank lines are skipped.

    JSON of Python's own making may hold NaN and Infinity, which are read as such.  Raises
    RecordError, which names file, line and key, for a record that cannot be right, an id that
    stands there twice (the same evidence must not count twice), and a file without any record.
    """
    return (record for record, _ in records_and_lines(path))


def records_and_lines(path: Path) -> Iterator[tuple[Record, bytes]]:
    """The same with each record's line as it stands there."""
    seen: dict[str, int] = {}
    for number, line in _numbered_lines(path):
        where = f"{path}, line {number}"
        record = _parsed(line, where)
        if record.id in seen:
            raise RecordError(
                f"{where}, id: {record.id!r} stands in line {seen[record.id]} already"
            )
        seen[record.id] = number
        yield record, line
    if not seen:
        raise RecordError(f"{path}: holds no record")


def draft_of(student: StudentPart) -> Draft:
    """What routing judges: the evidence within the answer's span.

    A log-probability that was not reported becomes NaN, with which no token is evidence.  Of a
    draft that was not cut short, the token behind the span is the one that ended it.
    """
    logprobs = student.token_logprobs or ()
    first, last = span_of(student)
    rows = [row or () for row in (student.top_logprobs or ())[first:last]]
    end = student.end_logprob
    if end is None and last < len(logprobs) and student.finish_reason != "length":
        end = logprobs[last]
    return Draft(
        token_logprobs=tuple(map(_reported, logprobs[first:last])),
        best_logprobs=tuple(_reported(row[0]) for row in rows if row),
        second_logprobs=tuple(_reported(row[1]) for row in rows if len(row) > 1),
        text=student.text or "",
        finish_reason=student.finish_reason,
        end_logprob=end,
        agreement=_agreement(student),
    )


def span_of(student: StudentPart) -> tuple[int, int]:
    """Which of its tokens are the answer's: from the first of them to before the second number."""
    return student.answer_span or (0, len(student.token_logprobs or ()))


def samples_in(student: StudentPart) -> int:
    """How many drafts the one was chosen from, as far as the record says."""
    return student.samples or 1


def _agreement(student: StudentPart) -> float | None:
    """The share of so many drafts that agree; of a number that nobody tells it is no evidence."""
    told = (student.signals or {}).get(AGREEMENT)
    return None if told is None or samples_in(student) == 1 else float(told)


def earlier_kept_in(student: StudentPart) -> float | None:
    """What earlier turns of its conversation came to; None where it was the first, or is not told.

    No draft tells of that: it is what the gateway that wrote the record knew.
    """
    told = (student.signals or {}).get(EARLIER_KEPT)
    return None if told is None or not 0.0 <= told <= 1.0 else float(told)


def signals_in(record: Record) -> dict[str, float]:
    """All evidence of the record by name: what routing finds, and what the record itself brings.

    What routing can compute wins over a value of the same name, as only routing's is to be had
    over HTTP.  What no gateway can see is named ``evidence:<name>``.
    """
    own = record.student.signals or {}
    brought = {
        _name_of(name, float(value)): float(value)
        for name, value in own.items()
        if value is not None
    }
    return {**brought, **signals_of(draft_of(record.student))}


def _name_of(name: str, value: float) -> str:
    """The name itself where it is one of routing's, and may be."""
    return name if name in SIGNAL_NAMES and 0.0 <= value <= 1.0 else f"{EVIDENCE_PREFIX}{name}"


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The records' numbers, each of shape (n,); what a record lacks is NaN.

    ``group`` holds places in ``group_names``, NO_GROUP where the record names none.  ``versions``
    are the students' that made the drafts: a policy is for one.
    """

    ids: tuple[str, ...]
    group_names: tuple[str, ...]
    group: Integers
    outcomes: Outcomes
    signals: Mapping[str, Floats]
    student_usd: Floats
    teacher_usd: Floats
    versions: frozenset[str]

    @property
    def n(self) -> int:
        """How many records."""
        return len(self.ids)

    def take(self, places: npt.NDArray[Any]) -> "Columns":
        """Those records alone: ``places`` are indices or a mask."""
        chosen = np.arange(self.n)[places]
        return Columns(
            ids=tuple(self.ids[place] for place in chosen),
            group_names=self.group_names,
            group=self.group[chosen],
            outcomes=self.outcomes.take(chosen),
            signals={name: values[chosen] for name, values in self.signals.items()},
            student_usd=self.student_usd[chosen],
            teacher_usd=self.teacher_usd[chosen],
            versions=self.versions,
        )


def columns_of(
    records: Iterable[Record], signals: Callable[[Record], Mapping[str, float]] = signals_in
) -> Columns:
    """Gather the numbers of ``records``, at least one; texts are not kept.

    ``signals`` says what evidence a record holds.
    """
    ids: list[str] = []
    groups: dict[str, int] = {}
    group = array("q")
    numbers = {name: array("d") for name in ("student", "teacher", "weight", "drafts", "answers")}
    found: dict[str, array[float]] = {}
    versions: set[str] = set()
    for place, record in enumerate(records):
        ids.append(record.id)
        name = record.group
        group.append(NO_GROUP if name is None else groups.setdefault(name, len(groups)))
        numbers["student"].append(float(record.student.ok))
        numbers["teacher"].append(float(record.teacher.ok))
        numbers["weight"].append(1.0 if record.weight is None else record.weight)
        numbers["drafts"].append(_reported(record.student.cost_usd))
        numbers["answers"].append(_reported(record.teacher.cost_usd))
        if record.student.version is not None:
            versions.add(record.student.version)
        for name, value in signals(record).items():
            column = found.setdefault(name, array("d"))
            column.extend([math.nan] * (place - len(column)))
            column.append(value)
    for column in found.values():
        column.extend([math.nan] * (len(ids) - len(column)))
    taken = {name: np.array(values, dtype=np.float64) for name, values in numbers.items()}
    return Columns(
        ids=tuple(ids),
        group_names=tuple(groups),
        group=np.array(group, dtype=np.int64),
        outcomes=Outcomes(taken["student"], taken["teacher"], taken["weight"]),
        signals={name: np.array(found[name], dtype=np.float64) for name in sorted(found)},
        student_usd=taken["drafts"],
        teacher_usd=taken["answers"],
        versions=frozenset(versions),
    )


def _reported(value: float | None) -> float:
    return math.nan if value is None else float(value)


# --- lines ----------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(len(_GZIP)) == _GZIP
            raw.seek(0)
            if is_gzip:
                with gzip.open(raw) as unpacked:
                    yield unpacked  # type: ignore[misc]  # GzipFile reads as BinaryIO does
            else:
                yield raw
    except (OSError, EOFError, zlib.error) as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error


def _numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with _opened(path) as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise RecordError(f"{path}, line {number}: is longer than {MAX_LINE_BYTES} bytes")
            if number == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            if line.strip():
                yield number, line


# --- one record -----------------------------------------------------------------------------

_decoder = msgspec.json.Decoder(Record)


def _parsed(line: bytes, where: str) -> Record:
    try:
        record = _decoded(line)
    except msgspec.ValidationError as error:
        raise RecordError(f"{where}, {_named(str(error))}") from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: is not JSON: {error}") from None
    for key, fault in _faults(record):
        raise RecordError(f"{where}, {key}: {fault}")
    return record


def _decoded(line: bytes) -> Record:
    try:
        return _decoder.decode(line)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # Python's json writes NaN and Infinity, which JSON does not have and log-probabilities do.
        return msgspec.convert(json.loads(line), Record)


def _named(message: str) -> str:
    """``key: what is wrong`` from msgspec's message, which ends in the place."""
    place = _PLACE.fullmatch(message)
    text, key = (place["text"], place["key"].lstrip(".")) if place else (message, "")
    if missing := _MISSING.match(text):
        return f"{'.'.join(filter(None, [key, missing['key']]))}: is missing"
    return f"{key or 'record'}: {text[:1].lower()}{text[1:]}"


def _faults(record: Record) -> Iterator[tuple[str, str]]:
    """What types do not say: ranges and lengths that must agree."""
    for key, ok in (("student.ok", record.student.ok), ("teacher.ok", record.teacher.ok)):
        if not 0.0 <= ok <= 1.0:  # NaN fails this comparison too
            yield key, f"must lie in [0, 1], got {ok!r}"
    if not record.id:
        yield "id", "must not be empty"
    if record.student.samples is not None and record.student.samples < 1:
        yield "student.samples", f"must be at least 1, got {record.student.samples!r}"
    if record.weight is not None and not LEAST_WEIGHT <= record.weight <= MOST_WEIGHT:
        yield (
            "weight",
            f"must be positive, from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}, got {record.weight!r}",
        )
    costs = (
        ("student.cost_usd", record.student.cost_usd),
        ("teacher.cost_usd", record.teacher.cost_usd),
    )
    for key, cost in costs:
        if cost is not None and not 0.0 <= cost < math.inf:
            yield key, f"must be at least 0 and finite, got {cost!r}"
    yield from _unfit_evidence(record.student)


def _unfit_evidence(student: StudentPart) -> Iterator[tuple[str, str]]:
    count = len(student.token_logprobs or ())
    if student.tokens and student.token_logprobs and len(student.tokens) != count:
        yield "student.token_logprobs", f"has {count} entries for {len(student.tokens)} tokens"
    if student.top_logprobs and len(student.top_logprobs) != count:
        yield (
            "student.top_logprobs",
            f"has {len(student.top_logprobs)} rows for {count} log-probabilities",
        )
    if student.answer_span is not None:
        first, last = student.answer_span
        length = count or len(student.tokens or ())
        if not 0 <= first <= last or (length and last > length):
            yield (
                "student.answer_span",
                f"must be [first, last) within {length} tokens, got {[first, last]}",
            )
    for name, value in (student.signals or {}).items():
        if value is not None and not abs(value) <= MOST_SIGNAL:  # NaN fails this comparison too
            yield (
                f"student.signals.{name}",
                f"must be finite and within {MOST_SIGNAL:g} of 0, or null, got {value!r}",
            )
