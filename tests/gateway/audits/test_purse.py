"""What audits may spend in an hour."""

from gateway.audits.purse import Purse

HOUR = 3600.0


class Hands:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def has_money(purse: Purse) -> bool:
    return purse.has_money


def test_without_a_bound_there_is_always_money() -> None:
    purse = Purse()
    purse.pay(10**18)
    assert has_money(purse)


def test_with_a_bound_of_nothing_there_is_none() -> None:
    clock = Hands()
    purse = Purse(0, clock)
    clock.now = 10 * HOUR
    assert not has_money(purse)


def test_it_begins_with_a_quarter_of_an_hour_and_fills_evenly() -> None:
    clock = Hands()
    purse = Purse(400, clock)
    purse.pay(100)
    assert not has_money(purse)
    clock.now = HOUR / 100
    assert has_money(purse)
    purse.pay(304)  # an audit is whole, whatever it costs: the next ones wait for that
    assert not has_money(purse)
    clock.now = 76 * HOUR / 100
    assert not has_money(purse)
    clock.now += 1.0
    assert has_money(purse)


def test_what_is_not_spent_is_not_saved_up() -> None:
    clock = Hands()
    purse = Purse(400, clock)
    clock.now = 1000 * HOUR
    assert has_money(purse)
    purse.pay(100)
    assert not has_money(purse)


def test_over_any_hour_it_is_at_most_a_quarter_more() -> None:
    clock = Hands()
    purse = Purse(400, clock)
    spent = 0
    for second in range(3600):
        clock.now = float(second)
        if has_money(purse):
            purse.pay(1)
            spent += 1
    assert 498 <= spent <= 501
