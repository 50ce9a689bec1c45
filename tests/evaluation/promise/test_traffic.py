import numpy as np
import pytest

from evaluation.promise.traffic import bill_of, mixed, options_pair, plateau, traffic_of
from evaluation.simulate import population_of
from tests.evaluation.promise.populations import traffic


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("syn30/.80", (4.9, 19.3, 42.9)),
        ("syn20/.90", (47.1, 67.6, 83.6)),
        ("bump", (0.0, 32.4, 55.5)),
        ("emotion", (17.5, 24.4, 38.4)),
        ("mmlu", (16.1, 24.6, 36.0)),
        ("cosmosqa", (49.9, 70.6, 88.0)),
    ],
)
def test_oracle_keeps_what_the_population_allows(name: str, shares: tuple[float, ...]) -> None:
    found = [100 * traffic(name).oracle(alpha) for alpha in (0.02, 0.05, 0.1)]
    assert found == pytest.approx(shares, abs=0.06)


def test_synthetic_traffic_has_the_disagreement_that_was_asked_for() -> None:
    assert traffic("syn40/.90").wrong.mean() == pytest.approx(0.4, abs=1e-6)


def test_ties_are_kept_together_and_their_risk_is_exact() -> None:
    four = traffic_of(population_of([0.9, 0.5, 0.5, 0.1], [1, 0, 1, 0]))
    assert four.kept_by([1.0, 0.9, 0.6, 0.5, 0.0]).tolist() == [0, 1, 1, 3, 4]
    assert four.kept_with.tolist() == [1, 3, 3, 4]
    assert four.risk_of(np.array([0, 1, 3, 4])).tolist() == [0.0, 0.0, 1 / 3, 0.5]
    assert four.is_above(np.array([1, 3]), 1 / 3).tolist() == [False, False]
    assert four.oracle(0.4) == 0.75
    assert traffic_of(population_of([0.5], [0])).oracle(0.4) == 0.0


def test_draft_of_another_route_stands_where_what_keeps_it_is_the_same() -> None:
    four = traffic_of(population_of([0.9, 0.5, 0.5, 0.1], [1, 0, 1, 0]))
    merits = [1.0, 0.9, 0.6, 0.5, 0.3, 0.1]
    assert four.places_of(merits).tolist() == [0, 0, 0, 2, 2, 3]
    assert [four.threshold_of(share) for share in (0.01, 0.25, 0.75, 1.0)] == [0.9, 0.9, 0.5, 0.1]


def test_mixed_routes_are_ranked_together_and_each_keeps_its_losses() -> None:
    one = traffic_of(population_of([0.9, 0.3], [1, 0]))
    other = traffic_of(population_of([0.6, 0.1], [0, 1]))
    both = mixed(one, other)
    assert both.merit.tolist() == [0.9, 0.6, 0.3, 0.1]
    assert both.wrong.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_graded_losses_are_what_they_are_and_no_coin() -> None:
    graded = traffic_of(population_of([0.9, 0.1], [0.75, 0.5], is_binary=False))
    losses = graded.losses(np.array([[0, 1]]), np.random.default_rng(0))
    assert losses.tolist() == [[0.25, 0.5]]


def test_plateau_is_a_hair_above_alpha_on_all_its_levels() -> None:
    found = plateau(0.05)
    levels = found.size * np.arange(6, 30) // 50
    risk = found.risk_of(levels)
    assert (risk > 0.05).all()
    assert (risk < 0.0502).all()
    assert found.risk_of(np.array([found.size // 10]))[0] == 0.0


def test_draft_is_wrong_where_the_highest_option_is_another_one() -> None:
    # The fifth column is no option: what it says is not asked.
    student = [[0.0, 2.0, 0.0, 0.0, 9.0], [1.0, 0.0, 0.0, 0.0, 0.0]]
    teacher = [[0.0, 0.0, 5.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0, 9.0]]
    found = options_pair(student, teacher)
    assert found.wrong.tolist() == [1.0, 0.0]
    assert found.merit[0] == pytest.approx(np.exp(2.0) / (3.0 + np.exp(2.0)))


def test_bill_is_the_student_the_escalated_and_the_audited() -> None:
    assert bill_of(0.4, 0.01) == pytest.approx(0.66)
