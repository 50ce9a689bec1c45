"""What the teacher alone would have cost: predicted for each request, corrected by a sample.

Where the teacher did not answer, its bill is predicted from the student's, by how much more it
reads and writes than the student: two ratios, learnt from requests that both have answered.  A
prediction may be wrong by any factor.  A share of the drafts that would be kept, held out at
random, says by how much, and so makes the sum right on average, with an interval.  docs/savings.md
derives both.  Nothing here throws the coin, or knows why a request was answered twice.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from routing.money import Price, Usage, cost_of
from routing.vocabulary import Basis

# With fewer observations a ratio says more of the few than of the many.
LEAST_OBSERVATIONS = 20
# All sums are halved at so many, so that a teacher that changes its ways is followed.
MOST_OBSERVATIONS = 2_000
# With fewer drafts held out an interval is too narrow: the longest answers are not among them.
LEAST_HELD_OUT = 100
# Two-sided, 95%, of the normal distribution.
NORMAL_95 = 1.96

_WEIGHT_OF_ONE = 10**6  # weights are whole numbers of these: sums stay exact and small


class Missing(StrEnum):
    """Why there is no estimate: nobody knows the tokens, or what a token costs."""

    USAGE = "usage"
    PRICE = "price"


class Part(StrEnum):
    """What of a call the two models differ in: their tokenizers, and how much they write."""

    INPUT = "input"
    OUTPUT = "output"


# A tuple is made in a third of the time that a frozen dataclass takes: each request has one.
class Estimate(NamedTuple):
    """What the teacher alone would have cost for one request, and on what that rests.

    ``pico``, in pico-dollars, is None where it is unknown, which is never 0; ``missing`` says why.
    """

    pico: int | None
    basis: Basis
    missing: Missing | None = None


@dataclass(frozen=True, slots=True)
class Ratios:
    """How many tokens the teacher reads and writes for each of the student's.

    They never change: whoever holds on to them predicts as at the time when they were learnt.
    """

    basis: Basis = Basis.PRICES
    input: Fraction = Fraction(1)
    output: Fraction = Fraction(1)
    # What reading and writing are multiplied with, and their sum then divided by, to predict in
    # whole numbers: a tenth of what sums of fractions take, and this is done for each request.
    _of_read: int = field(init=False, repr=False, compare=False)
    _of_written: int = field(init=False, repr=False, compare=False)
    _unit: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        set_once = object.__setattr__  # they are frozen
        set_once(self, "_of_read", self.input.numerator * self.output.denominator)
        set_once(self, "_of_written", self.output.numerator * self.input.denominator)
        set_once(self, "_unit", self.input.denominator * self.output.denominator)

    def predict(self, student: Usage | None, price: Price | None) -> Estimate:
        """What the teacher would have cost where the student alone answered with this ``usage``.

        As much of the prompt is taken to be cached, and of the answer reasoning, as the student's.
        """
        if student is None or price is None:
            return _unknown(self.basis, student, price)
        exact = _reading(student, price) * self._of_read
        exact += _writing(student, price) * self._of_written
        return Estimate(_nearest(exact, self._unit), self.basis)

    def predict_spliced(
        self, student: Usage | None, begun: int, teacher: Usage | None, price: Price | None
    ) -> Estimate:
        """The same where the teacher went on from the first ``begun`` tokens of the student's.

        The answer is priced as it stands: what the teacher wrote as it was measured; the prompt and
        the beginning as the same words in the teacher's tokens.  A student whose bill is unknown
        leaves the prompt that the teacher read, less the beginning.
        """
        if teacher is None or price is None:
            return _unknown(self.basis, teacher, price)
        begun_there = begun * self.input
        if student is None:
            read = max(teacher.input - begun_there, Fraction(0)) * price.input
        else:
            read = _reading(student, price) * self.input
        written = begun_there * price.output + _writing(teacher, price)
        return Estimate(_rounded(read + written), self.basis)


def measure(teacher: Usage | None, price: Price | None) -> Estimate:
    """What the teacher did cost where it wrote the whole answer."""
    if teacher is None or price is None:
        return _unknown(Basis.MEASURED, teacher, price)
    return Estimate(cost_of(teacher, price), Basis.MEASURED)


class Observation(NamedTuple):
    """One request that both models have answered in full.

    ``propensity`` in (0, 1] is the probability with which it was to be had; ``basis`` says whether
    it is one of the drafts kept, chosen at random (``sample``), or was not kept (``escalations``).
    """

    basis: Basis
    student: Usage
    teacher: Usage
    propensity: Fraction = Fraction(1)


class Direction(StrEnum):
    """Which way a correction goes: what only ever grows has a sum for each."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Correction:
    """What one request of the sample adds to the baseline: pico-dollars, of either sign.

    ``variance_pico2`` is what it adds to the variance of the sum, in their squares.
    """

    pico: int
    variance_pico2: int

    @property
    def direction(self) -> Direction:
        """Whether it adds to the baseline or takes from it."""
        return Direction.UP if self.pico >= 0 else Direction.DOWN


