from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

from evaluation.curves import (
    MEASURES,
    Curves,
    Ranking,
    always_student,
    always_teacher,
    curve_of,
    mean_quality,
    measure,
    oracle_ranking,
    random_ranking,
    sort,
)
from evaluation.errors import EvaluationError
from evaluation.outcomes import Floats, Outcomes, outcomes_of
from tests.evaluation.public_data import emotion_pair, routellm


def random_outcomes(seed: int, n: int = 60, *, weighted: bool = False) -> tuple[Outcomes, Floats]:
    """Records whose confidence says something, with ties."""
    generator = np.random.default_rng(seed)
    confidence = np.round(generator.random(n), 1)
    student = (generator.random(n) < confidence).astype(np.float64)
    teacher = (generator.random(n) < 0.9).astype(np.float64)
    weight = generator.integers(1, 4, n).astype(np.float64) if weighted else np.ones(n)
    return Outcomes(student, teacher, weight), confidence


def test_curve_escalates_the_least_confident_first() -> None:
    curve = curve_of(outcomes_of([0, 1, 1, 0], [1, 1, 1, 1]), [0.1, 0.9, 0.8, 0.2])
    np.testing.assert_allclose(curve.shares, [[0.0, 0.25, 0.5, 0.75, 1.0]])
    np.testing.assert_allclose(curve.quality, [[0.5, 0.75, 1.0, 1.0, 1.0]])


def test_ties_are_split_in_expectation() -> None:
    student, teacher, confidence = [0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0], [0.2, 0.2, 0.2, 0.9]
    curve = curve_of(outcomes_of(student, teacher), confidence)
    for escalated in range(5):
        found = []
        for order in permutations(range(3)):
            chosen = [*order, 3][:escalated]
            served = [teacher[i] if i in chosen else student[i] for i in range(4)]
            found.append(np.mean(served))
        assert curve.at(np.array([escalated / 4]))[0, 0] == pytest.approx(np.mean(found))


def test_a_weight_of_three_is_three_records() -> None:
    outcomes, confidence = random_outcomes(3, weighted=True)
    times = outcomes.weight.astype(int)
    repeated = outcomes_of(np.repeat(outcomes.student, times), np.repeat(outcomes.teacher, times))
    one = measure(outcomes, Ranking(confidence))
    assert one == pytest.approx(measure(repeated, Ranking(np.repeat(confidence, times))))


def test_rows_of_weights_are_curves_of_their_own() -> None:
    outcomes, confidence = random_outcomes(4)
    generator = np.random.default_rng(0)
    weights = generator.integers(0, 3, (5, outcomes.n)).astype(np.float64)
    together, curves = sort(outcomes, Ranking(confidence)).measures(weights)
    assert list(together) == list(MEASURES)
    for row, weight in enumerate(weights):
        alone = measure(
            Outcomes(*(part[weight > 0] for part in (outcomes.student, outcomes.teacher, weight))),
            Ranking(confidence[weight > 0]),
        )
        assert {name: values[row] for name, values in together.items()} == pytest.approx(alone)
    assert curves.shares.shape == curves.quality.shape


def test_apgr_is_the_area_and_cpt_the_first_crossing() -> None:
    outcomes, confidence = random_outcomes(5)
    curve = curve_of(outcomes, confidence)
    fine = np.linspace(0.0, 1.0, 20_001)
    student, teacher = mean_quality(outcomes)
    recovered = (curve.at(fine)[0] - student) / (teacher - student)
    found = measure(outcomes, Ranking(confidence))
    assert found["apgr"] == pytest.approx(np.mean(recovered), abs=1e-3)
    for level in (0.5, 0.8, 0.9, 0.95, 0.99):
        first = fine[np.argmax(recovered >= level)]
        assert found[f"cpt{round(100 * level)}"] == pytest.approx(first, abs=1e-4)


