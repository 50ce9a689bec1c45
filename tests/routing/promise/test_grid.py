import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import PolicyError
from routing.promise.grid import LEVELS, MOST_LEVELS, Grid, check_grid, grid_of

MERITS = st.lists(st.floats(0.0, 1.0) | st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=300)


@given(MERITS)
def test_levels_go_from_strict_to_permissive_and_the_last_keeps_all(merits: list[float]) -> None:
    grid = grid_of(merits)
    check_grid(grid, "grid")
    assert len(grid.thresholds) <= LEVELS
    assert grid.thresholds[-1] == min(merits)
    assert grid.shares[-1] == 1.0


@given(MERITS)
def test_a_level_keeps_the_share_of_the_merits_that_it_says(merits: list[float]) -> None:
    grid = grid_of(merits)
    for threshold, share in zip(grid.thresholds, grid.shares, strict=True):
        assert share == sum(merit >= threshold for merit in merits) / len(merits)


@given(MERITS, st.floats(0.0, 1.0))
def test_the_bin_of_a_draft_is_the_strictest_level_that_keeps_it(
    merits: list[float], merit: float
) -> None:
    grid = grid_of(merits)
    for each in (merit, *grid.thresholds):
        place = grid.bin_of(each)
        assert all(each < threshold for threshold in grid.thresholds[:place])
        assert all(each >= threshold for threshold in grid.thresholds[place:])


def test_a_spike_of_equal_merits_is_one_level() -> None:
    grid = grid_of([0.9] * 700 + [0.1] * 300)
    assert grid == Grid((0.9, 0.1), (0.7, 1.0))
    assert (grid.bin_of(0.9), grid.bin_of(0.8), grid.bin_of(0.05)) == (0, 1, 2)


def test_even_merits_make_fifty_levels_of_two_in_a_hundred_each() -> None:
    grid = grid_of([place / 1000 for place in range(1000)])
    assert grid.shares == tuple((level + 1) / 50 for level in range(50))


@pytest.mark.parametrize(
    ("shares", "start"), [((0.04, 0.08, 0.1, 0.5), 2), ((0.2, 1.0), 0), ((0.01, 0.05), 1)]
)
def test_the_chain_begins_where_a_tenth_is_kept(shares: tuple[float, ...], start: int) -> None:
    levels = tuple(0.9 - 0.1 * level for level in range(len(shares)))
    assert Grid(levels, shares).start == start


@pytest.mark.parametrize(
    ("grid", "complaint"),
    [
        (Grid((), ()), "levels.thresholds: must be as many as the shares, and at least one"),
        (Grid((0.5,), (0.1, 0.2)), "levels.thresholds: must be as many as the shares"),
        (Grid((0.5, 0.5), (0.1, 0.2)), "levels.thresholds: must strictly decrease"),
        (Grid((0.5, 0.4), (0.2, 0.1)), "levels.shares: must not decrease"),
        (Grid((1.5, 0.4), (0.1, 0.2)), "levels.thresholds: they and the shares must lie in"),
        (Grid((0.5, 0.4), (0.1, 1.2)), "levels.thresholds: they and the shares must lie in"),
        (
            Grid((0.5,) * (MOST_LEVELS + 1), (0.5,) * (MOST_LEVELS + 1)),
            "levels.thresholds: must be as many as the shares",
        ),
    ],
)
def test_levels_that_are_none_are_refused(grid: Grid, complaint: str) -> None:
    with pytest.raises(PolicyError, match=f"^{complaint}"):
        check_grid(grid, "levels")
