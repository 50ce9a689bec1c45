"""Which server is asked, which is passed over, and how much may be made again."""

import pytest

from routing.servers import (
    BURST,
    CALLS_PER_RETRY,
    FIRST_REST_SECONDS,
    MOST_REST_SECONDS,
    Load,
    Rest,
    RetryBudget,
    by_preference,
)


def test_a_burst_may_be_made_again_and_no_more() -> None:
    budget = RetryBudget()
    for _ in range(BURST):
        assert not budget.is_spent
        budget.retried()
    assert budget.is_spent


def test_so_many_calls_earn_one_retry() -> None:
    budget = RetryBudget(credit=0)
    for _ in range(CALLS_PER_RETRY - 1):
        budget.called()
        assert budget.is_spent
    budget.called()
    assert not budget.is_spent


def test_no_more_than_a_burst_is_saved() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.called()
    assert budget == RetryBudget()


def test_an_outage_adds_a_tenth_to_the_load() -> None:
    budget, made_again = RetryBudget(), 0
    for _ in range(10_000):
        budget.called()
        if not budget.is_spent:
            budget.retried()
            made_again += 1
    assert made_again == 10_000 // CALLS_PER_RETRY + BURST - 1


def test_a_rest_doubles_with_each_failure_up_to_a_bound() -> None:
    rest = Rest()
    for number in range(20):
        rest.failed(now := 100.0 * number)
        expected = min(FIRST_REST_SECONDS * 2**number, MOST_REST_SECONDS)
        assert rest.until - now == expected


def test_a_success_ends_the_rest() -> None:
    rest = Rest()
    rest.failed(5.0)
    rest.succeeded()
    assert rest == Rest()
    rest.failed(6.0)
    assert rest.until == 6.0 + FIRST_REST_SECONDS


@pytest.mark.parametrize(("asked", "seconds"), [(0.0, 0.0), (7.0, 7.0), (9e9, MOST_REST_SECONDS)])
def test_a_server_rests_as_long_as_it_asks_for_within_a_bound(asked: float, seconds: float) -> None:
    rest = Rest()
    rest.failed(10.0, asked)
    assert rest.until == 10.0 + seconds


def test_a_rest_is_never_cut_short_by_another_failure() -> None:
    rest = Rest()
    rest.failed(10.0, 20.0)
    rest.failed(11.0)
    assert rest.until == 30.0


def test_the_one_with_the_fewest_open_calls_comes_first() -> None:
    assert by_preference([Load(3), Load(1), Load(2)], first=0) == [1, 2, 0]


def test_one_that_rests_comes_last_however_idle_it_is() -> None:
    assert by_preference([Load(0, is_resting=True), Load(9), Load(4)], first=0) == [2, 1, 0]


@pytest.mark.parametrize(("first", "order"), [(0, [0, 1, 2]), (1, [1, 2, 0]), (2, [2, 0, 1])])
def test_equals_take_turns(first: int, order: list[int]) -> None:
    assert by_preference([Load(1)] * 3, first) == order
