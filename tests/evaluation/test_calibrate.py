import numpy as np
import pytest

from evaluation.calibrate import (
    apply,
    apply_by_group,
    fit_by_group,
    fit_knots,
    fit_logistic,
    fit_map,
    log_loss,
)
from routing.calibration import Logistic, PiecewiseLinear, Uncalibrated


def scores(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    score = generator.normal(0.0, 2.0, n)
    ok = (generator.random(n) < 1.0 / (1.0 + np.exp(-(1.5 * score - 0.5)))).astype(float)
    return score, ok, np.ones(n)


def test_platts_map_is_found_again() -> None:
    found = fit_logistic(*scores(20_000))
    assert found.slope == pytest.approx(1.5, abs=0.1)
    assert found.intercept == pytest.approx(-0.5, abs=0.1)


def test_a_score_that_misleads_keeps_its_order_all_the_same() -> None:
    score, ok, weight = scores(500)
    assert fit_logistic(-score, ok, weight).slope > 0.0
    said = apply(fit_logistic(np.zeros(500), ok, weight), np.zeros(2))
    np.testing.assert_allclose(said, ok.mean(), atol=0.01)


def test_knots_rise_throughout_and_keep_the_order() -> None:
    score, ok, weight = scores(5000)
    found = fit_knots(score, ok, weight)
    assert isinstance(found, PiecewiseLinear)
    assert (np.diff(found.confidences) > 0).all()
    said = apply(found, np.sort(score))
    assert (np.diff(said) >= 0).all()
    assert len(np.unique(said)) > 4900
    truth = 1.0 / (1.0 + np.exp(-(1.5 * np.sort(score) - 0.5)))
    assert np.abs(said - truth).mean() < 0.03


def test_knots_are_limited_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.calibrate.MOST_KNOTS", 5)
    found = fit_knots(*scores(5000))
    assert isinstance(found, PiecewiseLinear)
    assert len(found.scores) <= 7


def test_few_records_or_few_scores_get_platts_map() -> None:
    score, ok, weight = scores(2000)
    assert isinstance(fit_map(score, ok, weight), PiecewiseLinear)
    assert isinstance(fit_map(score[:100], ok[:100], weight[:100]), Logistic)
    assert isinstance(fit_map(np.sign(score), ok, weight), Logistic)


def test_vectors_say_what_routing_says() -> None:
    score, ok, weight = scores(2000)
    for found in (fit_logistic(score, ok, weight), fit_knots(score, ok, weight), Uncalibrated()):
        said = [found.confidence(float(each)).value for each in score[:50]]
        np.testing.assert_allclose(apply(found, score[:50]), said, atol=1e-12)


def test_a_group_of_its_own_is_seen_and_a_small_one_is_not() -> None:
    score, ok, weight = scores(1000)
    groups = np.array(["sure" if place % 2 else "wrong" for place in range(1000)], dtype=object)
    groups[:10] = "rare"
    ok[groups == "wrong"] = 0.0
    maps = fit_by_group(score, ok, weight, groups)
    assert set(maps) == {"sure", "wrong"}
    pooled = fit_logistic(score, ok, weight)
    said = apply_by_group(pooled, maps, score, groups)
    assert said[groups == "wrong"].mean() < 0.05
    np.testing.assert_allclose(said[:10], apply(pooled, score[:10]))
    assert log_loss(said, ok).mean() < log_loss(apply(pooled, score), ok).mean()
