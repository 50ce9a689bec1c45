"""The kinds of prompts of a data set: found among its rows, named, and told how the student fails.

Records are given to the kind that they are nearest to, and to none where they are like none of
them: what nobody escalated, or nobody may learn from, is no kind of this data set.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.cluster_file import MOST_EXAMPLES, Cluster, Clusters
from distill.clusters import DEFAULT_MOST, OUTSIDE, RULE, Clustering, cluster, telling_terms
from distill.curating import drawing_order
from distill.dataset import Example
from distill.failures import FROM_PAIRS, FROM_RECORDS, Rate, failure_rate
from distill.vectors import Vectors, evened, text_of
from evaluation.features import has_prompt, prompt_in
from evaluation.outcomes import Integers
from evaluation.records import Record

# Makes rows of length at most 1 of texts.
Vectoriser = Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt that somebody asked, how good the student's draft was, and for how many it stands.

    ``ok`` lies in [0, 1].
    """

    text: str
    ok: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """The clusters of some rows, by what makes vectors of texts."""

    clustering: Clustering
    vectors: Vectoriser
    names: Sequence[Sequence[str]]

    @classmethod
    def found(
        cls, examples: Sequence[Example], vectors: Vectoriser, seed: int, most: int = DEFAULT_MOST
    ) -> "Kinds":
        """``examples``: at least one."""
        texts = [text_of(example.prompt) for example in examples]
        clustering = cluster(vectors(texts), seed, most)
        asked = [evened(example.question) for example in examples]
        return cls(clustering, vectors, telling_terms(asked, clustering.labels, clustering.count))

    def labels(self, examples: Sequence[Example]) -> Integers:
        """The kind of each row."""
        if not examples:
            return np.empty(0, dtype=np.int64)
        return self.clustering.nearest(
            self.vectors([text_of(example.prompt) for example in examples])
        )

    def rates(self, asked: Sequence[Asked]) -> Mapping[int, Rate | None]:
        """How often the student fails on each kind, and on what is OUTSIDE of them."""
        labels = self.clustering.found(self.vectors([each.text for each in asked]))
        return {
            number: failure_rate(
                [each.ok for each, label in zip(asked, labels, strict=True) if label == number],
                [each.weight for each, label in zip(asked, labels, strict=True) if label == number],
            )
            for number in (OUTSIDE, *range(self.clustering.count))
        }


def asked_in(records: Iterable[Record]) -> list[Asked]:
    """What evaluation records say; those that do not say what was asked are left out."""
    return [
        Asked(
            evened(prompt_in(record).text),
            float(record.student.ok),
            1.0 if record.weight is None else record.weight,
        )
        for record in records
        if has_prompt(record)
    ]


def asked_by_pairs(sft: Sequence[Example], dpo: Sequence[Example]) -> list[Asked]:
    """What pairs say: a draft was wrong where there is a row of preferences of its pair.

    These are requests that were escalated, no sample of all.
    """
    wrong = {example.id for example in dpo}
    return [
        Asked(text_of(example.prompt), 0.0 if example.id in wrong else 1.0)
        for example in sft
        if not example.is_synthetic
    ]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Whose failures count; ``source`` is None where nobody said which drafts fail."""

    asked: Sequence[Asked]
    source: str | None
    failing_from: float


def evidence_of(
    records: Sequence[Asked] | None,
    sft: Sequence[Example],
    dpo: Sequence[Example],
    failing_from: float,
) -> Evidence:
    """Records where there are some; else what the pairs say, if they say it."""
    if records is not None:
        return Evidence(records, FROM_RECORDS, failing_from)
    if sft and dpo:
        return Evidence(asked_by_pairs(sft, dpo), FROM_PAIRS, failing_from)
    return Evidence((), None, failing_from)


def clusters_of(
    kinds: Kinds,
    before: Sequence[Example],
    after: Sequence[Example],
    evidence: Evidence,
    made_with: Mapping[str, Any],
) -> Clusters:
    """The file.  ``before`` are all rows that were read, ``after`` those that are left."""
    read, left = kinds.labels(before), kinds.labels(after)
    rates = kinds.rates(evidence.asked) if evidence.asked else {}
    clusters = []
    for number in range(kinds.clustering.count):
        mine = [example for example, label in zip(after, left, strict=True) if label == number]
        shown = sorted(mine, key=lambda example: drawing_order(example, 0))[:MOST_EXAMPLES]
        rate = rates.get(number)
        clusters.append(
            Cluster(
                id=number,
                telling=tuple(kinds.names[number]),
                rows=len(mine),
                escalations=int(np.count_nonzero(read == number)),
                examples=tuple(example.id for example in shown),
                failures=rate,
                is_failing=None if rate is None else rate.is_failing(evidence.failing_from),
            )
        )
    outside = rates.get(OUTSIDE)
    told = {
        "rule": RULE,
        "silhouettes": {
            str(count): round(value, 4) for count, value in kinds.clustering.silhouettes.items()
        },
        "records_outside": 0 if outside is None else outside.records,
    }
    overall = failure_rate(
        [each.ok for each in evidence.asked], [each.weight for each in evidence.asked]
    )
    return Clusters(
        clusters, evidence.failing_from, evidence.source, overall, {**made_with, **told}
    )
