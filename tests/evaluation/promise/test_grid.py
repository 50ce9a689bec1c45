import numpy as np

from evaluation.promise.grid import grid_from, known_grid, last_of
from evaluation.promise.traffic import traffic_of
from evaluation.simulate import population_of
from tests.evaluation.promise.populations import traffic

TIED = traffic_of(population_of([0.9] * 3 + [0.5] * 5 + [0.1] * 2, [1] * 10))


def test_known_grid_has_equal_steps_and_each_place_its_strictest_level() -> None:
    drawn = traffic("syn30/.90")
    grid = known_grid(drawn, runs=2)
    assert grid.kept.shape == (2, 50)
    assert np.diff(grid.kept[0]).tolist() == [drawn.size // 50] * 49
    assert np.allclose(grid.shares[0], np.arange(1, 51) / 50)
    edges = np.array([[0, 399, 400, drawn.size - 1]] * 2)
    assert grid.bins(edges).tolist() == [[0, 0, 1, 49]] * 2


def test_spike_of_equal_merits_is_in_one_level() -> None:
    grid = known_grid(TIED, runs=1, levels=5)
    assert grid.kept[0].tolist() == [3, 8, 8, 8, 10]
    assert grid.shares[0].tolist() == [0.3, 0.8, 0.8, 0.8, 1.0]
    assert grid.bins(np.array([[0, 2, 3, 7, 9]])).tolist() == [[0, 0, 1, 1, 4]]


def test_grid_of_what_was_seen_first_may_keep_fewer_than_all() -> None:
    drawn = traffic("syn30/.90")
    grid = grid_from(drawn, np.array([[100, 5, 700, 300]]), levels=2)
    assert grid.kept[0].tolist() == [101, 701]
    assert grid.bins(np.array([[0, 100, 101, 701]])).tolist() == [[0, 0, 1, 2]]


def test_some_runs_get_other_levels_and_the_others_keep_theirs() -> None:
    drawn = traffic("syn30/.90")
    grid = known_grid(drawn, runs=2, levels=2)
    before = grid.kept[0].tolist()
    grid.replace(np.array([False, True]), grid_from(drawn, np.array([[10, 20]]), levels=2))
    assert grid.kept.tolist() == [before, [11, 21]]
    assert grid.bins(np.array([[15], [15]])).tolist() == [[0], [1]]


def test_last_good_level_is_the_most_permissive_one() -> None:
    good = np.array([[True, False, True, False], [False] * 4])
    assert last_of(good).tolist() == [2, -1]
