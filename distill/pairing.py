"""Two files of evaluation records, the candidate's and the incumbent's, as one set of questions.

A pair has one id, one question, one weight and one teacher; what differs is the student.  Anything
else is refused with the ids at fault, because a difference between two sets of questions says
nothing of the students.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from distill.evaluation_file import NO_GROUP
from evaluation.errors import EvaluationError
from evaluation.features import has_prompt, prompt_in
from evaluation.outcomes import Booleans, Floats, Integers, Outcomes
from evaluation.paired import Sample
from evaluation.records import Columns, Record, columns_of, read_records
from evaluation.source import sha256_of

CANDIDATE, INCUMBENT = "candidate", "incumbent"

_NAMED_AT_MOST = 5
_SAME_OF_BOTH = ("question", "comparator", "teacher")

Chosen = Callable[[Record], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One file.  ``columns`` are in the pairs' order, as is ``order`` in the chosen records'."""

    path: Path
    sha256: str
    version: str
    columns: Columns
    order: Integers

    @property
    def student(self) -> Floats:
        """How good each draft is."""
        return self.columns.outcomes.student


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    """The questions that both answered, in the incumbent's order; arrays have shape (n,).

    ``groups`` names each record's.  ``teacher`` and ``teacher_usd`` are of the one teacher:
    what the incumbent's file says, and the candidate's where nobody asked it there.  ``assumed``
    are those that nobody asked it at all: it is taken to be right.
    """

    candidate: Side
    incumbent: Side
    sample: Sample
    groups: tuple[str, ...]
    teacher: Floats
    teacher_usd: Floats
    assumed: Booleans

    @property
    def n(self) -> int:
        """How many."""
        return len(self.teacher)

    @property
    def group_names(self) -> tuple[str, ...]:
        """Each group once; none where no record names one."""
        names = sorted(set(self.groups))
        return () if names == [NO_GROUP] else tuple(names)

    def outcomes(self, side: Side) -> Outcomes:
        """A student's and the one teacher's."""
        return Outcomes(side.student, self.teacher, self.sample.weight)


def everything(_: Record) -> bool:
    """Choose every record."""
    return True


def pair(candidate: Path, incumbent: Path, is_chosen: Chosen = everything) -> Pairing:
    """Read both files, of each the chosen records.  Raises EvaluationError where they do not match.

    Choosing must go by what both have in common: the question or the id.
    """
    new, old = _read(candidate, is_chosen), _read(incumbent, is_chosen)
    _refuse_other_ids(new, old)
    places = {record_id: place for place, record_id in enumerate(new.columns.ids)}
    order = np.array([places[each] for each in old.columns.ids], dtype=np.int64)
    _refuse_differences(new, old, order)
    teacher, teacher_usd, assumed = _teacher(new, old, order)
    return Pairing(
        candidate=new.side(CANDIDATE, order),
        incumbent=old.side(INCUMBENT, np.arange(len(order))),
        sample=Sample(old.columns.outcomes.weight, _numbered(old.notes.questions)),
        groups=tuple(_group_names(old.columns)),
        teacher=teacher,
        teacher_usd=teacher_usd,
        assumed=assumed,
    )


# --- one file -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Notes:
    """What columns do not keep.  ``questions`` are texts' hashes, ids where no text is there."""

    questions: list[object] = field(default_factory=list)
    told: list[Mapping[str, object]] = field(default_factory=list)
    assumed: list[bool] = field(default_factory=list)
    unversioned: list[str] = field(default_factory=list)

    def taking(self, records: Iterator[Record], is_chosen: Chosen) -> Iterator[Record]:
        for record in filter(is_chosen, records):
            is_asked = has_prompt(record)
            self.questions.append(hash(prompt_in(record).text) if is_asked else record.id)
            self.told.append(record.made_with or {})
            self.assumed.append(record.teacher.ok_by == "assumed")
            if record.student.version is None:
                self.unversioned.append(record.id)
            yield record


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    path: Path
    sha256: str
    columns: Columns
    notes: _Notes

    def side(self, name: str, order: Integers) -> Side:
        """The file in the pairs' order.  Raises EvaluationError where it is not of one student."""
        if self.notes.unversioned:
            raise EvaluationError(
                f"{name}: {self.path}: which student made the drafts has to be said: "
                f"student.version is missing in {_some(self.notes.unversioned)}"
            )
        if len(self.columns.versions) > 1:
            versions = ", ".join(sorted(self.columns.versions))
            raise EvaluationError(f"{name}: {self.path}: is of several students: {versions}")
        (version,) = self.columns.versions
        return Side(self.path, self.sha256, version, self.columns.take(order), order)


