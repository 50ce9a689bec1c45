"""The deadline of exchanges that follow one another, by a clock that is set by hand."""

from collections.abc import Callable
from typing import Any

from gateway.upstream.deadline import ROUNDING_SECONDS, Deadline


class Timer:
    def __init__(self, at: float, ring: Callable[[], None]) -> None:
        self.at = at
        self.ring = ring
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """As much of an event loop as a deadline needs."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, ring: Callable[[], None]) -> Timer:
        self.timers.append(Timer(at, ring))
        return self.timers[-1]

    def pass_to(self, now: float) -> None:
        """Ring what is due by then."""
        self.now = now
        due = [timer for timer in self.timers if timer.at <= now and not timer.is_cancelled]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            timer.ring()


def watched() -> tuple[Loop, Deadline, list[float]]:
    loop = Loop()
    passed: list[float] = []
    untyped: Any = loop
    return loop, Deadline(untyped, lambda: passed.append(loop.now)), passed


def test_it_passes_once_when_it_is_due() -> None:
    loop, deadline, passed = watched()
    deadline.set(5)
    loop.pass_to(104.9)
    assert passed == []
    loop.pass_to(105)
    loop.pass_to(200)
    assert passed == [105]


def test_a_cleared_one_does_not_pass_and_its_timer_ends_by_itself() -> None:
    loop, deadline, passed = watched()
    deadline.set(5)
    deadline.clear()
    loop.pass_to(300)
    assert (passed, loop.timers) == ([], [])


def test_exchanges_in_time_share_one_timer() -> None:
    loop, deadline, passed = watched()
    for second in range(4):
        loop.now = 100.0 + second
        deadline.set(5)
        deadline.clear()
    assert len(loop.timers) == 1
    deadline.set(5)
    loop.pass_to(105)  # the first one's time
    assert passed == []
    loop.pass_to(108)
    assert passed == [108]


def test_a_shorter_time_than_the_one_before_counts() -> None:
    loop, deadline, passed = watched()
    deadline.set(60)
    deadline.clear()
    deadline.set(1)
    assert [timer.is_cancelled for timer in loop.timers] == [True, False]
    loop.pass_to(101)
    assert passed == [101]


def test_a_timer_that_is_early_by_the_loops_rounding_is_on_time() -> None:
    loop, deadline, passed = watched()
    deadline.set(5)
    (timer,) = loop.timers
    timer.at -= ROUNDING_SECONDS / 2
    loop.pass_to(timer.at)
    assert passed == [timer.at]


def test_nothing_is_left_of_a_closed_one() -> None:
    loop, deadline, passed = watched()
    deadline.set(5)
    deadline.close()
    loop.pass_to(200)
    assert passed == []
    assert all(timer.is_cancelled for timer in loop.timers)
