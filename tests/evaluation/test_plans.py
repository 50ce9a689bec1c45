import numpy as np
import pytest

from evaluation.errors import TargetError
from evaluation.outcomes import Floats, Outcomes, outcomes_of
from evaluation.plans import labelled_plan, levels_of, levels_on_scale, unlabelled_plan
from evaluation.targets import Kind, Start, Target, Test

FIVE = Target(Kind.DISAGREEMENT, 0.05)


def records(n: int = 2000, seed: int = 0) -> tuple[Outcomes, Floats]:
    generator = np.random.default_rng(seed)
    confidence = generator.random(n)
    student = (generator.random(n) < np.sqrt(confidence)).astype(np.float64)
    return outcomes_of(student, np.ones(n)), confidence


def test_levels_keep_equal_steps_and_end_with_everything() -> None:
    confidence = np.random.default_rng(0).random(1000)
    levels = levels_of(confidence, 10)
    shares = [(confidence >= level).mean() for level in levels]
    assert shares == pytest.approx([*np.arange(1, 11) / 10, 1.0], abs=2e-3)
    assert levels[-1] == 0.0
    assert (np.diff(levels) < 0).all()


def test_ties_are_one_level_and_silence_is_none() -> None:
    assert levels_of([1.0, 1.0, 0.5, np.nan]).tolist() == [1.0, 0.5, 0.0]
    with pytest.raises(TargetError, match="no record states a confidence"):
        levels_of([np.nan])


def test_fixed_scale_needs_no_records() -> None:
    assert levels_on_scale(4).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]


@pytest.mark.parametrize(("n", "share"), [(100_000, 0.1), (500, 2 * 59 / 500), (100, 1.0)])
def test_chain_starts_where_there_is_room_for_proof(n: int, share: float) -> None:
    _, confidence = records()
    plan = unlabelled_plan(confidence, FIVE, n, Test.BINOMIAL)
    (start,) = plan.starts
    kept = [(confidence >= level).mean() for level in plan.thresholds]
    assert kept[start.level] >= share - 1e-9
    assert start.level == 0 or kept[start.level - 1] < share
    assert start.share == 1.0


def test_quality_starts_with_the_strictest() -> None:
    _, confidence = records()
    plan = unlabelled_plan(confidence, Target(Kind.QUALITY, 0.99), 100, Test.BETTING)
    assert plan.starts == (Start(0, 1.0),)


def test_labels_of_others_move_the_start_past_confident_errors() -> None:
    outcomes, confidence = records()
    top = confidence > 0.97
    bad = Outcomes(np.where(top, 0.0, outcomes.student), outcomes.teacher, outcomes.weight)
    plain = labelled_plan(outcomes, confidence, Target(Kind.DISAGREEMENT, 0.2), 1000)
    moved = labelled_plan(bad, confidence, Target(Kind.DISAGREEMENT, 0.2), 1000)
    assert moved.starts[0].level > plain.starts[0].level


def test_exact_test_where_it_keeps_more_and_bets_where_it_cannot() -> None:
    outcomes, confidence = records()
    assert labelled_plan(outcomes, confidence, FIVE, 1000).test is Test.BINOMIAL
    weighted = Outcomes(outcomes.student, outcomes.teacher, np.where(confidence > 0.5, 2.0, 1.0))
    plan = labelled_plan(weighted, confidence, FIVE, 1000)
    assert (plan.test, plan.weight_bound) == (Test.BETTING, 2.0)
    assert labelled_plan(weighted, confidence, FIVE, 1000, 7.0).weight_bound == 7.0
    slightly = Outcomes(outcomes.student * 0.999, outcomes.teacher, outcomes.weight)
    assert labelled_plan(slightly, confidence, FIVE, 1000).test is Test.BETTING
    quality = Target(Kind.QUALITY, 0.95)
    halves = Outcomes(outcomes.student, outcomes.teacher / 2, outcomes.weight)
    assert labelled_plan(halves, confidence, quality, 1000).test is Test.BETTING
    assert labelled_plan(outcomes, confidence, quality, 1000).test is Test.BINOMIAL


def test_escalation_rate_of_weighted_records_starts_permissive() -> None:
    outcomes, confidence = records()
    weighted = Outcomes(outcomes.student, outcomes.teacher, np.where(confidence > 0.5, 2.0, 1.0))
    plan = labelled_plan(weighted, confidence, Target(Kind.ESCALATION_RATE, 0.2), 1000)
    assert plan.starts == (Start(0, 1.0),)
