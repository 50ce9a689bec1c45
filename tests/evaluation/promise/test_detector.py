from dataclasses import replace

import numpy as np
import pytest

from evaluation.promise.detector import Detector, Regression, watch
from routing.promise.detector import DEFERRED_STEPS, STEPS
from routing.promise.watch import LEAST_DEFERRED

CHANGE = 10_000


def slowest(case: Regression, runs: int, seed: int) -> float:
    """Requests within which 95% of runs have raised an alarm after the change."""
    found = watch(case, runs, requests=60_000, seed=seed)
    return float(np.quantile(found.delays(CHANGE), 0.95, method="higher"))


def escalated(before: float, share: float) -> Regression:
    """Ten points more among the labels that cost nothing."""
    steps = DEFERRED_STEPS
    return Regression(before + 0.02, before, before + 0.1, share, is_boosted=False, steps=steps)


def test_statistic_is_the_mean_over_larger_risks() -> None:
    detector = Detector(np.array([0.1, 0.1]))
    detector.take(np.array([1.0, 0.0]), np.array([True, False]))
    detector.take(np.array([0.5, 0.0]), np.array([True, False]))
    ratios = [((0.1 + d) / 0.1, (0.9 - d) / 0.9) for d in STEPS]
    expected = np.mean([(1.0 + wrong) * (wrong + right) / 2.0 for wrong, right in ratios])
    assert detector.statistic.tolist() == pytest.approx([expected, 0.0])


def test_regression_of_kept_drafts_is_found_in_time() -> None:
    """Within 110 / (audit share x kept share) requests, here at 4% of half the traffic."""
    assert slowest(Regression(0.05, 0.03, 0.13, rate=0.04 * 0.5), 400, seed=1) <= 5_500


def test_without_the_boost_it_is_not() -> None:
    assert slowest(Regression(0.05, 0.03, 0.13, 0.04 * 0.5, is_boosted=False), 400, 1) > 11_000


def test_regression_that_escalated_labels_show_is_found_in_time() -> None:
    assert slowest(escalated(0.35, share=0.3), 400, seed=2) <= 4_400


def test_healthy_student_seldom_raises_an_alarm() -> None:
    found = watch(Regression(0.05, 0.05, 0.05, 0.02, at=None), 500, 100_000, seed=3)
    assert np.isfinite(found.at).mean() <= 0.02
    found = watch(Regression(0.05, 0.03, 0.03, 0.02, at=None), 500, 100_000, seed=3)
    assert found.audits_over_flat <= 1.1


def test_baseline_of_few_labels_raises_alarms_of_its_own() -> None:
    healthy = replace(escalated(0.35, share=0.02), after=0.35, at=None)
    few, many = (
        np.isfinite(watch(replace(healthy, baseline=labels), 400, 100_000, seed=4).at).mean()
        for labels in (100, LEAST_DEFERRED)
    )
    assert few > 0.1
    assert many <= 0.02


def test_tighter_alarm_bound_would_be_noticed() -> None:
    """At a hundredth of the bound the alarms come: the test above can fail."""
    found = watch(Regression(0.02, 0.05, 0.05, 0.02, at=None), 200, 100_000, seed=3)
    assert np.isfinite(found.at).mean() > 0.5


@pytest.mark.full
@pytest.mark.parametrize("share", [0.02, 0.03, 0.04, 0.06])
@pytest.mark.parametrize(
    ("alpha", "before", "factor"), [(0.02, 0.01, 110), (0.05, 0.03, 110), (0.1, 0.07, 170)]
)
def test_every_regression_of_ten_points_is_found_in_time(
    share: float, alpha: float, before: float, factor: float
) -> None:
    rate = share * 0.5
    assert slowest(Regression(alpha, before, before + 0.1, rate), 4_000, 5) <= factor / rate


@pytest.mark.full
@pytest.mark.parametrize("rate", [0.005, 0.01, 0.02, 0.03])
@pytest.mark.parametrize("alpha", [0.02, 0.05, 0.1])
def test_false_alarms_are_at_most_one_in_a_hundred_at_the_boundary(
    alpha: float, rate: float
) -> None:
    found = watch(Regression(alpha, alpha, alpha, rate, at=None), 4_000, 100_000, seed=6)
    # Two standard errors above 1%.
    assert np.isfinite(found.at).mean() <= 0.01 + 2 * np.sqrt(0.01 * 0.99 / 4_000)


@pytest.mark.full
@pytest.mark.parametrize(("share", "before"), [(0.5, 0.45), (0.75, 0.45), (0.3, 0.35)])
def test_every_regression_in_escalated_labels_is_found_in_time(share: float, before: float) -> None:
    case = escalated(before, share)
    assert slowest(case, 4_000, seed=7) <= 4_400
