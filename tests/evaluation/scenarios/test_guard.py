"""What a gateway makes of the teacher's queue: it denies, it eases, and nobody waits for ever."""

import pytest

from evaluation.scenarios import scenario as told
from evaluation.scenarios.guard import Guard
from evaluation.scenarios.measures import measures_of
from evaluation.scenarios.teacher import FIRST_BYTE_SHARE, Queue
from evaluation.scenarios.timeline import Timeline
from routing.concurrency import FIRST_CALLS
from tests.evaluation.scenarios.made_up import played, scenario

LIMITED = told.Watch(adaptive_limit=True)
SLOW = told.TeacherSlowdown(at=600, seconds=400, times=4.0)
DURING, SETTLED = slice(600, 1000), slice(1200, 1400)
MEASURES = {"busy_share", "pressure_most", "limit_least"}
RATE, FIXED = told.EscalationRate(0.3), told.Fixed(0.82)


def run_of(objective: told.Objective, queue: told.Watch | None, replicas: int = 1) -> Timeline:
    """A teacher of 24 places that could answer 6 a second, and for a while 1.5, is asked for 3."""
    teacher = told.Teacher(4.0, 24, queue=queue)
    of = scenario(
        objective, seconds=1400, per_second=10.0, replicas=replicas, teacher=teacher, events=(SLOW,)
    )
    return played(of)


def test_a_queue_that_nobody_looks_at_grows_until_calls_time_out() -> None:
    run = run_of(RATE, None)
    latency = run["latency_seconds"][DURING]
    assert latency[20] < latency[60] - 15.0 < latency[100] - 30.0
    assert latency[-1] > 100.0
    assert not run["pressure"].any()


def test_a_threshold_that_gives_way_keeps_it_short() -> None:
    run = run_of(RATE, told.Watch())
    assert run["latency_seconds"].max() < 16.0 * 1.6  # an answer takes 16 s now
    assert run["pressure"][700:1000].min() > 0.2
    assert run["pressure"][SETTLED].max() < 0.1
    assert run["kept_truly"][700:1000].mean() > run["kept_truly"][500:600].mean() + 0.05
    assert not run["busy"].any()


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_learnt_limit_keeps_it_short_under_a_threshold_that_stays(replicas: int) -> None:
    run = run_of(FIXED, LIMITED, replicas)
    assert run["latency_seconds"].max() < 16.0 * 2.1
    assert run["latency_seconds"][900:1000].mean() < 16.0 * 1.4
    assert run["busy"][DURING].sum() > 0.2 * run["served"][DURING].sum()
    assert run["limit"][DURING].min() < 0.7 * run["limit"][500:600].mean()
    assert run["busy"][SETTLED].sum() < 0.05 * run["served"][SETTLED].sum()
    assert run["threshold"].std() == 0.0
    assert (run["denied"] >= run["busy"]).all()


def test_without_the_limit_a_threshold_that_stays_meets_the_whole_queue() -> None:
    run = run_of(FIXED, told.Watch())
    assert run["latency_seconds"].max() > 100.0


@pytest.mark.parametrize(
    ("queue", "names"),
    [
        (None, []),
        (told.Watch(), ["busy_share", "pressure_most"]),
        (LIMITED, ["busy_share", "pressure_most", "limit_least"]),
    ],
    ids=["nobody looks", "pressure", "limit"],
)
def test_measures_tell_of_it_where_the_queue_is_looked_at(
    queue: told.Watch | None, names: list[str]
) -> None:
    of = scenario(seconds=60, teacher=told.Teacher(queue=queue))
    found = measures_of(of, played(of))
    assert [name for name in found if name in MEASURES] == names
    assert found.get("limit_least", FIRST_CALLS) == FIRST_CALLS


def test_no_more_calls_are_open_than_may_be() -> None:
    guard = Guard(told.Teacher(max_concurrent=10))
    queue = Queue(guard.teacher)
    assert guard.room(7) == 7
    guard.ask(7, queue, 0.0)
    assert (guard.has_spare_room, guard.room(7)) == (True, 3)
    guard.ask(3, queue, 0.0)
    assert (guard.open_calls, queue.open_calls, guard.room(1)) == (10.0, 10.0, 0)
    assert not guard.has_spare_room
    guard.pass_second(0.5, 1.0)
    assert guard.room(9) == 5


def test_an_outage_ends_all_that_is_open() -> None:
    guard = Guard(told.Teacher(queue=LIMITED))
    guard.ask(12, Queue(guard.teacher), 0.0)
    guard.lose()
    assert guard.room(FIRST_CALLS + 1) == FIRST_CALLS


def test_what_has_no_room_presses_a_teacher_whose_queue_nobody_sees() -> None:
    guard = Guard(told.Teacher(max_concurrent=1, queue=told.Watch()), is_easing=True)
    gone = Queue(guard.teacher, is_down=True)
    guard.room(10)
    guard.look(gone, 1)
    assert guard.pressure == 0.0  # it is looked at every other second
    guard.look(gone, 2)
    assert guard.easing == guard.pressure > 0.2
    assert Guard(guard.teacher, is_easing=False).easing == 0.0


def test_a_first_byte_waits_for_a_place() -> None:
    queue = Queue(told.Teacher(seconds=4.0, concurrent=10), open_calls=5.0)
    assert queue.first_byte_seconds(5) == pytest.approx(4.0 * FIRST_BYTE_SHARE)
    assert queue.first_byte_seconds(10) == pytest.approx(4.0 * FIRST_BYTE_SHARE + 2.0)
