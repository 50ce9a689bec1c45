"""Does the promise hold?  Calibrate, deploy, count: seeded rounds on populations known in full.

A population is a table of requests, so that what a threshold truly does is a sum over it and no
estimate.  Each round draws calibration records from it, chooses a threshold and looks up whether
that keeps the promise.  The same rounds with a naive rule, the most permissive threshold whose
point estimate is good enough, show that a rule can fail here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from evaluation.binomial import chance_of_at_least
from evaluation.bounds import Batch, certified_thresholds
from evaluation.errors import EvaluationError
from evaluation.excess import excess_of
from evaluation.outcomes import Booleans, Floats, Outcomes, outcomes_of, sortable
from evaluation.targets import Kind, Plan, Target

_CHUNK_NUMBERS = 400_000  # rounds x records in work at a time


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """All requests there are, each as likely as the others; every array has shape (size,).

    ``confidence`` is -inf without a signal.  ``student`` and ``teacher`` are qualities in [0, 1];
    where ``is_binary``, they are the probabilities with which a record says 1.  ``drawn`` is the
    probability in (0, 1] of being sampled for calibration; records weigh its inverse.
    """

    confidence: Floats
    student: Floats
    teacher: Floats
    drawn: Floats
    is_binary: bool = True

    def draw(self, generator: np.random.Generator, rounds: int, n: int) -> Batch:
        """``rounds`` calibration sets of ``n`` records each."""
        size = len(self.confidence)
        if bool((self.drawn == self.drawn[0]).all()):
            places = generator.integers(0, size, size=(rounds, n))
        else:
            rising = np.cumsum(self.drawn)
            places = np.searchsorted(rising, generator.random((rounds, n)) * rising[-1], "right")
        student, teacher = self.student[places], self.teacher[places]
        if self.is_binary:
            student = (generator.random((rounds, n)) < student).astype(np.float64)
            teacher = (generator.random((rounds, n)) < teacher).astype(np.float64)
        return Batch(self.confidence[places], student, teacher, 1.0 / self.drawn[places])

    def records(self, generator: np.random.Generator, n: int) -> tuple[Outcomes, Floats]:
        """One set of ``n`` records and their confidences: other records, to plan with."""
        batch = self.draw(generator, 1, n)
        outcomes = outcomes_of(batch.student[0], batch.teacher[0], batch.weight[0])
        return outcomes, batch.confidence[0]

    def breaks(self, thresholds: Floats, target: Target) -> Booleans:
        """Whether each threshold truly breaks the target; NaN, nothing promised, breaks nothing."""
        order = np.argsort(-self.confidence, kind="stable")
        rising = -self.confidence[order]
        kept = np.searchsorted(rising, -np.nan_to_num(thresholds, nan=np.inf), "right")
        excess = _excess_by_count(self.student[order], self.teacher[order], target)[kept]
        # Sums of a million floats are exact to about 1e-9 of a request; so is this comparison.
        return np.asarray((excess > 1e-6) & ~np.isnan(thresholds))

    def kept_shares(self, thresholds: Floats) -> Floats:
        """The share of requests that each threshold keeps; NaN keeps none."""
        rising = np.sort(-self.confidence)
        kept = np.searchsorted(rising, -np.nan_to_num(thresholds, nan=np.inf), "right")
        return np.where(np.isnan(thresholds), 0.0, kept / len(rising))


@dataclass(frozen=True, slots=True)
class Tally:
    """What came of a cell's rounds: how many certified a threshold, how many broke the promise.

    ``kept_share`` is the mean over all rounds, a refusal keeping nothing.
    """

    rounds: int
    certified: int
    violations: int
    kept_share: float

    @property
    def rate(self) -> float:
        """Share of rounds that broke the promise."""
        return self.violations / self.rounds

    def chance(self, delta: float) -> float:
        """How likely so many violations or more are, were the true rate just ``delta``.

        A small value speaks against the promise: an exact one-sided binomial test.
        """
        return chance_of_at_least(self.violations, self.rounds, delta)


Rule = Callable[[Batch, Target, Plan], Floats]
Planner = Callable[[np.random.Generator], Plan]


def simulate(
    population: Population,
    target: Target,
    planner: Planner,
    size: "Size",
    rule: Rule = certified_thresholds,
) -> Tally:
    """Calibrate and deploy ``size.rounds`` times on ``size.n`` records.

    ``planner`` makes the plan of each group of rounds from a generator of its own, as it would from
    other records.  ``rule`` takes as many sets as it is given.
    """
    generator = np.random.default_rng(size.seed)
    certified = violations = 0
    kept = 0.0
    for rounds in _chunks(size):
        plan = planner(generator)
        thresholds = rule(population.draw(generator, rounds, size.n), target, plan)
        certified += int(np.count_nonzero(~np.isnan(thresholds)))
        violations += int(np.count_nonzero(population.breaks(thresholds, target)))
        kept += float(population.kept_shares(thresholds).sum())
    return Tally(size.rounds, certified, violations, kept / size.rounds)


@dataclass(frozen=True, slots=True)
class Size:
    """How much one cell simulates: ``rounds`` calibrations on ``n`` records; at least ``plans``."""

    n: int
    rounds: int
    seed: int = 0
    plans: int = 10

    def __post_init__(self) -> None:
        if min(self.n, self.rounds, self.plans) < 1:
            raise EvaluationError(f"simulate: needs at least one of each, got {self}")


def naive_thresholds(batch: Batch, target: Target, plan: Plan) -> Floats:
    """The most permissive of the plan's thresholds that looks good enough: a promise to no one."""
    found = np.full(len(batch.confidence), np.nan)
    levels = plan.thresholds
    if target.kind is Kind.ESCALATION_RATE:
        levels = levels[::-1]
    for threshold in levels:
        kept = batch.confidence >= threshold
        excess = excess_of(batch, kept, target)
        looks_good = (excess.sum(axis=1) <= 0.0) & kept.any(axis=1)
        found[looks_good] = threshold
    return found


