import numpy as np
import pytest

from evaluation.scenarios.guard import Guard
from evaluation.scenarios.population import population_of
from evaluation.scenarios.replica import Replica
from evaluation.scenarios.serving import MOST_SAMPLES, Arrived, Served, serve
from evaluation.scenarios.talks import Turns
from evaluation.scenarios.teacher import Queue
from evaluation.scenarios.world import World
from routing.steering import KEEP_NOTHING, Standing
from tests.evaluation.scenarios.made_up import WIDE, scenario

ALL = Standing(1, 1, KEEP_NOTHING, cap_pico=3600 * 10**9, shares={"gateway-0.1": 1.0})
EACH = 600 * 600_000 + 200 * 2_400_000
STUDENTS = 600 * 20_000 + 200 * 60_000


@pytest.fixture
def world() -> World:
    return World(population_of(scenario()))


def served(replica: Replica, world: World, queue: Queue, requests: int) -> Served:
    places = np.arange(requests, dtype=np.int64)
    turns = Turns(places, (), np.zeros(requests, dtype=np.bool_))
    coins = np.full(requests, 0.5)
    return serve(replica, Arrived(turns, coins, coins), world, queue, second=100)


def capped(world: World) -> Replica:
    """A replica whose bucket has filled for a hundred seconds, 0.9e9 pico-dollars in each."""
    replica = Replica(0, ALL, Guard(WIDE))
    for second in range(101):
        replica.follow(ALL, float(second))
    return replica


def test_a_cap_pays_for_as_many_as_it_can(world: World) -> None:
    replica = capped(world)
    found = served(replica, world, Queue(WIDE), 200)
    assert found.counts.escalated == int(90 * 10**9 / EACH)
    assert found.counts.denied == 200 - found.counts.escalated
    assert replica.cap is not None
    assert replica.cap.level < EACH


def test_what_was_not_granted_is_paid_back(world: World) -> None:
    replica = capped(world)
    assert replica.cap is not None
    before = replica.cap.level
    found = served(replica, world, Queue(WIDE, is_down=True), 50)
    assert (found.counts.escalated, found.counts.failed, found.counts.denied) == (0, 5, 45)
    assert found.counts.mute == 45
    assert replica.cap.level == pytest.approx(before - 50 * STUDENTS)


def test_a_report_has_some_merits_and_what_their_escalation_would_cost(world: World) -> None:
    found = served(Replica(0, Standing(1, 1, 0.5, audit=0.9), Guard(WIDE)), world, Queue(WIDE), 100)
    assert len(found.told.samples) == MOST_SAMPLES
    assert {each.cost_pico for each in found.told.samples} == {EACH}
    assert found.counts.kept == 100
    assert found.counts.audits == 100  # the coins say 0.5
    assert found.counts.spent_pico == 100 * (EACH + STUDENTS)


def test_a_grade_says_how_long_after_its_request_it_came(world: World) -> None:
    replica, queue = Replica(0, Standing(1, 1, KEEP_NOTHING), Guard(WIDE)), Queue(WIDE)
    found = served(replica, world, queue, 20)
    due = 100 + int(queue.latency_seconds)
    replica.report(due, due + 1.0, found.counts, found.told)
    (report,) = replica.tell()
    assert {grade.late for grade in report.grades} == {due - 100.0}
    assert due > 100
