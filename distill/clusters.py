"""Kinds of prompts: which belong together, how many kinds there are, and what tells each of them.

The number of clusters is chosen by a rule: of 2 to ``most`` the smallest whose mean silhouette
(Rousseeuw 1987, "Silhouettes: a graphical aid to the interpretation and validation of cluster
analysis") is at least NEARLY of the largest; one alone where that is below LEAST_SILHOUETTE, for
then nothing is grouped.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from distill.vectors import Vectors, unit
from evaluation.outcomes import Integers

LEAST_SILHOUETTE = 0.15
# Of things that come in few kinds, each kind makes a tight cluster too, and a slightly larger one.
NEARLY = 0.98
DEFAULT_MOST = 12
# A silhouette needs all distances: of more rows so many are drawn.
SILHOUETTE_ROWS = 2000
STARTS = 8
TELLING_TERMS = 5
# What fewer of a cluster's prompts say does not name it; a single prompt's words never do.
LEAST_SHARE = 0.1
RULE = (
    f"k-means; the smallest number of clusters whose mean silhouette is at least {NEARLY:.0%} of "
    f"the largest, one cluster where that is below {LEAST_SILHOUETTE}"
)

OUTSIDE = -1
_ROUNDING = 1e-9

_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")


@dataclass(frozen=True, slots=True, eq=False)
class Clustering:
    """Centres of length 1, shape (k, d), the cluster of each row, and the silhouettes by k.

    ``reach``, shape (k,), is how far the farthest row of each lies from its centre, as one less the
    cosine.
    """

    centres: Vectors
    labels: Integers
    reach: npt.NDArray[np.float64]
    silhouettes: Mapping[int, float]

    @property
    def count(self) -> int:
        """How many clusters."""
        return len(self.centres)

    def nearest(self, vectors: Vectors) -> Integers:
        """The cluster that each of these is nearest to."""
        return np.asarray(np.argmax(vectors @ self.centres.T, axis=1), dtype=np.int64)

    def found(self, vectors: Vectors) -> Integers:
        """The same, OUTSIDE for what lies more than twice as far out as any row of its cluster."""
        nearest = self.nearest(vectors)
        distance = 1.0 - np.max(vectors @ self.centres.T, axis=1)
        is_outside = distance > 2.0 * self.reach[nearest] + _ROUNDING
        return np.asarray(np.where(is_outside, OUTSIDE, nearest), dtype=np.int64)


def cluster(vectors: Vectors, seed: int, most: int = DEFAULT_MOST) -> Clustering:
    """Group rows of length at most 1 by their directions; the same seed groups them alike.

    There must be at least one.
    """
    directions = unit(vectors)
    distinct = len(np.unique(np.round(directions, 9), axis=0))
    alone = np.zeros(len(vectors), dtype=np.int64)
    found = {1: _clustering(vectors, unit(directions.mean(axis=0, keepdims=True)), alone)}
    silhouettes: dict[int, float] = {}
    # One cluster a row has no silhouette.
    for count in range(2, min(most, distinct, len(vectors) - 1) + 1):
        # Threads add up in any order, and a last digit may turn the choice.
        with threadpool_limits(limits=1):
            model = KMeans(count, n_init=STARTS, random_state=seed).fit(directions)
            silhouettes[count] = float(
                silhouette_score(
                    directions,
                    model.labels_,
                    sample_size=min(len(vectors), SILHOUETTE_ROWS),
                    random_state=seed,
                )
            )
        found[count] = _clustering(vectors, unit(model.cluster_centers_), model.labels_)
    return replace(found[_chosen(silhouettes)], silhouettes=silhouettes)


def _chosen(silhouettes: Mapping[int, float]) -> int:
    largest = max(silhouettes.values(), default=0.0)
    if largest < LEAST_SILHOUETTE:
        return 1
    return min(count for count, value in silhouettes.items() if value >= NEARLY * largest)


def _clustering(vectors: Vectors, centres: Vectors, labels: Integers) -> Clustering:
    """The largest cluster first."""
    sizes = np.bincount(labels, minlength=len(centres))
    order = np.lexsort((np.arange(len(centres)), -sizes))
    numbers = np.empty(len(centres), dtype=np.int64)
    numbers[order] = np.arange(len(centres))
    ordered, mine = centres[order], numbers[labels]
    reach = np.zeros(len(centres))
    np.maximum.at(reach, mine, 1.0 - np.sum(vectors * ordered[mine], axis=1))
    return Clustering(ordered, mine, reach, {})


def telling_terms(texts: Sequence[str], labels: Integers, count: int) -> list[list[str]]:
    """For each cluster the words, and pairs of neighbours, that it has and others have not.

    Ranked by the share of its texts that say them less the share of all others.
    """
    said = [_terms(text) for text in texts]
    everywhere = Counter(term for terms in said for term in terms)
    found = []
    for number in range(count):
        mine = [terms for terms, label in zip(said, labels, strict=True) if label == number]
        here = Counter(term for terms in mine for term in terms)
        others = len(texts) - len(mine)
        least = max(LEAST_SHARE * len(mine), 2.0 if len(mine) > 1 else 1.0)
        lead = {
            term: times / len(mine) - (everywhere[term] - times) / max(others, 1)
            for term, times in here.items()
            if times >= least
        }
        ranked = sorted(lead, key=lambda term: (-lead[term], -len(term), term))
        found.append(_without_parts(ranked))
    return found


def _terms(text: str) -> set[str]:
    words = _WORD.findall(text.lower())
    return {*words, *(f"{first} {second}" for first, second in pairwise(words))}


def _without_parts(ranked: Sequence[str]) -> list[str]:
    """The first few of which none is a part of one before it, or has such a part."""
    chosen: list[str] = []
    for term in ranked:
        words = set(term.split())
        if not any(words & set(other.split()) for other in chosen):
            chosen.append(term)
        if len(chosen) == TELLING_TERMS:
            break
    return chosen
