import numpy as np
import pytest

from evaluation.errors import EvaluationError
from evaluation.folds import folds_of, splits


def test_who_shares_a_key_shares_a_fold_and_folds_are_about_equal() -> None:
    keys = np.repeat(np.arange(50), 2)
    fold = folds_of(keys, 5, seed=1)
    assert (fold[::2] == fold[1::2]).all()
    assert np.bincount(fold).tolist() == [20] * 5
    assert (folds_of(keys, 5, seed=1) == fold).all()
    assert (folds_of(keys, 5, seed=2) != fold).any()


def test_every_record_is_predicted_once_by_others() -> None:
    fold = folds_of(np.arange(23), 4, seed=0)
    seen = np.concatenate([these for _, these in splits(fold)])
    assert sorted(seen) == list(range(23))
    assert all(not set(others) & set(these) for others, these in splits(fold))


@pytest.mark.parametrize("folds", [1, 4])
def test_more_folds_than_different_records_are_refused(folds: int) -> None:
    with pytest.raises(EvaluationError, match="folds"):
        folds_of(np.array([1, 1, 2, 3]), folds, seed=0)
