"""What a threshold is to keep, and all that must be fixed before it is looked for."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from evaluation.errors import TargetError
from evaluation.outcomes import Floats

DEFAULT_PROBABILITY = 0.95


class Kind(StrEnum):
    """What is promised of the requests to come; ``evaluation/bounds.py`` says it in symbols."""

    DISAGREEMENT = "disagreement"  # of the kept drafts, at most this share is not acceptable
    QUALITY = "quality"  # mean quality served is at least this times the teacher's
    ESCALATION_RATE = "escalation_rate"  # at most this share of requests is deferred


class Test(StrEnum):
    """How a level is tested.

    BINOMIAL is exact, for records of equal weight; a loss in part counts as a whole one, and in
    QUALITY a student who beats the teacher earns nothing.  BETTING takes weights, parts and gains.
    """

    __test__ = False  # pytest collects classes of this name

    BINOMIAL = "binomial"
    BETTING = "betting"


@dataclass(frozen=True, slots=True)
class Target:
    """``kind`` held to ``value`` with at least ``with_probability`` over the calibration records.

    Raises TargetError unless ``value`` lies in (0, 1), quality in (0, 1], and the probability in
    (0, 1).
    """

    kind: Kind
    value: float
    with_probability: float = DEFAULT_PROBABILITY

    def __post_init__(self) -> None:
        is_quality = self.kind is Kind.QUALITY
        if not (0.0 < self.value < 1.0 or (is_quality and self.value == 1.0)):
            raise TargetError(
                f"{self.kind}: must lie in (0, 1{']' if is_quality else ')'}, got {self.value!r}"
            )
        if not 0.0 < self.with_probability < 1.0:
            raise TargetError(
                f"the promise's probability must lie in (0, 1), got {self.with_probability!r}"
            )

    @property
    def delta(self) -> float:
        """The probability with which the promise may be broken."""
        return 1.0 - self.with_probability

    @property
    def allowed(self) -> float:
        """The rate of losses that is just allowed: of 1 - ``value`` for quality."""
        return 1.0 - self.value if self.kind is Kind.QUALITY else self.value

    def __str__(self) -> str:
        return f"{self.kind}={self.value:g} with probability {self.with_probability:g}"


def target_of(text: str, with_probability: float = DEFAULT_PROBABILITY) -> Target:
    """The target that ``quality=0.99`` or the like says.  Raises TargetError for anything else."""
    name, _, number = text.partition("=")
    kinds = [each.value for each in Kind]
    if name not in kinds:
        raise TargetError(f"target: must be one of {', '.join(kinds)} and =VALUE, got {text!r}")
    try:
        value = float(number)
    except ValueError:
        raise TargetError(f"target: {name} needs a number, got {number!r}") from None
    return Target(Kind(name), value, with_probability)


@dataclass(frozen=True, slots=True)
class Start:
    """A level at which a chain of tests begins, and its ``share`` of the probability to err."""

    level: int
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """All that is fixed before the calibration labels are seen: the theorem rests on that.

    ``thresholds`` strictly decrease, strict to permissive: they come from other records, from
    unlabelled traffic or from a fixed scale, never from the records to calibrate on.  Each of
    ``starts`` begins a chain towards the permissive end; their shares add up to at most 1.
    ``weight_bound`` is the largest weight that the sampling design can give (BETTING only).
    ``seed`` draws the order in which bets are placed, as files may be sorted by outcome.
    Raises TargetError where any of this is not so.
    """

    thresholds: Floats
    starts: tuple[Start, ...] = (Start(0, 1.0),)
    test: Test = Test.BETTING
    weight_bound: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        count = len(self.thresholds)
        if not count or not np.isfinite(self.thresholds).all():
            raise TargetError("plan: needs at least one threshold, all of them finite")
        if (np.diff(self.thresholds) >= 0.0).any():
            raise TargetError("plan: thresholds must strictly decrease, strict to permissive")
        if not self.starts or not all(0 <= start.level < count for start in self.starts):
            raise TargetError(f"plan: starts must name levels below {count}")
        shares = [start.share for start in self.starts]
        if not all(share > 0.0 for share in shares) or math.fsum(shares) > 1.0 + 1e-12:
            raise TargetError(f"plan: the starts' shares must be positive, 1 in all, got {shares}")
        if not 0.0 < self.weight_bound < math.inf:
            raise TargetError(f"plan: weight_bound must be positive, got {self.weight_bound!r}")
