from gateway.conversations.memory import Known, Memory
from routing.conversation import Talk

ONE, TWO, THREE = b"1", b"2", b"3"


def known(turns: int = 1) -> Known:
    return Known(None, Talk(turns=turns))


def test_what_is_kept_is_recalled_until_it_was_idle_for_too_long() -> None:
    memory = Memory(idle_seconds=10.0)
    assert memory.recall(ONE, 0.0) is None
    memory.keep(ONE, known(), 0.0)
    assert memory.recall(ONE, 10.0) == known()
    assert memory.recall(ONE, 10.1) is None
    memory.keep(ONE, known(2), 10.0)
    assert memory.recall(ONE, 20.0) == known(2)


def test_those_that_were_idle_longest_go_where_there_are_too_many() -> None:
    memory = Memory(idle_seconds=10.0, most=2)
    memory.keep(ONE, known(), 0.0)
    memory.keep(TWO, known(), 1.0)
    memory.keep(ONE, known(2), 2.0)
    memory.keep(THREE, known(), 3.0)
    assert memory.recall(TWO, 3.0) is None
    assert memory.recall(ONE, 3.0) == known(2)
    assert memory.count(3.0) == 2


def test_those_that_were_idle_for_too_long_are_not_counted() -> None:
    memory = Memory(idle_seconds=10.0)
    memory.keep(ONE, known(), 0.0)
    memory.keep(TWO, known(), 5.0)
    assert [memory.count(now) for now in (10.0, 10.1, 15.0, 15.1)] == [2, 1, 1, 0]
