"""Cost-quality curves: what escalating the least confident share of requests buys.

Definitions.  r(c) is the mean quality when the share c of requests with the lowest confidence is
escalated; where confidences tie, the share is drawn from them at random and r is the expected
value, so that r is a straight line there.  PGR(c) = (r(c) - student) / (teacher - student),
the performance gap recovered.  CPT(p) is the smallest c with PGR(c) >= p.  APGR is the area under
PGR(c) for c from 0 to 1: RouteLLM's definition (Ong et al. 2024, arXiv:2406.18665), which they
approximate by ten points and we integrate exactly.  The share saved at q is what is left
of the teacher-only bill, 1 - (price of the drafts that were asked for + escalations), at the
smallest c with r(c) >= q * teacher's quality.

Everything here works on many reweightings of the same records at once (rows of ``weights``), which
is what the bootstrap needs; a single evaluation is one row.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.errors import EvaluationError
from evaluation.outcomes import Floats, Integers, Outcomes, sortable
from evaluation.reliability import (
    auroc_by_group,
    expected_calibration_errors,
    ordered,
    sums_up_to,
)

CPT_LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
SAVED_AT = (0.95, 0.99)
DEFAULT_STUDENT_PRICE = 1 / 20  # the teacher at twenty times the student's price
MEASURES = (
    "apgr",
    *(f"cpt{round(100 * level)}" for level in CPT_LEVELS),
    *(f"saved{round(100 * level)}" for level in SAVED_AT),
    "auroc",
    "ece",
)

_ROUNDING = 1e-12  # sums of floats reach a level that they equal only to this


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """A method to evaluate: in which order it escalates, and what it pays for asking the student.

    ``confidence`` has shape (n,), the lowest escalated first, NaN ("no signal") before all others.
    ``student_price`` is what all of the student's calls for one request cost, as a share of the
    teacher's price.  ``bar``, shape (n,), is the most that the confidence can come to, known before
    any draft is paid: where a threshold lies above it, the request goes straight to the teacher.
    None is a cascade that always asks for a draft; a router that decides by the prompt alone has
    its confidence as the bar.  ``stated`` is the probability that the draft is acceptable, where
    the order is by another number: AUROC and ECE are of it.
    Raises EvaluationError where a price is out of range, or a confidence above its bar.
    """

    confidence: npt.ArrayLike
    student_price: float = DEFAULT_STUDENT_PRICE
    bar: npt.ArrayLike | None = None
    stated: npt.ArrayLike | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.student_price < np.inf:
            raise EvaluationError(f"student_price: must be at least 0, got {self.student_price!r}")
        n = np.size(self.confidence)
        for name, values in (("bar", self.bar), ("stated", self.stated)):
            if values is not None and np.shape(values) != (n,):
                raise EvaluationError(f"{name} has shape {np.shape(values)}, there are {n} records")
        if self.bar is not None and (sortable(self.confidence, n) > sortable(self.bar, n)).any():
            raise EvaluationError("bar: a confidence lies above what it can come to")


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """r(c) as straight lines between points, one curve a row: all arrays have shape (b, k).

    ``shares`` start at 0, end at 1 and never decrease; ``quality`` starts at the student's and ends
    at the teacher's.  ``straight`` is the part of a share that no draft was paid for; None is none.
    """

    shares: Floats
    quality: Floats
    straight: Floats | None = None

    @property
    def student(self) -> Floats:
        """Quality when nothing is escalated, shape (b,)."""
        return self.quality[:, 0]

    @property
    def teacher(self) -> Floats:
        """Quality when everything is escalated, shape (b,)."""
        return self.quality[:, -1]

    def recovered(self) -> Floats:
        """PGR at each point, shape (b, k); NaN where the teacher is no better than the student."""
        gap = self.teacher - self.student
        return (self.quality - self.student[:, None]) / np.where(gap > 0.0, gap, np.nan)[:, None]

    def apgr(self) -> Floats:
        """Area under PGR, shape (b,): 0.5 for a random order; an oracle may exceed 1."""
        pgr = self.recovered()
        heights = (pgr[:, 1:] + pgr[:, :-1]) / 2
        return np.asarray(np.sum(heights * np.diff(self.shares, axis=1), axis=1))

    def cpt(self, level: float) -> Floats:
        """Smallest share to escalate with PGR >= ``level``, shape (b,); NaN where there is none."""
        gap = self.teacher - self.student
        reached = self.smallest_share(self.student + level * gap)
        return np.where(gap > 0.0, reached, np.nan)

    def saved(self, level: float, student_price: float) -> Floats:
        """Share of the teacher-only bill saved at ``level`` times its quality, shape (b,).

        Negative where the student's calls cost more than they spare.
        """
        target = level * self.teacher
        escalated = self._at_crossing(target, self.shares)
        straight = 0.0 if self.straight is None else self._at_crossing(target, self.straight)
        return np.asarray(1.0 - (student_price * (1.0 - straight) + escalated))

    def smallest_share(self, quality: Floats) -> Floats:
        """Smallest c with r(c) >= ``quality``, shape (b,); NaN where the curve never gets there."""
        return self._at_crossing(quality, self.shares)

    def _at_crossing(self, quality: Floats, values: Floats) -> Floats:
        """``values``, shape (b, k), at the first place where the curve has reached ``quality``."""
        enough = self.quality >= quality[:, None] - _ROUNDING
        right = np.argmax(enough, axis=1)
        rows = np.arange(len(right))
        left = np.maximum(right - 1, 0)
        low, high = self.quality[rows, left], self.quality[rows, right]
        rise = np.where(high > low, high - low, 1.0)
        part = np.clip(np.where(high > low, (quality - low) / rise, 0.0), 0.0, 1.0)
        start = values[rows, left]
        crossing = start + part * (values[rows, right] - start)
        return np.where(enough.any(axis=1), crossing, np.nan)

    def at(self, shares: Floats) -> Floats:
        """r at each of ``shares``, shape (b, len(shares))."""
        return np.stack(
            [np.interp(shares, x, y) for x, y in zip(self.shares, self.quality, strict=True)]
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sorted:
    """Records in the order in which a method escalates them; ties stand together.

    ``order`` has shape (n,); ``ends`` has the last place of each group of equal confidence.
    """

    outcomes: Outcomes
    ranking: Ranking
    order: Integers
    ends: Integers

    def curves(self, weights: Floats) -> Curves:
        """One curve for each row of ``weights``, shape (b, n), in the records' own order."""
        return self._curves(weights, weights[:, self.order])

    def measures(self, weights: Floats) -> tuple[dict[str, Floats], Curves]:
        """Every one of MEASURES for each row of ``weights``, and the curves that they are of.

        NaN where one is undefined.
        """
        curves = self.curves(weights)
        found = {"apgr": curves.apgr()}
        for level in CPT_LEVELS:
            found[f"cpt{round(100 * level)}"] = curves.cpt(level)
        for level in SAVED_AT:
            found[f"saved{round(100 * level)}"] = curves.saved(level, self.ranking.student_price)
        found.update(self._of_the_statement(weights))
        return found, curves

    def _of_the_statement(self, weights: Floats) -> dict[str, Floats]:
        ranking, acceptable = self.ranking, self.outcomes.student
        said = ranking.confidence if ranking.stated is None else ranking.stated
        stated = np.asarray(said, dtype=np.float64)
        order, ends = (self.order, self.ends) if ranking.stated is None else ordered(stated)
        return {
            "auroc": auroc_by_group(acceptable[order], weights[:, order], ends),
            "ece": expected_calibration_errors(stated, acceptable, weights),
        }

    def _straight(self, weights: Floats) -> Floats | None:
        """The share whose bar lies below what each point of the curve asks for; None without."""
        if self.ranking.bar is None:
            return None
        n = self.outcomes.n
        bar = sortable(self.ranking.bar, n)
        by_bar = np.argsort(bar, kind="stable")
        levels = sortable(self.ranking.confidence, n)[self.order[self.ends]]
        below = np.searchsorted(bar[by_bar], levels, side="right")
        running = sums_up_to(weights[:, by_bar], np.arange(n))
        shares = running[:, np.r_[0, below]] / running[:, -1:]
        shares[:, 0] = 0.0
        return np.asarray(shares)

    def _curves(self, weights: Floats, drawn: Floats) -> Curves:
        student, teacher = self.outcomes.student[self.order], self.outcomes.teacher[self.order]
        total = drawn.sum(axis=1)[:, None]
        shares = sums_up_to(drawn, self.ends)
        shares /= total
        quality = sums_up_to(drawn * (teacher - student), self.ends)
        quality /= total
        quality += (drawn @ student)[:, None] / total
        shares[:, -1] = 1.0
        quality[:, -1] = (drawn @ teacher) / total[:, 0]
        return Curves(shares, quality, self._straight(weights))


