"""What a cascade costs at each threshold: against asking about each threshold by itself."""

import numpy as np
import pytest

from evaluation.outcomes import Floats, Outcomes
from evaluation.spending import Costs, spending_of


def drawn(n: int, seed: int) -> tuple[Outcomes, Costs, Floats, Floats]:
    generator = np.random.default_rng(seed)
    outcomes = Outcomes(
        generator.integers(0, 2, n).astype(float), generator.random(n), 1.0 + generator.random(n)
    )
    costs = Costs(generator.random(n) / 10, generator.random(n))
    merit = np.round(generator.random(n), 1)  # many tie
    return outcomes, costs, merit, np.round(generator.random(n), 1)


@pytest.mark.parametrize("seed", range(3))
def test_every_point_is_what_that_threshold_would_do(seed: int) -> None:
    outcomes, costs, merit, bar = drawn(60, seed)
    weights = np.stack([outcomes.weight, np.ones(60)])
    points = spending_of(outcomes, costs, merit, bar).points(weights)
    levels = np.unique(np.minimum(merit, bar))
    assert points.cost.shape == (2, len(levels) + 1)
    for row, weight in enumerate(weights):
        for place, threshold in enumerate([0.0, *(levels + 0.05)]):
            straight = bar < threshold
            kept = ~straight & (merit >= threshold)
            paid = costs.student * ~straight + costs.teacher * ~kept
            served = np.where(kept, outcomes.student, outcomes.teacher)
            assert points.cost[row, place] == pytest.approx(np.average(paid, weights=weight))
            assert points.quality[row, place] == pytest.approx(np.average(served, weights=weight))


def test_a_draft_without_a_signal_is_never_kept() -> None:
    outcomes = Outcomes(np.ones(4), np.ones(4), np.ones(4))
    costs = Costs(np.full(4, 0.1), np.ones(4))
    merit = np.array([np.nan, 0.5, 0.6, 0.7])
    points = spending_of(outcomes, costs, merit, np.ones(4)).points(np.ones((1, 4)))
    np.testing.assert_allclose(points.cost[0], [0.35, 0.6, 0.85, 1.1])


def test_without_any_bar_the_teacher_alone_is_paid() -> None:
    outcomes = Outcomes(np.zeros(3), np.ones(3), np.ones(3))
    silence = np.full(3, np.nan)
    spending = spending_of(outcomes, Costs(np.ones(3), np.full(3, 2.0)), silence, silence)
    points = spending.points(np.ones((1, 3)))
    assert (points.cost[0].tolist(), points.quality[0].tolist()) == ([2.0], [1.0])


def test_the_cheapest_point_that_reaches_the_target() -> None:
    outcomes = Outcomes(np.array([0.0, 1.0, 1.0, 1.0]), np.ones(4), np.ones(4))
    costs = Costs(np.full(4, 0.1), np.ones(4))
    merit = np.array([0.1, 0.2, 0.3, 0.4])
    points = spending_of(outcomes, costs, merit, np.ones(4)).points(np.ones((1, 4)))
    assert points.cheapest(0.75)[0] == pytest.approx(0.1)
    assert points.cheapest(0.76)[0] == pytest.approx(0.35)
    assert np.isnan(points.cheapest(1.01)[0])


def test_a_resample_without_weight_reaches_nothing() -> None:
    outcomes, costs, merit, bar = drawn(10, 0)
    points = spending_of(outcomes, costs, merit, bar).points(np.zeros((1, 10)))
    assert np.isnan(points.cheapest(0.9)[0])
