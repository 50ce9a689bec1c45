import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.spending import Pace, Purse, Spent, most_cost
from routing.money import Price, Usage, cost_of

CALLS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans()), max_size=30)


def test_the_last_pico_dollar_may_be_spent_and_no_more() -> None:
    purse = Purse(limit_pico=10)
    purse.hold(10)
    purse.settle(10, 4)
    purse.hold(6)
    with pytest.raises(Spent, match="budget"):
        purse.hold(1)
    assert purse.is_waiting


def test_what_is_put_aside_is_not_spent_twice() -> None:
    purse = Purse(limit_pico=10)
    purse.hold(6)
    with pytest.raises(Spent):
        purse.hold(5)
    purse.release(6)
    assert not purse.is_waiting
    purse.hold(10)
    assert (purse.spent_pico, purse.requests) == (0, 0)


def test_the_last_request_may_be_made_and_no_more() -> None:
    purse = Purse(most_requests=2)
    purse.hold(None)
    purse.settle(None, None)
    purse.hold(None)
    with pytest.raises(Spent, match="2 requests"):
        purse.hold(None)


def test_a_budget_is_not_spent_on_what_has_no_price() -> None:
    with pytest.raises(Spent, match="nobody knows"):
        Purse(limit_pico=10**12).hold(None)


def test_a_cost_that_nobody_knows_counts_at_its_highest() -> None:
    purse = Purse(limit_pico=10)
    purse.hold(7)
    assert purse.settle(7, None) == 7
    assert (purse.spent_pico, purse.is_exact) == (7, False)


def test_what_an_earlier_run_spent_counts() -> None:
    purse = Purse(limit_pico=10, most_requests=3)
    purse.recall(8, 2, is_exact=True)
    with pytest.raises(Spent, match="budget"):
        purse.hold(3)
    purse.hold(2)
    assert purse.is_exact
    purse.recall(0, 0, is_exact=False)
    assert not purse.is_exact


@given(CALLS, st.integers(0, 200))
def test_a_purse_is_never_overdrawn(calls: list[tuple[int, int, bool]], limit: int) -> None:
    purse, open_calls = Purse(limit_pico=limit), []
    for most, cost, is_slow in calls:
        try:
            purse.hold(most)
        except Spent:
            continue
        if is_slow:
            open_calls.append((most, min(cost, most)))
        else:
            purse.settle(most, min(cost, most))
        assert purse.spent_pico <= limit
    for most, cost in open_calls:
        purse.settle(most, cost)
    assert purse.spent_pico <= limit


@given(st.text(max_size=200), st.integers(1, 100), st.integers(0, 100))
def test_no_call_costs_more_than_what_is_put_aside(text: str, most: int, written: int) -> None:
    price = Price(input=3, cached_input=1, output=7, reasoning=9)
    body = text.encode()
    used = Usage(len(body), min(written, most), cached_input=0, reasoning=min(written, most))
    cost = cost_of(used, price)
    highest = most_cost(price, body, 1, most)
    assert cost is not None
    assert highest is not None
    assert cost <= highest


def test_nobody_knows_the_highest_cost_without_a_price() -> None:
    assert most_cost(None, b"", 1, 1) is None


def test_calls_are_spread_evenly() -> None:
    pace = Pace(per_minute=30)
    assert [pace.wait(100.0) for _ in range(3)] == [0.0, 2.0, 4.0]
    assert pace.wait(105.0) == pytest.approx(1.0)
    assert pace.wait(200.0) == 0.0


def test_without_a_rate_nobody_waits() -> None:
    pace = Pace(None)
    assert [pace.wait(0.0) for _ in range(3)] == [0.0, 0.0, 0.0]


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 20))
def test_no_minute_holds_more_calls(gaps: list[float], per_minute: int) -> None:
    pace, now, calls = Pace(per_minute), 0.0, []
    for gap in gaps:
        now += gap
        calls.append(now + pace.wait(now))
    for start in calls:
        # Sums of floats end a hair before or behind the minute.
        assert sum(start <= call < start + 60.0 - 1e-6 for call in calls) <= per_minute
