"""The promise, kept or broken: calibrate-then-deploy rounds on populations known in full.

The short cells run always; the whole grid, 1,000 rounds a cell, with --full.  A cell fails where so
many violations would come less than once in a thousand times from a rule that keeps its promise.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from evaluation.bounds import Batch, certified_thresholds
from evaluation.errors import EvaluationError
from evaluation.outcomes import Floats
from evaluation.plans import labelled_plan, levels_of, unlabelled_plan
from evaluation.simulate import (
    Planner,
    Population,
    Size,
    Tally,
    logistic_population,
    naive_thresholds,
    plateau_population,
    population_of,
    simulate,
    with_confident_errors,
    with_ties,
)
from evaluation.targets import Kind, Plan, Target, Test
from tests.evaluation.public_data import agreement_pair, emotion_pair

SUSPICIOUS = 1e-3
MOST_OTHER_RECORDS = 1000


def smooth() -> Population:
    return logistic_population(-1.39, 2.6)  # 33% disagreement, AUROC .90


def strong() -> Population:
    return logistic_population(-3.5, 1.5)  # 7% disagreement


def humped() -> Population:
    return with_confident_errors(smooth(), share=0.01, acceptable=0.8)


def tied() -> Population:
    return with_ties(smooth(), values=8)


def hair_above() -> Population:
    return plateau_population(0.0501)


def exactly_two() -> Population:
    """Never more than two of a hundred wrong, and at that everywhere: no margin to find."""
    return plateau_population(0.0201, share=0.3)


def weighted() -> Population:
    """Kept drafts are sampled once in five times, the others always."""
    base = smooth()
    drawn = np.where(base.confidence > np.median(base.confidence), 0.2, 1.0)
    return population_of(base.confidence, base.student, drawn=drawn)


def graded() -> Population:
    """Qualities in quarters, for both; a third of the teacher's answers is no better."""
    generator = np.random.default_rng(7)
    base = smooth()
    student = generator.binomial(4, base.student) / 4
    teacher = np.where(generator.random(student.size) < 1 / 3, student, 1.0)
    return population_of(base.confidence, student, teacher, is_binary=False)


def fallible() -> Population:
    """The teacher is right on nine in ten, so that students can beat it."""
    base = smooth()
    return population_of(base.confidence, base.student, np.full_like(base.student, 0.9))


def emotion() -> Population:
    return population_of(*emotion_pair())


def mmlu_agreement() -> Population:
    return population_of(*agreement_pair("mmlu_10k"))


def cosmosqa_agreement() -> Population:
    return population_of(*agreement_pair("cosmosqa_10k"))


SYNTHETIC = (
    smooth, strong, humped, tied, hair_above, exactly_two, weighted, graded, fallible,
)  # fmt: skip
REAL = (emotion, mmlu_agreement, cosmosqa_agreement)
TARGETS = (
    Target(Kind.DISAGREEMENT, 0.05),
    Target(Kind.DISAGREEMENT, 0.1, 0.9),
    Target(Kind.DISAGREEMENT, 0.02, 0.99),
    Target(Kind.DISAGREEMENT, 0.005),
    Target(Kind.DISAGREEMENT, 0.25, 0.8),
    Target(Kind.QUALITY, 0.95),
    Target(Kind.QUALITY, 0.99),
    Target(Kind.QUALITY, 0.999, 0.9),
    Target(Kind.QUALITY, 0.7, 0.9),
    Target(Kind.ESCALATION_RATE, 0.2),
    Target(Kind.ESCALATION_RATE, 0.01, 0.9),
    Target(Kind.ESCALATION_RATE, 0.9, 0.99),
)
SIZES = (100, 500)
MANY_RECORDS = 5000
# Five thousand records take ten times as long: ties, weights, grades, and one real set.
WITH_MANY = frozenset({"tied", "weighted", "graded", "emotion"})


@cache
def made(population: Callable[[], Population]) -> Population:
    return population()


