import numpy as np
import pytest

from evaluation.betting import BOLDEST, RATIO, best_wealth, growth, stakes
from evaluation.binomial import at_most, chance_of_at_least
from evaluation.excess import Range

WITHIN = Range(above=0.9, below=0.1)


def test_stakes_never_risk_more_than_everything() -> None:
    for n in (1, 10, 1000, 10**6):
        placed = stakes(np.array([n, 0]), WITHIN, 0.05, n)
        assert (placed > 0.0).all()
        assert placed.max() == pytest.approx(BOLDEST / WITHIN.above)
        assert (placed * WITHIN.above < 1.0).all()


def test_stakes_lie_close_enough_for_any_variance() -> None:
    (placed,) = stakes(np.array([5000]), WITHIN, 0.05, 5000)
    assert (placed[1:] / placed[:-1] <= RATIO + 1e-9).all()


def test_wealth_is_the_average_over_stakes_at_its_highest() -> None:
    values = np.array([[-0.1, -0.1, 0.9, -0.1]])
    placed = np.array([[0.5, 1.0]])
    paths = [np.cumprod(1 - stake * values[0]) for stake in placed[0]]
    assert best_wealth(values, placed) == pytest.approx([np.mean(paths, axis=0).max()])


def test_wealth_beyond_floats_is_infinite_and_total_loss_is_survived() -> None:
    rich = np.full((1, 100_000), -1.0)
    assert np.isinf(best_wealth(rich, np.array([[1.0]]))).all()
    poor = np.full((1, 100_000), 0.9)
    assert best_wealth(poor, np.array([[1.1]])) == pytest.approx([0.01])


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 10.0)])
def test_betting_errs_at_most_as_often_as_said(weights: tuple[float, float]) -> None:
    # At the boundary: losses, weighted against the better, whose mean excess is exactly 0.
    generator = np.random.default_rng(0)
    rounds, n, delta, allowed = 4000, 200, 0.1, 0.1
    heavy = generator.random((rounds, n)) < 0.5
    weight = np.where(heavy, weights[1], weights[0])
    lost = generator.random((rounds, n)) < allowed
    within = Range(max(weights) * (1 - allowed), max(weights) * allowed)
    placed = stakes(np.full(rounds, n), within, delta, n)
    rejected = best_wealth(weight * (lost - allowed), placed) >= 1 / delta
    violations = int(rejected.sum())
    assert violations > 0
    assert chance_of_at_least(violations, rounds, delta) > 1e-3


def test_growth_finds_the_stake_that_pays_most() -> None:
    values = np.array([-0.1] * 95 + [0.9] * 5)
    rate, spread = growth(values, 0.9)
    tried = [np.log1p(-stake * values).mean() for stake in np.linspace(0.01, 1.1, 1000)]
    assert rate == pytest.approx(max(tried), rel=1e-2)
    assert spread > 0.0
    hopeless, _ = growth(np.array([0.5]), 0.9)
    assert hopeless <= 0.0


def test_binomial_tail_is_exact() -> None:
    assert at_most([-1, 0, 1, 2, 5], 2, 0.5) == pytest.approx([0.0, 0.25, 0.75, 1.0, 1.0])
    assert at_most(0, 0, 0.3) == pytest.approx(1.0)
    assert at_most(0, 59, 0.05) == pytest.approx(0.95**59)
    assert chance_of_at_least(1, 59, 0.05) == pytest.approx(1 - 0.95**59)
    assert chance_of_at_least(0, 5, 0.1) == 1.0