def _read(path: Path, is_chosen: Chosen) -> _File:
    digest = sha256_of(path)
    notes = _Notes()
    columns = columns_of(notes.taking(read_records(path), is_chosen), lambda _: {})
    return _File(path, digest, columns, notes)


def _group_names(columns: Columns) -> Iterator[str]:
    names = (*columns.group_names, "")  # the last for those without one, which have place -1
    for place in columns.group:
        yield names[place] or NO_GROUP


def _numbered(keys: Sequence[object]) -> Integers:
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int64)


# --- both ---------------------------------------------------------------------------------------


def _refuse_other_ids(new: _File, old: _File) -> None:
    ids = {CANDIDATE: set(new.columns.ids), INCUMBENT: set(old.columns.ids)}
    alone = [
        f"{_some(sorted(ids[one] - ids[other]))} only in the {one}'s"
        for one, other in ((CANDIDATE, INCUMBENT), (INCUMBENT, CANDIDATE))
        if ids[one] - ids[other]
    ]
    if alone:
        raise EvaluationError(
            f"the files hold different records: {'; '.join(alone)}: record both on the same data "
            "set, to its end"
        )


def _refuse_differences(new: _File, old: _File, order: Integers) -> None:
    """Same id, and yet another question, weight, group, comparator or teacher."""
    ids = old.columns.ids
    groups = list(_group_names(new.columns))
    unlike = {
        "weight": new.columns.outcomes.weight[order] != old.columns.outcomes.weight,
        "group": [
            groups[there] != name
            for there, name in zip(order, _group_names(old.columns), strict=True)
        ],
        "prompt": [
            new.notes.questions[there] != question
            for there, question in zip(order, old.notes.questions, strict=True)
        ],
    }
    for name in _SAME_OF_BOTH:
        told = [
            (new.notes.told[there].get(name), here.get(name))
            for there, here in zip(order, old.notes.told, strict=True)
        ]
        unlike[f"made_with.{name}"] = [None not in both and len(set(both)) > 1 for both in told]
    for what, is_unlike in unlike.items():
        if found := [ids[place] for place in np.flatnonzero(is_unlike)]:
            raise EvaluationError(f"the files differ in {what} of {_some(found)}")


def _teacher(new: _File, old: _File, order: Integers) -> tuple[Floats, Floats, Booleans]:
    """The teacher's quality and cost, and where nobody asked it."""
    theirs, ours = new.columns, old.columns
    not_asked = np.array(old.notes.assumed, dtype=np.bool_)
    not_there = np.array(new.notes.assumed, dtype=np.bool_)[order]
    is_elsewhere = not_asked & ~not_there
    quality = np.where(is_elsewhere, theirs.outcomes.teacher[order], ours.outcomes.teacher)
    cost = np.where(np.isnan(ours.teacher_usd), theirs.teacher_usd[order], ours.teacher_usd)
    return quality, cost, not_asked & not_there


def _some(ids: Sequence[str]) -> str:
    """The first few of them, and how many there are."""
    more = len(ids) - _NAMED_AT_MOST
    shown = ", ".join(map(repr, ids[:_NAMED_AT_MOST]))
    return f"{shown} and {more} more" if more > 0 else shown


def missing_costs(pairing: Pairing) -> Iterator[str]:
    """What has no cost, in words."""
    ids = pairing.incumbent.columns.ids
    for what, values in (
        ("the candidate's student.cost_usd", pairing.candidate.columns.student_usd),
        ("the incumbent's student.cost_usd", pairing.incumbent.columns.student_usd),
        ("teacher.cost_usd", pairing.teacher_usd),
    ):
        if found := [ids[place] for place in np.flatnonzero(np.isnan(values))]:
            yield f"{what} is missing in {_some(found)}"
