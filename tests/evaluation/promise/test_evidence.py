import math

import numpy as np
import pytest

from evaluation.promise.evidence import Evidence, scaled
from routing.promise.bets import STAKES


def test_wealth_is_the_mean_over_stakes_of_the_products_of_all_kept_drafts() -> None:
    evidence = Evidence(runs=1, levels=3, alpha=0.05)
    bins = np.array([[0, 1, 3, 1]])
    losses = np.array([[0.0, 1.0, 1.0, 0.0]])
    propensity = np.array([[1.0, 0.1, 1.0, 0.1]])
    x = scaled(losses, propensity, np.array([[0.1]]), 0.05)
    evidence.add(bins, x, np.array([[True, True, True, False]]))
    nu = 1.0 / (1.0 / 0.1 - 0.05)
    factors = [(1.0 + g * nu * 0.05, 1.0 - g * nu * 0.95 / 0.1) for g in STAKES]
    strict = sum(right for right, _ in factors) / len(STAKES)
    both = sum(right * wrong for right, wrong in factors) / len(STAKES)
    assert evidence.wealth()[0].tolist() == pytest.approx([strict, both, both])


def test_no_bet_can_lose_everything() -> None:
    for least in (1.0, 0.2, 1e-4):
        x = scaled(np.array([1.0]), np.array([least]), np.array([least]), 0.05)
        assert math.isclose(x[0], (1.0 - 0.05) / (1.0 - 0.05 * least), rel_tol=1e-9)
        assert max(STAKES) * x[0] < 1.0


def test_runs_do_not_know_of_each_other() -> None:
    evidence = Evidence(runs=2, levels=1, alpha=0.05)
    mask = np.array([[True], [False]])
    evidence.add(np.zeros((2, 1), dtype=np.int64), np.array([[-0.05], [-0.05]]), mask)
    before = evidence.wealth()
    assert before[0, 0] > 1.0 == before[1, 0]