def correction_of(
    measured: int, predicted: int, propensity: Fraction, *, is_in_sum: bool
) -> Correction:
    """How far off the predictions of all requests like this one are, judged by this one.

    It was to be had with the probability ``propensity`` in (0, 1], and stands for 1 / propensity of
    them.  ``is_in_sum``: what was measured is in the baseline already, in place of the prediction,
    because the client got the teacher's answer; an audit, whose client got the draft, has the
    prediction there.  Särndal, Swensson and Wretman 1992, "Model Assisted Survey Sampling", 6.3:
    the difference estimator, here of independent draws.
    """
    error = measured - predicted
    return Correction(
        pico=_rounded(error * (1 / propensity - is_in_sum)),
        variance_pico2=_rounded(error**2 * (1 - propensity) / propensity**2),
    )


@dataclass(frozen=True, slots=True)
class Bounds:
    """A ratio with its 95% interval."""

    low: float
    estimate: float
    high: float


class Learner:
    """What is known of one cascade's two models, from the requests that both have answered.

    ``ratios`` are those to predict with from now on: of the kept drafts that were chosen at random
    once there are enough, else of the others, which are no random sample, else none.
    """

    def __init__(self) -> None:
        self.ratios = Ratios()
        self._strata = {basis: _Stratum() for basis in (Basis.SAMPLE, Basis.ESCALATIONS)}

    def learn(self, seen: Observation) -> None:
        """Take one observation in.  Raises KeyError for a basis that nothing is learnt from."""
        self._strata[seen.basis].add(seen)
        for basis, stratum in self._strata.items():
            if stratum.is_enough:
                sums = stratum.sums
                self.ratios = Ratios(basis, sums[Part.INPUT].ratio, sums[Part.OUTPUT].ratio)
                return

    @property
    def bounds(self) -> Mapping[Part, Bounds]:
        """The ratios in use with their intervals; none where nothing is learnt yet."""
        stratum = self._strata.get(self.ratios.basis)
        return {} if stratum is None else {part: stratum.bounds(part) for part in Part}


class _Stratum:
    """Weighted sums over the observations of one kind."""

    def __init__(self) -> None:
        self.count = 0
        self.sums = {part: _Sums() for part in Part}

    @property
    def is_enough(self) -> bool:
        return self.count >= LEAST_OBSERVATIONS and all(sums.x > 0 for sums in self.sums.values())

    def add(self, seen: Observation) -> None:
        propensity = seen.propensity
        weight = _nearest(_WEIGHT_OF_ONE * propensity.denominator, propensity.numerator)
        self.sums[Part.INPUT].add(weight, seen.student.input, seen.teacher.input)
        self.sums[Part.OUTPUT].add(weight, seen.student.output, seen.teacher.output)
        self.count += 1
        if self.count >= MOST_OBSERVATIONS:
            self.count //= 2
            for sums in self.sums.values():
                sums.halve()

    def bounds(self, part: Part) -> Bounds:
        """By the delta method for a ratio of sums: Särndal, Swensson and Wretman 1992, 5.6."""
        sums = self.sums[part]
        ratio = sums.ratio
        scatter = sums.yy - 2 * ratio * sums.xy + ratio**2 * sums.xx
        variance = scatter / sums.x**2 * self.count / (self.count - 1)
        # Halved sums are rounded, so that a scatter of nothing may come out a hair below it.
        half = NORMAL_95 * math.sqrt(max(variance, Fraction(0)))
        return Bounds(max(float(ratio) - half, 0.0), float(ratio), float(ratio) + half)


@dataclass(slots=True)
class _Sums:
    """Of the student's tokens x and the teacher's y: weighted, and the squares of weighted ones."""

    x: int = 0
    y: int = 0
    xx: int = 0
    xy: int = 0
    yy: int = 0

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.y, self.x)

    def add(self, weight: int, x: int, y: int) -> None:
        x, y = weight * x, weight * y
        self.x += x
        self.y += y
        self.xx += x * x
        self.xy += x * y
        self.yy += y * y

    def halve(self) -> None:
        """Forget one in two of them, of all kinds alike."""
        self.x //= 2
        self.y //= 2
        self.xx //= 2
        self.xy //= 2
        self.yy //= 2


def _reading(usage: Usage, price: Price) -> int:
    fresh = usage.input - usage.cached_input
    return fresh * price.input + usage.cached_input * price.cached_input


def _writing(usage: Usage, price: Price) -> int:
    said = usage.output - usage.reasoning
    return said * price.output + usage.reasoning * price.reasoning


def _unknown(basis: Basis, usage: Usage | None, price: Price | None) -> Estimate:
    return Estimate(None, basis, Missing.USAGE if usage is None else Missing.PRICE)


def _rounded(exact: Fraction | int) -> int:
    """One rounding for each amount that is posted."""
    return _nearest(exact.numerator, exact.denominator)


def _nearest(numerator: int, denominator: int) -> int:
    """The nearest whole number, halves upwards."""
    return (2 * numerator + denominator) // (2 * denominator)
