import numpy as np
import pytest

from evaluation.candidates import FITTERS, Sample, Scorer, fit_average
from evaluation.outcomes import Floats
from routing.model import Trees

NAMES = ("mean_probability", "min_margin", "label=up", "group=easy")


def sample(n: int = 400, *, weighted: bool = False) -> tuple[Sample, Floats, Floats]:
    """Features with gaps; whether the draft is acceptable; how much the teacher gains."""
    generator = np.random.default_rng(0)
    values = generator.random((n, len(NAMES)))
    values[:, 2:] = values[:, 2:] > 0.5
    values[0, 0] = 1.0
    acceptable = (generator.random(n) < values[:, 0] * (0.5 + 0.5 * values[:, 2])).astype(float)
    values[generator.random(values.shape) < 0.1] = np.nan
    weight = generator.integers(1, 4, n).astype(float) if weighted else np.ones(n)
    gain = (generator.random(n) < 0.9) - acceptable
    return Sample(NAMES, values, weight), acceptable, gain


@pytest.mark.parametrize("name", [*FITTERS, "average"])
@pytest.mark.parametrize("is_probability", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_export_says_the_same_to_the_ninth_digit(
    name: str, is_probability: bool, weighted: bool
) -> None:
    known, acceptable, gain = sample(weighted=weighted)
    target = acceptable if is_probability else gain
    scorer: Scorer
    if name == "average":
        scorer = fit_average(known, target, is_probability=is_probability)
    else:
        scorer = FITTERS[name](known, target, is_probability)
    exported = scorer.export()
    rows = [
        {name: float(value) for name, value in zip(NAMES, row, strict=True) if value == value}
        for row in known.values
    ]
    said = [exported.of(row) for row in rows]
    np.testing.assert_allclose(scorer.predict(known.values), said, atol=1e-9)


def test_absence_that_says_something_is_learnt_in_numbers_that_a_file_can_hold() -> None:
    known, _, _ = sample(400)
    known.values[:, 0] = np.where(np.arange(400) % 2, 0.5, np.nan)
    scorer = FITTERS["trees"](known, (np.arange(400) % 2).astype(np.float64), True)
    exported = scorer.export()
    assert isinstance(exported, Trees)
    assert all(np.isfinite(tree.threshold).all() for tree in exported.trees)
    there, absent = exported.of({"mean_probability": 0.5}), exported.of({})
    assert there > 1.0 > -1.0 > absent


@pytest.mark.parametrize("name", FITTERS)
def test_certainty_is_learnt(name: str) -> None:
    known, acceptable, gain = sample(2000)
    accept = FITTERS[name](known, acceptable, True).predict(known.values)
    gained = FITTERS[name](known, gain, False).predict(known.values)
    assert accept[acceptable == 1].mean() > accept[acceptable == 0].mean() + 0.3
    assert np.corrcoef(gain, gained)[0, 1] > 0.3


@pytest.mark.parametrize("name", FITTERS)
def test_a_degree_of_acceptance_counts_in_part(name: str) -> None:
    known, _, _ = sample(400)
    said = FITTERS[name](known, np.full(400, 0.25), True).predict(known.values)
    np.testing.assert_allclose(said, np.log(0.25 / 0.75), atol=0.2)


@pytest.mark.parametrize("name", FITTERS)
@pytest.mark.parametrize("is_probability", [True, False])
def test_a_feature_that_no_record_to_fit_on_has_decides_nothing(
    name: str, is_probability: bool
) -> None:
    known, acceptable, gain = sample()
    silent = known.values.copy()
    silent[:, 1] = np.nan
    target = acceptable if is_probability else gain
    scorer = FITTERS[name](Sample(NAMES, silent, known.weight), target, is_probability)
    said = scorer.predict(known.values)
    np.testing.assert_allclose(said, scorer.predict(silent), atol=1e-12)
    row = dict.fromkeys(NAMES, 0.5)
    assert np.isfinite(scorer.export().of(row))
