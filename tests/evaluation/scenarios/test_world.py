import numpy as np
import pytest

from evaluation.errors import EvaluationError
from evaluation.scenarios.population import SILENT, population_of
from evaluation.scenarios.scenario import Kind
from evaluation.scenarios.world import World, keeps
from routing.steering import KEEP_NOTHING, Standing
from tests.evaluation.scenarios.made_up import scenario

KINDS = {"easy": Kind(0.75, 0.1, 0.8), "hard": Kind(0.25, 0.6, 0.8)}


@pytest.fixture
def world() -> World:
    return World(population_of(scenario(kinds=KINDS, spread=0.5)))


@pytest.mark.parametrize("threshold", [0.0, 0.7, 1.0, KEEP_NOTHING])
@pytest.mark.parametrize("per_usd", [None, 1500.0])
def test_drafts_are_kept_as_routing_says(threshold: float, per_usd: float | None) -> None:
    standing = Standing(1, 1, threshold, per_usd=per_usd)
    generator = np.random.default_rng(0)
    merit = np.concatenate([generator.random(500), [0.0, 0.7, 1.0, SILENT]])
    cost = generator.integers(0, 2 * 10**9, len(merit))
    kept = keeps(standing, merit, cost)
    pairs = zip(merit.tolist(), cost.tolist(), strict=True)
    assert kept.tolist() == [each >= standing.least_merit(pico) for each, pico in pairs]


def test_the_truth_of_a_standing_is_what_many_requests_show(world: World) -> None:
    standing = Standing(1, 1, 0.85)
    generator = np.random.default_rng(1)
    places = world.draw(generator, 200_000)
    kept = keeps(standing, world.population.merit[places], world.population.teacher_pico[places])
    losses = world.losses(places, generator.random(len(places)))
    truth = world.truth(standing)
    assert kept.mean() == pytest.approx(truth.kept, abs=0.005)
    assert losses[kept].mean() == pytest.approx(truth.disagreement, abs=0.003)
    paid = np.where(kept, 0, world.population.teacher_pico[places])
    paid += world.population.student_pico[places]
    assert paid.mean() == pytest.approx(truth.pico, rel=0.01)


def test_nothing_kept_is_no_disagreement(world: World) -> None:
    truth = world.truth(Standing(1, 1, KEEP_NOTHING))
    assert (truth.kept, truth.disagreement) == (0.0, 0.0)


def test_the_oracle_keeps_the_most_that_keeps_the_promise(world: World) -> None:
    oracle = world.oracle(0.05)
    assert oracle.disagreement <= 0.05 + 1e-9
    merits = world.population.merit
    better = [world.truth(Standing(1, 1, each)) for each in merits[::25].tolist()]
    fine = [each.kept for each in better if each.disagreement <= 0.05]
    assert max(fine) <= oracle.kept <= max(fine) + 25 / len(merits) * 2
    assert world.oracle(0.0).kept == 0.0


def test_a_drift_gives_kinds_their_shares_and_the_others_the_rest(world: World) -> None:
    world.drift({"hard": 0.9})
    assert world.shares == pytest.approx([0.1, 0.9])
    assert world.mass @ world.risk == pytest.approx(0.1 * 0.1 + 0.9 * 0.6, abs=1e-6)
    with pytest.raises(EvaluationError, match="no such kind, one of easy, hard"):
        world.drift({"sad": 0.5})


def test_a_regression_adds_its_points_where_it_is(world: World) -> None:
    standing = Standing(1, 1, 0.9)
    before = world.truth(standing)
    world.regress(10.0, world.population.merit >= 0.9)
    after = world.truth(standing)
    assert after.disagreement == pytest.approx(before.disagreement + 0.10, abs=1e-6)
    assert world.truth(Standing(1, 1, 0.0)).disagreement < 0.1 + 0.25 * 0.6 + 0.75 * 0.1
    assert world.oracle(0.05).kept < 0.05


def test_noise_is_seen_by_the_promise_and_not_by_the_truth_behind_it(world: World) -> None:
    standing = Standing(1, 1, 0.9)
    before = world.truth(standing)
    world.err(says_differs=0.04, says_same=0.5)
    after = world.truth(standing)
    risk = before.disagreement
    assert after.unseen == pytest.approx(risk)
    assert after.disagreement == pytest.approx(0.5 * risk + 0.04 * (1.0 - risk))
