"""Traffic that is known in full: what every threshold truly keeps, and how wrong that is.

Runs draw their requests from it with replacement, so that real records have a true risk, too.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import root

from evaluation.outcomes import Floats, Integers
from evaluation.simulate import (
    Population,
    logistic_population,
    plateau_population,
    population_of,
)

STUDENT_PRICE = 0.05  # of one call of the teacher, which costs 1
OPTIONS = 4  # what the public sets ask with; the logits hold more columns than that
_ROUNDING = 1e-9  # sums of a million floats are exact to about that


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """Every request there is, the most confident first; every array has shape (size,).

    ``merit`` falls.  ``wrong`` is the probability of a loss of 1, or where ``is_graded`` the loss.
    ``kept_with`` is how many have at least the merit of that place: ties stay together.
    ``risk`` is the mean loss of the places up to and with each.
    """

    merit: Floats
    wrong: Floats
    kept_with: Integers
    risk: Floats
    is_graded: bool = False

    @property
    def size(self) -> int:
        """How many requests."""
        return len(self.merit)

    def kept_by(self, thresholds: npt.ArrayLike) -> Integers:
        """How many each threshold keeps."""
        found = np.searchsorted(-self.merit, -np.asarray(thresholds, dtype=np.float64), "right")
        return np.asarray(found, dtype=np.int64)

    def places_of(self, merits: npt.ArrayLike) -> Integers:
        """Where drafts of these merits would stand: kept by just what keeps such a draft."""
        return np.maximum(self.kept_by(merits), 1) - 1

    def threshold_of(self, share: float) -> float:
        """The threshold that keeps so much, which must be more than nothing."""
        return float(self.merit[max(round(share * self.size), 1) - 1])

    def risk_of(self, kept: Integers) -> Floats:
        """The true risk among the first so many; 0 where there is none."""
        return np.where(kept > 0, self.risk[np.maximum(kept, 1) - 1], 0.0)

    def is_above(self, kept: Integers, alpha: float) -> npt.NDArray[np.bool_]:
        """Whether keeping so many breaks a promise of ``alpha``."""
        return self.risk_of(kept) > alpha + _ROUNDING

    def oracle(self, alpha: float) -> float:
        """The share kept by the most permissive threshold of all that keeps the promise."""
        ends = np.unique(self.kept_with)
        good = ends[~self.is_above(ends, alpha)]
        return float(good[-1]) / self.size if good.size else 0.0

    def losses(self, places: Integers, generator: np.random.Generator) -> Floats:
        """What the teacher's answers say of drafts at these places."""
        wrong = self.wrong[places]
        if self.is_graded:
            return wrong
        return (generator.random(places.shape) < wrong).astype(np.float64)


def bill_of(kept: npt.ArrayLike, audited: npt.ArrayLike = 0.0) -> Floats:
    """What a request costs where this share is kept, and this share of all audited."""
    return np.asarray(STUDENT_PRICE + 1.0 - np.asarray(kept) + np.asarray(audited))


def traffic_of(population: Population) -> Traffic:
    """A population's students against a teacher who is always right."""
    order = np.argsort(-population.confidence, kind="stable")
    merit, wrong = population.confidence[order], 1.0 - population.student[order]
    kept_with = np.searchsorted(-merit, -merit, "right")
    risk = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    return Traffic(merit, wrong, kept_with, risk, is_graded=not population.is_binary)


def mixed(one: Traffic, other: Traffic) -> Traffic:
    """Both as one route, each with as much traffic as it has requests; losses are 0 or 1."""
    merit = np.concatenate([one.merit, other.merit])
    return traffic_of(population_of(merit, 1.0 - np.concatenate([one.wrong, other.wrong])))


# --- the populations of the study ---------------------------------------------------------------


def ranked(disagreement: float, auroc: float) -> Traffic:
    """Logistic traffic of that mean disagreement, whose merit tells wrong from right that well."""
    return traffic_of(logistic_population(*_solved(disagreement, auroc)))


def bumped(disagreement: float, auroc: float) -> Traffic:
    """The same, and a hundredth of the traffic that is sure and wrong once in five times."""
    base = logistic_population(*_solved(disagreement, auroc))
    size = round(len(base.student) / 99.0)
    confidence = np.concatenate([base.confidence, np.ones(size)])
    student = np.concatenate([base.student, np.full(size, 0.8)])
    return traffic_of(population_of(confidence, student))


def plateau(alpha: float, levels: int = 24, above: float = 1.002) -> Traffic:
    """A tenth that is nearly always right, then ``levels`` steps of 2% a hair above alpha.

    Whoever lets one of them in breaks the promise, and each is as hard to tell as it may be.
    """
    base = plateau_population(above * alpha, size=100_000)
    end = round((0.1 + 0.02 * levels) * len(base.student))
    student = np.where(np.arange(len(base.student)) < end, base.student, 0.0)
    return traffic_of(population_of(base.confidence, student))


def options_pair(student: npt.ArrayLike, teacher: npt.ArrayLike) -> Traffic:
    """From the logits of both over the options: the student's largest probability is the merit.

    A draft is wrong where the option with the highest logit is another one.
    """
    drafts = np.asarray(student, dtype=np.float64)[:, :OPTIONS]
    answers = np.asarray(teacher, dtype=np.float64)[:, :OPTIONS]
    odds = np.exp(drafts - drafts.max(axis=1, keepdims=True))
    agrees = drafts.argmax(axis=1) == answers.argmax(axis=1)
    return traffic_of(population_of(1.0 / odds.sum(axis=1), agrees))


def _solved(disagreement: float, auroc: float) -> tuple[float, float]:
    """Intercept and slope of the logistic population with these two."""

    def missed(x: Floats) -> tuple[float, float]:
        found = traffic_of(logistic_population(float(x[0]), float(x[1])))
        return float(found.wrong.mean()) - disagreement, _auroc(found) - auroc

    found = root(missed, (math.log(disagreement / (1.0 - disagreement)), 2.0))
    if not found.success:
        raise ValueError(f"no traffic has disagreement {disagreement!r} and AUROC {auroc!r}")
    return float(found.x[0]), float(found.x[1])


def _auroc(traffic: Traffic) -> float:
    """Chance that a right draft has more merit than a wrong one; without ties."""
    right, wrong = 1.0 - traffic.wrong, traffic.wrong
    above = np.cumsum(right) - right / 2.0
    return float(wrong @ above / (wrong.sum() * right.sum()))