def planner(population: Population, target: Target, n: int) -> Planner:
    """As a user would: grid, start and test from other records, labelled as well."""
    bound = float((1.0 / population.drawn).max())

    def plan(generator: np.random.Generator) -> Plan:
        others = min(max(n, 200), MOST_OTHER_RECORDS)
        outcomes, confidence = population.records(generator, others)
        return labelled_plan(outcomes, confidence, target, n, bound)

    return plan


def tally(
    population: Callable[[], Population], target: Target, n: int, rounds: int = 1000
) -> Tally:
    drawn = made(population)
    return simulate(drawn, target, planner(drawn, target, n), Size(n, rounds, seed=n))


def naive(population: Callable[[], Population], target: Target, n: int, rounds: int = 400) -> Tally:
    drawn = made(population)
    size = Size(n, rounds, seed=n)
    return simulate(drawn, target, planner(drawn, target, n), size, naive_thresholds)


def name_of(value: object) -> str:
    return getattr(value, "__name__", str(value))


# --- always ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("population", "target", "n", "kept"),
    [
        (smooth, Target(Kind.DISAGREEMENT, 0.05), 1000, 0.25),
        (smooth, Target(Kind.QUALITY, 0.95), 300, 0.4),
        (humped, Target(Kind.DISAGREEMENT, 0.1, 0.9), 500, 0.4),
        (hair_above, Target(Kind.DISAGREEMENT, 0.05), 1000, 0.02),
        (weighted, Target(Kind.DISAGREEMENT, 0.1), 1000, 0.3),
        (graded, Target(Kind.DISAGREEMENT, 0.1), 500, 0.3),
        (fallible, Target(Kind.QUALITY, 0.99), 500, 0.2),
        (tied, Target(Kind.ESCALATION_RATE, 0.2), 200, 0.8),
        (weighted, Target(Kind.ESCALATION_RATE, 0.3), 500, 0.7),
    ],
    ids=name_of,
)
def test_promise_is_kept_and_something_with_it(
    population: Callable[[], Population], target: Target, n: int, kept: float
) -> None:
    found = tally(population, target, n, rounds=300)
    assert found.chance(target.delta) > SUSPICIOUS, found
    assert found.kept_share > kept, found


@pytest.mark.parametrize(
    ("population", "target", "n"),
    [
        (smooth, Target(Kind.DISAGREEMENT, 0.05), 500),
        (fallible, Target(Kind.QUALITY, 0.99), 500),
        (smooth, Target(Kind.ESCALATION_RATE, 0.2), 500),
    ],
    ids=name_of,
)
def test_point_estimate_breaks_the_same_promise(
    population: Callable[[], Population], target: Target, n: int
) -> None:
    found = naive(population, target, n, rounds=200)
    assert found.chance(target.delta) < 1e-9, found


def test_resampled_real_records_keep_the_promise_where_a_point_estimate_does_not() -> None:
    target = Target(Kind.DISAGREEMENT, 0.1, 0.9)
    found = tally(cosmosqa_agreement, target, 500, rounds=300)
    assert found.chance(target.delta) > SUSPICIOUS, found
    assert found.kept_share > 0.05, found
    assert naive(cosmosqa_agreement, target, 500, rounds=200).chance(target.delta) < 1e-9


def unordered(batch: Batch, target: Target, plan: Plan) -> Floats:
    """The most permissive level that passes on its own: the same tests, no order."""
    found = np.full(len(batch.confidence), np.nan)
    for level in plan.thresholds:
        alone = certified_thresholds(batch, target, replace(plan, thresholds=np.array([level])))
        found = np.where(np.isnan(alone), found, alone)
    return found


def test_harness_notices_a_search_without_an_order() -> None:
    population, target = made(hair_above), Target(Kind.DISAGREEMENT, 0.05)
    plan = Plan(levels_of(population.confidence), test=Test.BINOMIAL)
    ordered = simulate(population, target, lambda _: plan, Size(500, 500))
    assert ordered.chance(target.delta) > SUSPICIOUS, ordered
    greedy = simulate(population, target, lambda _: plan, Size(500, 500), unordered)
    assert greedy.chance(target.delta) < SUSPICIOUS, greedy


