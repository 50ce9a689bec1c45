"""From a score to a confidence: fitted maps, applied.  Fitting them happens elsewhere."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from routing.errors import CalibrationError
from routing.vocabulary import Confidence


@dataclass(frozen=True, slots=True)
class Uncalibrated:
    """The score itself, cut to [0, 1].  It has the range of a probability and not its meaning."""

    def confidence(self, score: float) -> Confidence:
        """Cut ``score`` to [0, 1]."""
        return Confidence(min(max(score, 0.0), 1.0))


@dataclass(frozen=True, slots=True)
class Logistic:
    """``1 / (1 + exp(-(slope * score + intercept)))``.

    Platt 1999, "Probabilistic outputs for support vector machines".  Raises CalibrationError where
    a parameter is not finite or ``slope`` is negative: more evidence must not mean less confidence.
    """

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)):
            raise CalibrationError("calibration: slope and intercept must be finite numbers")
        if self.slope < 0:
            raise CalibrationError(f"calibration.slope must be at least 0, got {self.slope!r}")

    def confidence(self, score: float) -> Confidence:
        """Apply the map to a finite ``score``."""
        exponent = self.slope * score + self.intercept
        # The cut keeps exp() from overflow.  One form for both signs: power / (1 + power), which
        # needs no cut, is not monotone in its last digit.
        return Confidence(1.0 / (1.0 + math.exp(min(-exponent, 700.0))))


@dataclass(frozen=True, slots=True)
class PiecewiseLinear:
    """Straight lines between fitted points, flat outside them: what isotonic regression gives.

    ``scores`` strictly increase and ``confidences`` never decrease, both of shape (n,), n >= 1.
    Zadrozny and Elkan 2002, "Transforming classifier scores into accurate multiclass probability
    estimates".  Raises CalibrationError for anything else.
    """

    scores: tuple[float, ...]
    confidences: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.scores or len(self.scores) != len(self.confidences):
            raise CalibrationError(
                "calibration: scores and confidences must have the same length, at least 1, got "
                f"{len(self.scores)} and {len(self.confidences)}"
            )
        if not all(math.isfinite(score) for score in self.scores):
            raise CalibrationError("calibration.scores must be finite numbers")
        if any(left >= right for left, right in pairwise(self.scores)):
            raise CalibrationError("calibration.scores must strictly increase")
        if not math.isfinite(self.scores[-1] - self.scores[0]):
            raise CalibrationError(
                "calibration.scores must not lie further apart than floats reach"
            )
        if not all(0.0 <= confidence <= 1.0 for confidence in self.confidences):
            raise CalibrationError("calibration.confidences must lie in [0, 1]")
        if any(left > right for left, right in pairwise(self.confidences)):
            raise CalibrationError("calibration.confidences must never decrease")

    def confidence(self, score: float) -> Confidence:
        """Interpolate at a finite ``score``."""
        right = bisect_right(self.scores, score)
        if right == 0:
            return Confidence(self.confidences[0])
        if right == len(self.scores):
            return Confidence(self.confidences[-1])
        low, high = self.scores[right - 1], self.scores[right]
        share = (score - low) / (high - low)
        bottom, top = self.confidences[right - 1], self.confidences[right]
        # The cut keeps rounding from leaving the two neighbours' range.
        return Confidence(min(max(bottom + share * (top - bottom), bottom), top))


Calibration = Uncalibrated | Logistic | PiecewiseLinear
