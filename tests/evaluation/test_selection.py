import numpy as np
import pytest

from evaluation.curves import curve_of
from evaluation.outcomes import Outcomes, outcomes_of
from evaluation.selection import area, credit_of, simplest_good


def drawn(n: int = 200) -> tuple[Outcomes, np.ndarray]:
    generator = np.random.default_rng(3)
    merit = np.round(generator.random(n), 1)
    student = (generator.random(n) < merit).astype(float)
    teacher = (generator.random(n) < 0.9).astype(float)
    return Outcomes(student, teacher, generator.integers(1, 4, n).astype(float)), merit


def test_the_area_is_that_under_the_curve() -> None:
    outcomes, merit = drawn()
    merit[:5] = np.nan
    curve = curve_of(outcomes, merit)
    heights = (curve.quality[0, 1:] + curve.quality[0, :-1]) / 2
    under = float(heights @ np.diff(curve.shares[0]))
    assert area(outcomes, merit) == pytest.approx(under - curve.student[0])
    assert credit_of(outcomes, merit).shape == merit.shape


def test_the_simplest_that_is_about_as_good_is_taken() -> None:
    outcomes, merit = drawn(2000)
    noise = np.random.default_rng(0).random(2000)
    assert simplest_good(outcomes, {"simple": 2.0 * merit, "best": merit}) == "simple"
    assert simplest_good(outcomes, {"simple": noise, "best": merit}) == "best"
    assert simplest_good(outcomes, {"best": merit, "worse": noise}) == "best"


def test_half_a_standard_error_is_what_simplicity_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes, merit = drawn(2000)
    orders = {"simple": np.random.default_rng(0).random(2000), "best": merit}
    monkeypatch.setattr("evaluation.selection.STANDARD_ERRORS", 1000.0)
    assert simplest_good(outcomes, orders) == "simple"


def test_where_nothing_can_be_gained_the_simplest_is_taken() -> None:
    outcomes = outcomes_of([1.0, 1.0, 1.0], [1.0, 1.0, 1.0])
    merits = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([3.0, 2.0, 1.0])}
    assert simplest_good(outcomes, merits) == "a"
