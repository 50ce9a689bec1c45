from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from distill.order import order_of, sample_of


@given(
    lengths=st.lists(st.integers(1, 99), min_size=1, max_size=40),
    batch=st.integers(1, 16),
    steps=st.integers(1, 12),
)
def test_no_row_is_learnt_twice_before_every_row_was_learnt(
    lengths: list[int], batch: int, steps: int
) -> None:
    order = order_of(lengths, batch, steps, seed=0)
    assert len(order) == batch * steps
    counts = Counter(order)
    times = [counts[row] for row in range(len(lengths))]
    assert max(times) - min(times) <= 1


def test_within_a_step_the_longest_come_first() -> None:
    lengths = [3, 9, 1, 7, 5, 2]
    order = order_of(lengths, 3, 2, seed=1)
    for step in (order[:3], order[3:]):
        told = [lengths[row] for row in step]
        assert told == sorted(told, reverse=True)


def test_steps_are_drawn_and_not_sorted() -> None:
    lengths = list(range(64))
    order = order_of(lengths, 8, 8, seed=0)
    spreads = [
        max(lengths[row] for row in order[at : at + 8])
        - min(lengths[row] for row in order[at : at + 8])
        for at in range(0, 64, 8)
    ]
    assert min(spreads) > 16


def test_the_order_is_that_of_the_seed() -> None:
    lengths = [1] * 50
    assert order_of(lengths, 5, 10, seed=3) == order_of(lengths, 5, 10, seed=3)
    assert order_of(lengths, 5, 10, seed=3) != order_of(lengths, 5, 10, seed=4)
    # A longer training begins as a shorter one does.
    assert order_of(lengths, 5, 20, seed=3)[:50] == order_of(lengths, 5, 10, seed=3)


def test_a_large_holdout_is_sampled() -> None:
    assert sample_of(3, 3, seed=0) == [0, 1, 2]
    drawn = sample_of(1000, 10, seed=0)
    assert (len(set(drawn)), drawn) == (10, sorted(drawn))
    assert sample_of(5, 0, seed=0) == []
