import numpy as np
import pytest

from evaluation import bootstrap as module
from evaluation.bootstrap import Resampled, bootstrap, resamples
from evaluation.curves import MEASURES, Ranking, curve_of, measure, random_ranking
from evaluation.errors import EvaluationError
from evaluation.outcomes import Outcomes, outcomes_of


def pair(n: int = 400, seed: int = 0) -> tuple[Outcomes, dict[str, Ranking]]:
    generator = np.random.default_rng(seed)
    confidence = generator.random(n)
    student = generator.random(n) < confidence
    noisy = confidence + generator.normal(0.0, 0.3, n)
    outcomes = outcomes_of(student, np.ones(n))
    return outcomes, {
        "good": Ranking(confidence),
        "noisy": Ranking(noisy),
        "random": random_ranking(outcomes),
    }


def test_interval_covers_the_estimate_and_narrows_with_records() -> None:
    widths = []
    for n in (200, 3200):
        outcomes, rankings = pair(n)
        interval = bootstrap(outcomes, rankings, rounds=200).interval("good", "auroc")
        found = measure(outcomes, rankings["good"])["auroc"]
        assert interval is not None
        assert found is not None
        assert interval.low < found < interval.high
        widths.append(interval.high - interval.low)
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.35)


def test_standard_error_of_a_mean_is_the_textbooks() -> None:
    outcomes, rankings = pair(1000)
    found = bootstrap(outcomes, rankings, rounds=800).quality["good"][:, 0]
    assert found.std() == pytest.approx(outcomes.student.std() / np.sqrt(1000), rel=0.1)


def test_differences_are_paired() -> None:
    outcomes, rankings = pair()
    resampled = bootstrap(outcomes, rankings, rounds=300)
    same = resampled.difference("good", "good", "apgr")
    assert same is not None
    assert (same.low, same.high) == (0.0, 0.0)
    better = resampled.difference("good", "noisy", "apgr")
    assert better is not None
    assert better.low > 0.0


def test_the_seed_alone_decides_and_chunks_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes, rankings = pair(50)
    once = bootstrap(outcomes, rankings, rounds=30, seed=3)
    monkeypatch.setattr(module, "_CHUNK_NUMBERS", 50 * 7)
    again = bootstrap(outcomes, rankings, rounds=30, seed=3)
    other = bootstrap(outcomes, rankings, rounds=30, seed=4)
    for name in MEASURES:
        np.testing.assert_array_equal(once.samples["good"][name], again.samples["good"][name])
    assert (once.samples["good"]["auroc"] != other.samples["good"]["auroc"]).any()


def test_resamples_draw_with_replacement_and_keep_weights() -> None:
    outcomes = outcomes_of([1, 0, 1], [1, 1, 1], [1.0, 2.0, 5.0])
    (rows,) = resamples(outcomes, 500, 0)
    assert rows.shape == (500, 3)
    counts = rows / outcomes.weight
    assert (counts.sum(axis=1) == 3).all()
    assert counts.mean(axis=0) == pytest.approx([1.0, 1.0, 1.0], abs=0.12)


def test_band_lies_around_the_curve() -> None:
    outcomes, rankings = pair()
    resampled = bootstrap(outcomes, rankings, rounds=200, points=11)
    low, high = resampled.band("good")
    curve = curve_of(outcomes, rankings["good"].confidence).at(resampled.shares)[0]
    assert resampled.shares.tolist() == pytest.approx(np.linspace(0, 1, 11).tolist())
    assert ((low <= curve + 1e-12) & (curve <= high + 1e-12)).all()


def test_measure_that_resamples_leave_undefined_has_no_interval() -> None:
    values = np.array([0.5] * 94 + [np.nan] * 6)
    found = Resampled({"m": {"apgr": values}}, np.array([0.0]), {})
    assert found.interval("m", "apgr") is None
    values[94] = 0.5
    assert found.interval("m", "apgr") is not None


@pytest.mark.parametrize("change", [{"rounds": 0}, {"points": 1}])
def test_nothing_to_resample_is_refused(change: dict[str, int]) -> None:
    outcomes, rankings = pair(10)
    with pytest.raises(EvaluationError):
        bootstrap(outcomes, rankings, **change)