def sort(outcomes: Outcomes, ranking: Ranking) -> Sorted:
    """Put the records in the order in which ``ranking`` escalates them."""
    return Sorted(outcomes, ranking, *ordered(sortable(ranking.confidence, outcomes.n)))


def curve_of(outcomes: Outcomes, confidence: npt.ArrayLike) -> Curves:
    """The one cost-quality curve of these records, as a single row."""
    return sort(outcomes, Ranking(confidence)).curves(outcomes.weight[None, :])


def measure(outcomes: Outcomes, ranking: Ranking) -> dict[str, float | None]:
    """Every one of MEASURES on these records; None where one is undefined.

    CPT and APGR are undefined where the teacher is no better than the student, ``saved`` where no
    share reaches the quality asked for, AUROC where all drafts are alike, and ECE where a
    confidence lies outside [0, 1].
    """
    found, _ = sort(outcomes, ranking).measures(outcomes.weight[None, :])
    return {name: _or_none(values[0]) for name, values in found.items()}


def mean_quality(outcomes: Outcomes) -> tuple[float, float]:
    """The student's and the teacher's mean quality, weighted."""
    weight = outcomes.weight
    return (
        float(np.average(outcomes.student, weights=weight)),
        float(np.average(outcomes.teacher, weights=weight)),
    )


