"""Prompts as vectors by their own words: for clusters where no embedding model is at hand.

Words and pairs of neighbours, hashed; each counts once and the more the fewer prompts have it; all
of that in as few dimensions as tell prompts apart (latent semantic analysis: Deerwester et al.
1990, "Indexing by latent semantic analysis").  Figures are all the same here: of two orders for
chairs the numbers say nothing of the kind of task.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

from distill.dataset import Message
from routing.prompt import hashed_terms, prompt_of

BUCKETS = 2**16
DIMENSIONS = 32
NAME = "hashed words"
LEAST_COMMON = 0.5
EVERYWHERE = 0.1
_NOTHING = 1e-9

Vectors = npt.NDArray[np.float64]

_DIGITS = re.compile(r"\d+")


def text_of(messages: Sequence[Message]) -> str:
    """What of a conversation is read: what the gateway reads of it too, figures as ``0``."""
    return evened(prompt_of(list(messages)).text)


def evened(text: str) -> str:
    """A text in which all figures are alike."""
    return _DIGITS.sub("0", text)


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """What makes a vector of a text, fitted on many; ``axes`` are of the ``known`` terms alone."""

    idf: npt.NDArray[np.float64]
    known: npt.NDArray[np.int64]
    axes: npt.NDArray[np.float64]

    @classmethod
    def fitted(cls, texts: Sequence[str], seed: int) -> "Words":
        """``texts``: at least one."""
        counts = _terms(texts)
        seen = np.asarray((counts > 0).sum(axis=0)).ravel()
        # What most texts have tells little.  What fewer have counts alike, however rare: else a
        # text would be told by its things, knives or ropes, and not by its kind of task.
        common = np.maximum(seen / len(texts), LEAST_COMMON)
        idf = EVERYWHERE + np.log(1.0 / common)
        known = np.flatnonzero(seen)
        weighted = _unit_rows(counts @ sparse.diags(idf))[:, known]
        if min(weighted.shape) <= DIMENSIONS:
            _, sizes, axes = np.linalg.svd(np.asarray(weighted.todense()), full_matrices=False)
            return cls(idf, known, axes[sizes > _NOTHING])
        svd = TruncatedSVD(DIMENSIONS, random_state=seed).fit(weighted)
        return cls(idf, known, svd.components_)

    def of(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length at most 1, shape (n, d): of texts like those that it was fitted on near
        1, of texts in other words near 0.
        """
        weighted = _unit_rows(_terms(texts) @ sparse.diags(self.idf))
        return np.asarray(weighted[:, self.known] @ self.axes.T)


def unit(vectors: Vectors) -> Vectors:
    """The same directions, each of length 1, but for those of length 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    made: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0.0)
    return made


def _terms(texts: Sequence[str]) -> Any:
    places: list[int] = []
    ends = [0]
    for text in texts:
        places += sorted(hashed_terms(text, BUCKETS))
        ends.append(len(places))
    ones = np.ones(len(places))
    return sparse.csr_matrix((ones, np.array(places), np.array(ends)), (len(texts), BUCKETS))


def _unit_rows(matrix: Any) -> Any:
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0.0)
    return sparse.csr_matrix(sparse.diags(inverse) @ matrix)
