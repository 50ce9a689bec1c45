"""How good both models' answers were: the arrays that curves, bounds and simulations share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.errors import EvaluationError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What both answers to each request were worth, and how many requests a record stands for.

    ``student`` and ``teacher`` lie in [0, 1]; ``weight`` is the inverse of the probability with
    which the record was drawn, positive.  All have shape (n,), n >= 1; without ``weight`` each
    record counts once.  Raises EvaluationError for anything else.
    """

    student: Floats
    teacher: Floats
    weight: Floats

    def __post_init__(self) -> None:
        if self.student.ndim != 1 or not self.student.size:
            raise EvaluationError("outcomes: needs at least one record, in one dimension")
        for name, values in (("teacher", self.teacher), ("weight", self.weight)):
            if values.shape != self.student.shape:
                raise EvaluationError(
                    f"outcomes: {name} has shape {values.shape}, student {self.student.shape}"
                )
        for name, values in (("student", self.student), ("teacher", self.teacher)):
            # NaN fails these comparisons too.
            if not ((values >= 0.0) & (values <= 1.0)).all():
                raise EvaluationError(f"outcomes: {name} must lie in [0, 1]")
        if not ((self.weight > 0.0) & (self.weight < np.inf)).all():
            raise EvaluationError("outcomes: weight must be positive and finite")

    @property
    def n(self) -> int:
        """How many records."""
        return int(self.student.size)

    @property
    def has_equal_weights(self) -> bool:
        """Whether every record stands for as many requests as every other."""
        return bool((self.weight == self.weight[0]).all())

    def take(self, places: npt.NDArray[Any]) -> "Outcomes":
        """Those records alone: ``places`` are indices or a mask."""
        return Outcomes(self.student[places], self.teacher[places], self.weight[places])


def outcomes_of(
    student: npt.ArrayLike, teacher: npt.ArrayLike, weight: npt.ArrayLike | None = None
) -> Outcomes:
    """Outcomes from anything that numpy makes an array of numbers from."""
    right = np.asarray(student, dtype=np.float64)
    drawn = np.ones_like(right) if weight is None else np.asarray(weight, dtype=np.float64)
    return Outcomes(right, np.asarray(teacher, dtype=np.float64), drawn)


def sortable(confidence: npt.ArrayLike, n: int) -> Floats:
    """Confidences of ``n`` records with "no signal" (NaN) below all others, as silence defers.

    Raises EvaluationError where there are not ``n``.
    """
    values = np.asarray(confidence, dtype=np.float64)
    if values.shape != (n,):
        raise EvaluationError(f"confidence has shape {values.shape}, there are {n} records")
    return np.where(np.isnan(values), -np.inf, values)