# --- what every method stands beside ----------------------------------------------------------


def random_ranking(
    outcomes: Outcomes, student_price: float = DEFAULT_STUDENT_PRICE, *, straight: bool = True
) -> Ranking:
    """Escalate at random: nothing is stated, all tie.  ``straight``: before any draft is paid."""
    silence = np.full(outcomes.n, np.nan)
    return Ranking(silence, student_price, bar=silence if straight else None)


def oracle_ranking(outcomes: Outcomes) -> Ranking:
    """Escalate where the teacher gains most: the best curve that any order can have."""
    return Ranking(outcomes.student - outcomes.teacher)


def always_student(
    outcomes: Outcomes, student_price: float = DEFAULT_STUDENT_PRICE
) -> dict[str, float | None]:
    """MEASURES of never asking the teacher: nothing is recovered, whatever it is worth is saved."""
    student, teacher = mean_quality(outcomes)
    found = _none_of_them()
    found["apgr"] = 0.0 if teacher > student else None
    for level in SAVED_AT:
        is_enough = student >= level * teacher - _ROUNDING
        found[f"saved{round(100 * level)}"] = 1.0 - student_price if is_enough else None
    return found


def always_teacher(outcomes: Outcomes) -> dict[str, float | None]:
    """MEASURES of never asking the student: all is recovered, nothing saved."""
    student, teacher = mean_quality(outcomes)
    found = _none_of_them()
    if teacher > student:
        found["apgr"] = 1.0
        found.update({f"cpt{round(100 * level)}": 1.0 for level in CPT_LEVELS})
    found.update({f"saved{round(100 * level)}": 0.0 for level in SAVED_AT})
    return found


def _none_of_them() -> dict[str, float | None]:
    return dict.fromkeys(MEASURES)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
