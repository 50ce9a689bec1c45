import numpy as np
import pytest

from evaluation.errors import EvaluationError
from evaluation.outcomes import outcomes_of, sortable


def test_booleans_become_numbers_and_weights_are_one() -> None:
    outcomes = outcomes_of([True, False], [True, True])
    assert outcomes.student.tolist() == [1.0, 0.0]
    assert outcomes.has_equal_weights
    assert outcomes.n == 2


def test_weights_that_differ_are_noticed() -> None:
    assert not outcomes_of([1, 0], [1, 1], [1, 2]).has_equal_weights
    assert outcomes_of([1, 0], [1, 1], [2, 2]).has_equal_weights


@pytest.mark.parametrize(
    ("student", "teacher", "weight", "said"),
    [
        ([], [], [], "at least one record"),
        ([[1.0]], [[1.0]], [[1.0]], "one dimension"),
        ([1.0], [1.0, 1.0], [1.0], "teacher has shape"),
        ([1.0], [1.0], [1.0, 1.0], "weight has shape"),
        ([1.1], [1.0], [1.0], "student must lie in"),
        ([1.0], [np.nan], [1.0], "teacher must lie in"),
        ([1.0], [1.0], [0.0], "weight must be positive"),
        ([1.0], [1.0], [np.inf], "weight must be positive"),
    ],
)
def test_what_cannot_be_is_refused(
    student: list[float], teacher: list[float], weight: list[float], said: str
) -> None:
    with pytest.raises(EvaluationError, match=said):
        outcomes_of(student, teacher, weight)


def test_no_signal_sorts_below_everything() -> None:
    assert sortable([0.0, np.nan, -5.0], 3).tolist() == [0.0, -np.inf, -5.0]
    with pytest.raises(EvaluationError, match="there are 2 records"):
        sortable([0.0], 2)