def test_random_order_recovers_in_proportion() -> None:
    outcomes, _ = random_outcomes(6)
    found = measure(outcomes, random_ranking(outcomes))
    assert found["apgr"] == pytest.approx(0.5)
    assert found["cpt80"] == pytest.approx(0.8)
    assert found["auroc"] == pytest.approx(0.5)
    assert found["ece"] is None


def test_no_order_beats_the_oracle() -> None:
    outcomes, confidence = random_outcomes(7)
    best = curve_of(outcomes, oracle_ranking(outcomes).confidence)
    shares = np.linspace(0.0, 1.0, 101)
    for other in (confidence, -confidence, outcomes.student):
        assert (best.at(shares) >= curve_of(outcomes, other).at(shares) - 1e-12).all()


def test_saved_counts_the_students_price_on_every_question() -> None:
    # A quarter escalated reaches 3/4 of the teacher's 1.0.
    outcomes = outcomes_of([0, 0, 1, 0], [1, 1, 1, 1])
    curves = curve_of(outcomes, [0.1, 0.2, 0.9, 0.3])
    assert curves.saved(0.5, 0.05) == pytest.approx([1 - (0.05 + 0.25)])
    assert curves.saved(0.5, 0.15) == pytest.approx([1 - (0.15 + 0.25)])  # three samples


def saved_at_half(bar: list[float] | None) -> float:
    outcomes = outcomes_of([0, 0, 1, 0], [1, 1, 1, 1])
    ranking = Ranking([0.1, 0.2, 0.9, 0.3], bar=bar)
    curves = sort(outcomes, ranking).curves(outcomes.weight[None, :])
    return float(curves.saved(0.5, 0.05)[0])


def test_saved_spares_the_student_where_the_prompt_alone_decides() -> None:
    # A quarter is escalated, the first record alone, and that without a draft.
    assert saved_at_half([0.1, 0.2, 0.9, 0.3]) == pytest.approx(1 - (0.05 * 0.75 + 0.25))
    assert saved_at_half([0.1, 0.9, 0.9, 0.9]) == pytest.approx(1 - (0.05 * 0.75 + 0.25))
    assert saved_at_half([0.11, 0.9, 0.9, 0.9]) == saved_at_half(None)
    assert saved_at_half(None) == pytest.approx(1 - (0.05 + 0.25))


def test_a_share_that_cuts_a_tie_goes_straight_in_proportion() -> None:
    outcomes = outcomes_of([0, 0, 1, 1], [1, 1, 1, 1])
    ranking = Ranking([0.2, 0.2, 0.9, 0.9], bar=[0.2, 0.5, 0.9, 0.9])
    curves = sort(outcomes, ranking).curves(outcomes.weight[None, :])
    # Of the two that tie one is escalated, in expectation half of it without a draft.
    assert curves.saved(0.75, 0.1) == pytest.approx([1 - (0.1 * (1 - 0.125) + 0.25)])


def test_the_random_router_pays_no_draft_that_it_does_not_serve() -> None:
    outcomes, _ = random_outcomes(6)
    straight = sort(outcomes, random_ranking(outcomes)).curves(outcomes.weight[None, :])
    assert straight.straight is not None
    np.testing.assert_allclose(straight.straight, straight.shares)
    asked = sort(outcomes, random_ranking(outcomes, straight=False))
    assert asked.curves(outcomes.weight[None, :]).straight is None


def test_what_is_stated_may_differ_from_the_order() -> None:
    outcomes, confidence = random_outcomes(8)
    order = np.random.default_rng(1).random(outcomes.n)
    found = measure(outcomes, Ranking(order, stated=confidence))
    stated, ordered = measure(outcomes, Ranking(confidence)), measure(outcomes, Ranking(order))
    assert (found["auroc"], found["ece"]) == (stated["auroc"], stated["ece"])
    assert found["apgr"] == ordered["apgr"]


