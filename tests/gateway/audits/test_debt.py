"""What is owed is bounded, and the oldest goes first."""

import pytest

from gateway.audits import debt
from gateway.audits.debt import Debt, Owed


def owed(begun: list[int], number: int, size: int = 1) -> Owed:
    return Owed(lambda: begun.append(number), size)


def test_it_is_taken_in_the_order_in_which_it_came() -> None:
    begun: list[int] = []
    owing = Debt()
    for number in range(3):
        assert owing.owe(owed(begun, number)) == 0
    while owing:
        owing.take().begin()
    assert begun == [0, 1, 2]
    with pytest.raises(IndexError):
        owing.take()


def test_there_are_at_most_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debt, "MOST_OWED", 2)
    begun: list[int] = []
    owing = Debt()
    assert [owing.owe(owed(begun, number)) for number in range(4)] == [0, 0, 1, 1]
    assert len(owing) == 2
    owing.take().begin()
    assert begun == [2]


def test_they_keep_at_most_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debt, "MOST_BYTES", 10)
    owing = Debt()
    assert [owing.owe(owed([], number, 5)) for number in range(3)] == [0, 0, 1]
    assert owing.bytes == 10
    assert owing.owe(owed([], 3, 11)) == 3  # one that is too large by itself is not kept
    assert (len(owing), owing.bytes) == (0, 0)


def test_one_is_tried_until_the_teacher_has_answered_and_after_a_failure_later() -> None:
    owing = Debt()
    assert not owing.may_take(0.0)
    for number in range(3):
        owing.owe(owed([], number))
    assert owing.may_take(0.0)
    owing.open += 1
    assert not owing.may_take(0.0)
    owing.ended(0.0, is_there=False)
    assert not owing.may_take(debt.PAUSE_SECONDS - 0.1)
    assert owing.may_take(debt.PAUSE_SECONDS)
    owing.open += 1
    owing.ended(40.0, is_there=True)
    owing.open += 1
    assert owing.may_take(40.0)
    owing.owe(owed([], 3))  # it is away again
    assert not owing.may_take(40.0)
    owing.ended(41.0, is_there=None)
    assert owing.may_take(41.0)
