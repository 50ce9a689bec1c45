import pytest

from evaluation.scenarios.scenario import Teacher
from evaluation.scenarios.teacher import Queue


def after(queue: Queue, calls: int, seconds: int) -> Queue:
    for _ in range(seconds):
        queue.ask(calls)
        queue.pass_second()
    return queue


def test_below_its_capacity_nobody_waits() -> None:
    queue = after(Queue(Teacher(seconds=4.0, concurrent=10)), 2, 100)
    assert queue.waiting == 0.0
    assert queue.running == pytest.approx(2 * 4.0 - 2, abs=0.01)  # once a second's are answered
    assert queue.latency_seconds == 4.0


def test_beyond_it_the_queue_grows_by_what_is_too_much() -> None:
    queue = after(Queue(Teacher(seconds=5.0, concurrent=10)), 3, 200)
    assert queue.open_calls == pytest.approx(200 * (3 - 2), abs=10)
    assert queue.latency_seconds == pytest.approx(5.0 + queue.waiting / 2.0)


def test_slow_answers_are_less_capacity() -> None:
    queue = Queue(Teacher(seconds=4.0, concurrent=10, timeout_seconds=30.0), slowness=5.0)
    assert queue.latency_seconds == 20.0
    after(queue, 2, 60)
    assert queue.waiting > 0.0
    assert queue.would_time_out


def test_an_outage_ends_what_was_open() -> None:
    queue = after(Queue(Teacher(seconds=4.0, concurrent=10)), 3, 10)
    queue.is_down = True
    queue.pass_second()
    assert queue.open_calls == 0.0
