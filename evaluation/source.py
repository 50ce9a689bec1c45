"""A file of records as calibration reads it: numbers, evidence of prefixes, what it was made of.

A file is read again for what needs a record as a whole, so that no prompt has to stay in memory.
"""

import hashlib
import json
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from evaluation.errors import EvaluationError, RecordError
from evaluation.features import Table, gather
from evaluation.outcomes import Floats, Integers
from evaluation.records import (
    Record,
    StudentPart,
    draft_of,
    earlier_kept_in,
    read_records,
    samples_in,
    signals_in,
    span_of,
)
from routing.sampling import Sampling, effective_sampling
from routing.signals import (
    AGREEMENT,
    CANDIDATE_SIGNALS,
    EARLIER_KEPT,
    SIGNAL_NAMES,
    TOKEN_SIGNALS,
    Signals,
    signals_of,
    with_past,
)
from routing.vocabulary import Draft

# What the beginning of a draft can have: of its form nothing is known yet.
_OF_PREFIX = tuple(sorted(TOKEN_SIGNALS | CANDIDATE_SIGNALS | {EARLIER_KEPT}))
_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Records as numbers, and what the file says of where they come from.

    ``tokens`` is how many tokens of each draft are judged, shape (n,); ``prefixes`` has the signals
    of the first so many of them by name, of all where a draft has fewer.
    ``samplings`` are the different ways in which drafts were drawn, as far as records tell:
    ``untold`` of them do not.  ``samples`` are the numbers of drafts that one was chosen from.
    ``assumed`` is how often nobody asked the teacher, ``by_teacher`` how often its answer was what
    the student's was held against.
    """

    path: Path
    table: Table
    tokens: Integers
    prefixes: Mapping[int, Mapping[str, Floats]]
    sha256: str
    versions: frozenset[str]
    cascades: frozenset[str]
    samplings: tuple[Sampling, ...]
    samples: frozenset[int]
    untold: int
    assumed: int
    by_teacher: int

    @property
    def unseen(self) -> tuple[str, ...]:
        """Evidence that no gateway sees."""
        return tuple(name for name in self.table.names if not self.is_seen(name))

    def is_seen(self, name: str) -> bool:
        """Whether a gateway has the signal of this name: an agreement only of several drafts."""
        return name in SIGNAL_NAMES and (name != AGREEMENT or 1 not in self.samples)

    def seen_signals(self, record: Record) -> Signals:
        """What the gateway would have of the record's draft once it is whole.

        Of several drafts nothing is evidence where nobody says how far they agree.
        """
        found = signals_in(record)
        if 1 not in self.samples and AGREEMENT not in found:
            return {}
        return {name: value for name, value in found.items() if self.is_seen(name)}

    def visible(self) -> Table:
        """The table without that evidence: in each row what ``seen_signals`` has."""
        seen = {
            name: self.table.signals[:, place]
            for place, name in enumerate(self.table.names)
            if self.is_seen(name)
        }
        if AGREEMENT in seen:
            unknown = np.isnan(seen[AGREEMENT])
            seen = {name: np.where(unknown, np.nan, values) for name, values in seen.items()}
        return with_signals(self.table, seen)

    def records(self) -> Iterator[Record]:
        """The records once more.  Raises RecordError where the file is another by now."""
        if sha256_of(self.path) != self.sha256:
            raise RecordError(f"{self.path}: has changed while it was read")
        return read_records(self.path)


def prefix_of(student: StudentPart, tokens: int) -> Draft:
    """The beginning of a draft as a gate sees it."""
    first, last = span_of(student)
    begun = draft_of(replace(student, answer_span=(first, min(first + tokens, last))))
    return Draft(begun.token_logprobs, begun.best_logprobs, begun.second_logprobs)


def with_signals(table: Table, signals: Mapping[str, Floats]) -> Table:
    """The same records, and of their drafts these signals alone."""
    names = tuple(signals)
    values = np.stack([signals[name] for name in names], 1) if names else np.empty((table.n, 0))
    return Table(
        outcomes=table.outcomes,
        names=names,
        signals=values,
        labels=table.labels,
        groups=table.groups,
        prompts=table.prompts,
        keys=table.keys,
        mean_logprob=table.mean_logprob,
        calls=table.calls,
        agrees=table.agrees,
    )


def read_source(path: Path, checkpoints: Sequence[int]) -> Source:
    """Read a file of records.  Raises RecordError where that is impossible."""
    digest = sha256_of(path)
    notes = _Notes(tuple(checkpoints))
    columns, table = gather(notes.taking(read_records(path)))
    return Source(
        path=path,
        table=table,
        tokens=np.array(notes.tokens, dtype=np.int64),
        prefixes={count: _columns(found) for count, found in notes.prefixes.items()},
        sha256=digest,
        versions=columns.versions,
        cascades=frozenset(notes.cascades),
        samplings=tuple(notes.samplings.values()),
        samples=frozenset(notes.samples),
        untold=notes.untold,
        assumed=notes.assumed,
        by_teacher=notes.by_teacher,
    )


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes.  Raises RecordError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(_CHUNK_BYTES):
                digest.update(part)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    return digest.hexdigest()


def one_of(names: frozenset[str], given: str | None, what: str, option: str) -> str:
    """The name that was given, or the only one that the records know.

    Raises EvaluationError where there is none, several, or another than the one given.
    """
    if given is not None:
        if names - {given}:
            raise EvaluationError(
                f"the records are of {what} {', '.join(sorted(names - {given}))} and not of "
                f"{given} alone: a policy is for one"
            )
        return given
    if len(names) == 1:
        return next(iter(names))
    known = f"of several, {', '.join(sorted(names))}" if names else "of none by name"
    raise EvaluationError(f"{what}: the records are {known}: name one with {option}")


@dataclass(slots=True)
class _Notes:
    """What neither columns nor table keep, gathered while the records pass."""

    checkpoints: tuple[int, ...]
    tokens: "array[int]" = field(default_factory=lambda: array("q"))
    prefixes: "dict[int, dict[str, array[float]]]" = field(default_factory=dict)
    cascades: set[str] = field(default_factory=set)
    samplings: dict[str, Sampling] = field(default_factory=dict)
    samples: set[int] = field(default_factory=set)
    untold: int = 0
    assumed: int = 0
    by_teacher: int = 0

    def taking(self, records: Iterator[Record]) -> Iterator[Record]:
        self.prefixes = {
            count: {name: array("d") for name in _OF_PREFIX} for count in self.checkpoints
        }
        for record in records:
            self._note(record)
            yield record

    def _note(self, record: Record) -> None:
        draft = draft_of(record.student)
        self.tokens.append(len(draft.token_logprobs))
        signals: Signals = {}
        seen = 0
        for count, columns in self.prefixes.items():
            if seen < len(draft.token_logprobs):
                begun = signals_of(prefix_of(record.student, count))
                signals, seen = with_past(begun, earlier_kept_in(record.student)), count
            for name, column in columns.items():
                column.append(signals.get(name, math.nan))
        if record.cascade is not None:
            self.cascades.add(record.cascade)
        self.samples.add(samples_in(record.student))
        self.assumed += record.teacher.ok_by == "assumed"
        self.by_teacher += record.ok_by == "teacher"
        sampling = _sampling_of(record)
        if sampling is None:
            self.untold += 1
        else:
            self.samplings.setdefault(json.dumps(sampling, sort_keys=True), sampling)


def _sampling_of(record: Record) -> Sampling | None:
    """How the draft was drawn; None where the record does not say."""
    if record.student.sampling is not None:
        return effective_sampling(record.student.sampling)
    if isinstance(record.request, dict):
        return effective_sampling(record.request)
    return None


def _columns(found: "Mapping[str, array[float]]") -> Mapping[str, Floats]:
    """Those that any draft has."""
    columns = {name: np.array(values, dtype=np.float64) for name, values in found.items()}
    return {name: values for name, values in columns.items() if not np.isnan(values).all()}