def test_student_good_enough_saves_all_but_its_own_price() -> None:
    outcomes = outcomes_of([1, 1, 1, 1], [1, 1, 1, 0])
    found = measure(outcomes, Ranking([0.1, 0.2, 0.3, 0.4]))
    assert found["saved99"] == pytest.approx(0.95)
    assert always_student(outcomes)["saved99"] == pytest.approx(0.95)
    # The teacher is no better: there is no gap to recover.
    assert found["apgr"] is None
    assert found["cpt50"] is None
    assert always_teacher(outcomes)["apgr"] is None


def test_the_two_that_never_decide() -> None:
    outcomes = outcomes_of([0, 1], [1, 1])
    student, teacher = always_student(outcomes), always_teacher(outcomes)
    assert list(student) == list(teacher) == list(MEASURES)
    assert (student["apgr"], student["cpt50"], student["saved95"]) == (0.0, None, None)
    assert (teacher["apgr"], teacher["cpt50"], teacher["saved95"]) == (1.0, 1.0, 0.0)


def test_no_signal_is_escalated_first() -> None:
    curve = curve_of(outcomes_of([0, 1, 1], [1, 1, 1]), [np.nan, 0.0, 0.5])
    np.testing.assert_allclose(curve.quality, [[2 / 3, 1.0, 1.0, 1.0]])


def test_quality_out_of_reach_is_undefined() -> None:
    curve = Curves(np.array([[0.0, 1.0]]), np.array([[0.2, 0.6]]))
    assert np.isnan(curve.smallest_share(np.array([0.7]))).all()
    assert curve.smallest_share(np.array([0.6])) == pytest.approx([1.0])
    assert curve.smallest_share(np.array([0.1])) == pytest.approx([0.0])


def test_all_drafts_alike_have_no_auroc() -> None:
    assert measure(outcomes_of([1, 1], [1, 1]), Ranking([0.1, 0.2]))["auroc"] is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ranking([0.5], student_price=-0.1),
        lambda: Ranking([0.5], bar=[0.4]),
        lambda: Ranking([0.5], bar=[0.6, 0.7]),
        lambda: Ranking([0.5], stated=0.5),
    ],
)
def test_ranking_refuses_what_cannot_be(make: Callable[[], Ranking]) -> None:
    with pytest.raises(EvaluationError):
        make()


def test_emotion_pair_gives_the_published_numbers() -> None:
    confidence, student, teacher = emotion_pair()
    outcomes = outcomes_of(student, teacher)
    assert mean_quality(outcomes) == pytest.approx((0.569, 0.640), abs=5e-4)
    found = measure(outcomes, Ranking(confidence))
    # Published as .834, which a mean over 1,000 points gives; the exact area is .8331.
    assert found["apgr"] == pytest.approx(0.834, abs=1.5e-3)
    assert found["auroc"] == pytest.approx(0.759, abs=5e-4)
    shares = {50: 0.16, 80: 0.32, 90: 0.36, 95: 0.41, 99: 0.48}
    for level, share in shares.items():
        assert found[f"cpt{level}"] == pytest.approx(share, abs=7e-3)
    best = measure(outcomes, oracle_ranking(outcomes))["apgr"]
    assert best is not None
    assert best >= 1.19


@pytest.mark.parametrize(
    ("name", "student", "teacher", "oracle"),
    [
        ("routellm_mmlu.csv.gz", 0.681, 0.806, 1.285),
        ("routellm_gsm8k.csv.gz", 0.637, 0.858, 1.121),
    ],
)
def test_routellms_sets_give_the_published_oracles(
    name: str, student: float, teacher: float, oracle: float
) -> None:
    outcomes = outcomes_of(*routellm(name))
    assert mean_quality(outcomes) == pytest.approx((student, teacher), abs=5e-4)
    assert measure(outcomes, oracle_ranking(outcomes))["apgr"] == pytest.approx(oracle, abs=5e-4)
