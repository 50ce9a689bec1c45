"""What is known of each record before it is decided: the numbers that rules are fitted on.

Drafts become signals and prompts become terms by routing's own functions, so that what is fitted
here is what the gateway computes.  Evidence that a record brings of its own and that no gateway can
see is named ``evidence:<name>``.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from evaluation.outcomes import Floats, Integers, Outcomes
from evaluation.records import (
    EVIDENCE_PREFIX,
    Columns,
    Record,
    columns_of,
    draft_of,
    samples_in,
    signals_in,
)
from routing.labels import label_of
from routing.prompt import SURFACE_NAMES, Prompt, hashed_terms, is_group, prompt_features, prompt_of
from routing.signals import EVIDENCE_NAMES

BUCKETS = 2**18
# Who shares a prompt shares a fold, unless so many do that folds would be one prompt's.
MOST_IN_ONE_FOLD = 0.01

Names = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """What the prompts say: ``terms``, 1 where one occurs (n, BUCKETS); ``surface`` (n, s)."""

    terms: sparse.csr_matrix
    surface: Floats

    def take(self, places: npt.NDArray[Any]) -> "Prompts":
        """Those records alone."""
        return Prompts(self.terms[places], self.surface[places])


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Records as what rules read of them; everything has n rows.

    ``signals`` has shape (n, f), NaN where absent, and ``names`` says which; ``labels`` are the
    drafts' texts as labels are compared, None where a draft has no text; ``groups`` are the kinds
    of task, "" where none is named; ``prompts`` is None where no record has one.  ``keys`` numbers
    what must not be parted by folds, and ``mean_logprob`` is NaN where there are no tokens.
    ``calls`` is how many drafts a record's evidence took, and ``agrees`` whether a second answer of
    the teacher's says the same, NaN where there is none.
    """

    outcomes: Outcomes
    names: tuple[str, ...]
    signals: Floats
    labels: Names
    groups: Names
    prompts: Prompts | None
    keys: Integers
    mean_logprob: Floats
    calls: Floats
    agrees: Floats

    @property
    def n(self) -> int:
        """How many records."""
        return self.outcomes.n

    @property
    def has_evidence(self) -> bool:
        """Whether any record tells how sure the student was."""
        return any(map(tells_how_sure, self.names))

    @property
    def has_prompts(self) -> bool:
        """Whether anything is known before a draft is made."""
        return self.prompts is not None or len(set(self.groups)) > 1

    def take(self, places: npt.NDArray[Any]) -> "Table":
        """Those records alone: ``places`` are indices or a mask."""
        return Table(
            self.outcomes.take(places),
            self.names,
            self.signals[places],
            self.labels[places],
            self.groups[places],
            None if self.prompts is None else self.prompts.take(places),
            self.keys[places],
            self.mean_logprob[places],
            self.calls[places],
            self.agrees[places],
        )


def tells_how_sure(name: str) -> bool:
    """Whether a signal of this name is evidence, and not only something known of the draft."""
    return name in EVIDENCE_NAMES or name.startswith(EVIDENCE_PREFIX)


def prompt_in(record: Record) -> Prompt:
    """The prompt as the gateway would read it: of the request where there is one."""
    request = record.request
    messages = request.get("messages") if isinstance(request, dict) else None
    group = record.group if record.group is not None and is_group(record.group) else None
    return prompt_of(record.prompt or "" if messages is None else messages, group)


def has_prompt(record: Record) -> bool:
    """Whether the record says what was asked."""
    return bool(record.prompt) or (
        isinstance(record.request, dict) and "messages" in record.request
    )


def gather(records: Iterable[Record]) -> tuple[Columns, Table]:
    """Both views of the same records, at least one, which are read once and not kept."""
    notes = _Notes()
    columns = columns_of(notes.taking(records), signals_in)
    return columns, notes.table(columns)


class _Notes:
    """What columns do not keep, gathered while the records pass."""

    def __init__(self) -> None:
        self.labels: list[str | None] = []
        self.groups: list[str] = []
        self.keys: list[object] = []
        self.surface = array("d")
        self.mean_logprob, self.calls, self.agrees = array("d"), array("d"), array("d")
        self.places, self.ends = array("q"), array("q", [0])
        self.any_prompt = False

    def taking(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            self._note(record)
            yield record

    def _note(self, record: Record) -> None:
        draft, prompt = draft_of(record.student), prompt_in(record)
        is_asked = has_prompt(record)
        self.any_prompt |= is_asked
        self.labels.append(label_of(draft.text) if draft.text else None)
        self.groups.append(prompt.group or "")
        tokens = draft.token_logprobs
        self.mean_logprob.append(float(np.mean(tokens)) if tokens else np.nan)
        self.calls.append(float(samples_in(record.student)))
        again = record.teacher.again
        agrees = None if again is None else again.agrees
        self.agrees.append(np.nan if agrees is None else float(agrees))
        # The same tokens to the last digit are the same question asked twice.
        said = (self.labels[-1], tokens, draft.best_logprobs, draft.second_logprobs)
        self.keys.append(hash(prompt.text) if is_asked else hash(said) if tokens else record.id)
        self.places.extend(hashed_terms(prompt.text, BUCKETS) if is_asked else ())
        self.ends.append(len(self.places))
        self.surface.extend(prompt_features(prompt))

    def table(self, columns: Columns) -> Table:
        n = columns.n
        prompts = None
        if self.any_prompt:
            ones = np.ones(len(self.places))
            parts = ones, np.array(self.places), np.array(self.ends)
            terms = sparse.csr_matrix(parts, shape=(n, BUCKETS))
            prompts = Prompts(terms, np.array(self.surface).reshape(n, len(SURFACE_NAMES)))
        names = tuple(columns.signals)
        signals = np.stack([columns.signals[name] for name in names], 1) if names else None
        return Table(
            outcomes=columns.outcomes,
            names=names,
            signals=np.empty((n, 0)) if signals is None else signals,
            labels=np.array(self.labels, dtype=object),
            groups=np.array(self.groups, dtype=object),
            prompts=prompts,
            keys=_numbered(self.keys),
            mean_logprob=np.array(self.mean_logprob, dtype=np.float64),
            calls=np.array(self.calls, dtype=np.float64),
            agrees=np.array(self.agrees, dtype=np.float64),
        )


def _numbered(keys: list[object]) -> Integers:
    """A number for each key; records of a key that too many share stand alone."""
    most = max(1.0, MOST_IN_ONE_FOLD * len(keys))
    times = Counter(keys)
    seen: dict[object, int] = {}
    alone = ((key, place) if times[key] > most else key for place, key in enumerate(keys))
    return np.array([seen.setdefault(key, len(seen)) for key in alone], dtype=np.int64)
