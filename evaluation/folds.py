"""Parts of the records that are predicted by what was fitted on the others."""

from collections.abc import Iterator

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.outcomes import Integers


def folds_of(keys: Integers, folds: int, seed: int) -> Integers:
    """The fold of each record, shape (n,), drawn by ``seed``; who shares a key shares a fold.

    Raises EvaluationError where there are fewer than two folds, or fewer keys than folds.
    """
    distinct, place = np.unique(keys, return_inverse=True)
    if not 2 <= folds <= distinct.size:
        raise EvaluationError(
            f"folds: {distinct.size} different records cannot be cut in {folds} parts, of which "
            "each is judged by what the others teach: more records are needed, or fewer folds"
        )
    order = np.random.default_rng(seed).permutation(distinct.size)
    return np.asarray(order[place] % folds, dtype=np.int64)


def splits(fold: Integers) -> Iterator[tuple[Integers, Integers]]:
    """For each fold the places to fit on, and those to predict."""
    for each in np.unique(fold):
        yield np.flatnonzero(fold != each), np.flatnonzero(fold == each)