# --- populations ----------------------------------------------------------------------------


def population_of(
    confidence: npt.ArrayLike,
    student: npt.ArrayLike,
    teacher: npt.ArrayLike | None = None,
    drawn: npt.ArrayLike | None = None,
    *,
    is_binary: bool = True,
) -> Population:
    """Real records as a population: resampled with replacement, their true risk curve is exact."""
    right = np.asarray(student, dtype=np.float64)
    return Population(
        confidence=sortable(confidence, right.size),
        student=right,
        teacher=np.ones_like(right) if teacher is None else np.asarray(teacher, dtype=np.float64),
        drawn=np.ones_like(right) if drawn is None else np.asarray(drawn, dtype=np.float64),
        is_binary=is_binary,
    )


def logistic_population(intercept: float, slope: float, size: int = 20_000) -> Population:
    """Disagreement sigmoid(intercept - slope z) for normal z: the confidence ranks perfectly."""
    z = np.sort(_normal_quantiles(size))
    acceptable = 1.0 / (1.0 + np.exp(intercept - slope * z))
    return population_of(acceptable, acceptable)


def with_confident_errors(population: Population, share: float, acceptable: float) -> Population:
    """The same with the top ``share`` of confidence right that often only: risk is not monotone."""
    cut = np.quantile(population.confidence, 1.0 - share)
    student = np.where(population.confidence > cut, acceptable, population.student)
    return population_of(population.confidence, student, population.teacher)


def with_ties(population: Population, values: int) -> Population:
    """The same with only so many values of confidence."""
    coarse = np.ceil(population.confidence * values) / values
    return population_of(coarse, population.student, population.teacher)


def plateau_population(risk: float, share: float = 0.1, size: int = 20_000) -> Population:
    """Nearly no loss in the top ``share``, then ``risk`` among kept drafts at every threshold.

    With ``risk`` a hair above the target's, the first wrong level is reached every time and every
    level is as hard to tell: the stress that makes a valid test err as often as it may.
    """
    place = (np.arange(size) + 0.5) / size
    student = np.where(place < share, 1.0, 1.0 - risk)
    # The strict part's spared losses follow at once, so that the mean among kept is `risk` at all
    # thresholds below.
    step = (place >= share) & (place < share + share * risk / (1.0 - risk))
    return population_of(1.0 - place, np.where(step, 0.0, student))


def _normal_quantiles(size: int) -> Floats:
    return np.asarray(ndtri((np.arange(size) + 0.5) / size))


def _excess_by_count(student: Floats, teacher: Floats, target: Target) -> Floats:
    """By how much the target is missed if the first 0, 1, ... requests are kept: above 0 if so."""
    match target.kind:
        case Kind.DISAGREEMENT:
            return _sums(1.0 - student - target.value)
        case Kind.QUALITY:
            return (target.value - 1.0) * float(teacher.sum()) - _sums(student - teacher)
        case Kind.ESCALATION_RATE:
            size = len(student)
            return (1.0 - target.value) * size - np.arange(size + 1.0)


def _sums(values: Floats) -> Floats:
    """0, then running sums."""
    return np.concatenate([np.zeros(1), np.cumsum(values)])


def _chunks(size: Size) -> Iterator[int]:
    """Rounds done together, each group with a plan of its own."""
    most = max(1, min(_CHUNK_NUMBERS // size.n, -(-size.rounds // size.plans)))
    for first in range(0, size.rounds, most):
        yield min(most, size.rounds - first)