def test_truth_is_looked_up_to_the_request() -> None:
    population = population_of([0.9, 0.8, 0.8, 0.1], [1, 1, 0, 0], [1, 1, 1, 0])
    thresholds = np.array([np.nan, 0.95, 0.9, 0.8, 0.5, 0.0])
    third = Target(Kind.DISAGREEMENT, 1 / 3)
    assert population.breaks(thresholds, third).tolist() == [False] * 5 + [True]
    less = Target(Kind.DISAGREEMENT, 0.33)
    assert population.breaks(thresholds, less).tolist() == [False] * 3 + [True] * 3
    assert not population.breaks(thresholds, Target(Kind.QUALITY, 2 / 3)).any()
    assert population.breaks(thresholds, Target(Kind.QUALITY, 0.67)).tolist() == (
        [False] * 3 + [True] * 3
    )
    quarter = Target(Kind.ESCALATION_RATE, 0.25)
    assert population.breaks(thresholds, quarter).tolist() == [False, True, True] + [False] * 3
    assert population.kept_shares(thresholds).tolist() == [0.0, 0.0, 0.25, 0.75, 0.75, 1.0]


def test_draws_weigh_what_the_sampling_left_out() -> None:
    outcomes, confidence = made(weighted).records(np.random.default_rng(0), 20_000)
    assert sorted(set(outcomes.weight)) == [1.0, 5.0]
    top = confidence > np.median(made(weighted).confidence)
    assert np.average(top, weights=outcomes.weight) == pytest.approx(0.5, abs=0.02)


def test_the_seed_alone_decides() -> None:
    target = Target(Kind.DISAGREEMENT, 0.1)
    assert tally(smooth, target, 300, rounds=50) == tally(smooth, target, 300, rounds=50)
    assert Tally(100, 50, 5, 0.3).rate == 0.05


def test_nothing_to_simulate_is_refused() -> None:
    with pytest.raises(EvaluationError):
        Size(0, 10)


# --- with --full ----------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("target", TARGETS, ids=name_of)
@pytest.mark.parametrize("population", [*SYNTHETIC, *REAL], ids=name_of)
def test_promise_is_kept_from_a_hundred_to_five_thousand_records(
    population: Callable[[], Population], target: Target
) -> None:
    sizes = (*SIZES, MANY_RECORDS) if name_of(population) in WITH_MANY else SIZES
    for n in sizes:
        found = tally(population, target, n)
        print(f"{name_of(population)} {target} n={n}: {found}")
        assert found.chance(target.delta) > SUSPICIOUS, (n, found)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "target",
    [
        Target(Kind.DISAGREEMENT, 0.05),
        Target(Kind.DISAGREEMENT, 0.005),
        Target(Kind.QUALITY, 0.99),
        Target(Kind.ESCALATION_RATE, 0.2),
    ],
    ids=name_of,
)
@pytest.mark.parametrize("population", [smooth, humped, weighted, *REAL], ids=name_of)
def test_point_estimate_breaks_the_promise_at_every_size(
    population: Callable[[], Population], target: Target
) -> None:
    for n in SIZES:
        found = naive(population, target, n)
        print(f"naive {name_of(population)} {target} n={n}: {found}")
        assert found.chance(target.delta) < SUSPICIOUS, (n, found)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("population", [smooth, humped, hair_above, *REAL], ids=name_of)
def test_promise_is_kept_without_labels_to_plan_with(
    population: Callable[[], Population],
) -> None:
    drawn, target = made(population), Target(Kind.DISAGREEMENT, 0.05)
    for n in SIZES:

        def plan(generator: np.random.Generator, n: int = n) -> Plan:
            _, confidence = drawn.records(generator, 500)
            return unlabelled_plan(confidence, target, n, Test.BINOMIAL)

        found = simulate(drawn, target, plan, Size(n, 1000, seed=n))
        assert found.chance(target.delta) > SUSPICIOUS, (n, found)
