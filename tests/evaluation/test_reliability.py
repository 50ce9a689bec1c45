import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evaluation.curves import Ranking, measure
from evaluation.outcomes import outcomes_of
from evaluation.reliability import auroc, reliability
from tests.evaluation.public_data import agreement_pair


def test_auroc_is_scikit_learns_with_ties_and_weights() -> None:
    generator = np.random.default_rng(1)
    confidence = np.round(generator.random(300), 1)
    student = (generator.random(300) < confidence).astype(np.float64)
    weight = generator.random(300) + 0.1
    outcomes = outcomes_of(student, np.ones(300), weight)
    expected = roc_auc_score(student, confidence, sample_weight=weight)
    assert auroc(outcomes, confidence) == pytest.approx(expected)
    assert measure(outcomes, Ranking(confidence))["auroc"] == pytest.approx(expected)


def test_a_draft_acceptable_in_part_counts_as_both() -> None:
    graded = outcomes_of([0.25, 0.75], [1, 1])
    spelt_out = outcomes_of([1, 0, 1, 0], [1, 1, 1, 1], [0.25, 0.75, 0.75, 0.25])
    assert auroc(graded, [0.1, 0.2]) == pytest.approx(auroc(spelt_out, [0.1, 0.1, 0.2, 0.2]))


def test_no_signal_ranks_last() -> None:
    assert auroc(outcomes_of([0, 1], [1, 1]), [np.nan, 0.0]) == 1.0
    assert auroc(outcomes_of([1, 1], [1, 1]), [np.nan, 0.0]) is None


def ece(student: list[float], confidence: list[float], weight: list[float]) -> float | None:
    ones = [1.0] * len(student)
    return measure(outcomes_of(student, ones, weight), Ranking(confidence))["ece"]


def test_ece_weighs_each_bins_gap() -> None:
    # Two bins: mean confidence .95 against 1/2, and .05 against 0, three times as heavy.
    found = ece([1, 0, 0], [0.94, 0.96, 0.05], [1.0, 1.0, 6.0])
    assert found == pytest.approx((2 * 0.45 + 6 * 0.05) / 8)


def test_ece_is_zero_where_confidence_means_what_it_says() -> None:
    assert ece([1.0, 0.0], [0.5, 0.5], [1.0, 1.0]) == pytest.approx(0.0)
    assert ece([1.0, 0.0], [1.0, 0.0], [1.0, 1.0]) == pytest.approx(0.0)


def test_ece_leaves_out_who_states_nothing_and_what_is_no_probability() -> None:
    assert ece([1.0, 0.0], [1.0, np.nan], [1.0, 1.0]) == pytest.approx(0.0)
    assert ece([1.0, 0.0], [1.0, 1.1], [1.0, 1.0]) is None
    assert ece([1.0], [np.nan], [1.0]) is None


def test_reliability_bins_cover_the_scale_and_hold_the_means() -> None:
    bins = reliability(outcomes_of([1, 0, 1, 1], [1] * 4, [1, 1, 2, 1]), [0.04, 0.06, 1.0, np.nan])
    assert len(bins) == 15
    assert (bins[0].low, bins[-1].high) == (0.0, 1.0)
    first, last = bins[0], bins[-1]
    assert (first.share, last.share) == (0.5, 0.5)
    assert first.confidence == pytest.approx(0.05)
    assert last.confidence == 1.0
    assert last.acceptable == 1.0
    assert bins[7].confidence is None
    assert bins[7].acceptable is None
    assert reliability(outcomes_of([1], [1]), [2.0]) == []


@pytest.mark.parametrize(
    ("task", "area"), [("mmlu_10k", 0.71), ("cosmosqa_10k", 0.74), ("hellaswag_10k", 0.61)]
)
def test_agreement_sets_give_the_published_areas(task: str, area: float) -> None:
    confidence, agrees = agreement_pair(task)
    assert auroc(outcomes_of(agrees, np.ones_like(agrees)), confidence) == pytest.approx(
        area, abs=5e-3
    )
