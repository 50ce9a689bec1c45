"""Plays a scenario, second by second: requests, reports, the controller, what then stands.

The order within a second is that of the gateways: replicas take over what the store has, serve,
and tell what they counted; whoever holds the lease reads what was told in the second before, and
writes what is to stand in the next.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.scenarios import scenario as told
from evaluation.scenarios.controllers import Steering, steering_of
from evaluation.scenarios.guard import Guard
from evaluation.scenarios.population import Population
from evaluation.scenarios.replica import Counts, Replica
from evaluation.scenarios.serving import Arrived, serve
from evaluation.scenarios.talks import Talks
from evaluation.scenarios.teacher import Queue
from evaluation.scenarios.timeline import COUNTED, Alarm, Timeline
from evaluation.scenarios.traffic import rates
from evaluation.scenarios.world import Truth, World
from routing.steering import KEEP_NOTHING, Report, Standing

STARTED_AT = 1_767_225_600.0  # a midnight, in seconds since 1970
LEASE_SECONDS = 10
_DRAWN_AT_ONCE = 256  # seconds of traffic
_MOST_LINES = 2_000


def play(
    scenario: told.Scenario, population: Population, seed: int, steering: Steering | None = None
) -> Timeline:
    """One run.  The same seed gives the same run.

    ``steering`` is the objective's own unless another is given.  Raises EvaluationError where an
    event speaks of what there is not.
    """
    world, generator = World(population), np.random.default_rng(seed)
    if steering is None:
        steering = steering_of(scenario, world, generator)
    run = _Run(scenario, world, generator, steering)
    for second, arrivals in enumerate(run.arrivals()):
        run.pass_second(second, arrivals)
    run.timeline.shown = run.steering.controller.shown()
    run.timeline.lines.append((run.timeline.seconds, run.steering.standing.line))
    return run.timeline


@dataclass(slots=True, eq=False)
class _Run:
    scenario: told.Scenario
    world: World
    generator: np.random.Generator
    steering: Steering
    timeline: Timeline = field(init=False)
    queue: Queue = field(init=False)
    replicas: list[Replica] = field(init=False)
    talks: Talks = field(init=False)
    stream: list[Report] = field(default_factory=list)
    holder: int = 0
    unheld_since: int | None = None
    store_back: int = 0
    ends: dict[int, list[told.Event]] = field(default_factory=dict)
    begins: dict[int, list[told.Event]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.timeline = Timeline(self.scenario.traffic.seconds)
        self.queue = Queue(self.scenario.cascade.teacher)
        self.talks = Talks(self.scenario.conversations)
        standing = self.steering.standing
        self.replicas = [
            Replica(place, standing, self._guard())
            for place in range(self.scenario.traffic.replicas)
        ]
        for event in self.scenario.events:
            self.begins.setdefault(event.at, []).append(event)
            lasting = getattr(event, "seconds", None)
            if lasting is not None:
                self.ends.setdefault(event.at + lasting, []).append(event)

    def _guard(self) -> Guard:
        """A promise cannot give way, for less merit was never certified; a fixed one does not."""
        cascade = self.scenario.cascade
        is_easing = isinstance(cascade.objective, told.EscalationRate | told.Spend)
        return Guard(cascade.teacher, is_easing)

    def arrivals(self) -> Iterator[int]:
        """How many requests come in each second."""
        expected = rates(self.scenario.traffic)
        for first in range(0, len(expected), _DRAWN_AT_ONCE):
            part = expected[first : first + _DRAWN_AT_ONCE]
            yield from self.generator.poisson(part).tolist()

    # --- one second

    def pass_second(self, second: int, arrivals: int) -> None:
        for event in self.ends.pop(second, ()):
            self._end(event)
        for event in self.begins.pop(second, ()):
            self._begin(event, second)
        is_store_up = second >= self.store_back
        alive = [replica for replica in self.replicas if replica.is_alive]
        if is_store_up:
            for replica in alive:
                replica.follow(self.steering.standing, float(second))
        for replica in alive:
            replica.guard.look(self.queue, second)
        self._serve(second, arrivals, alive)
        answered = self.queue.pass_second()
        for replica in alive:
            replica.guard.pass_second(answered, second + 1.0)
            if self.queue.is_down:
                replica.guard.lose()
        if is_store_up:
            self._steer(second, alive)
            for replica in alive:
                self.stream.extend(replica.tell())

    def _serve(self, second: int, arrivals: int, alive: list[Replica]) -> None:
        total = Counts()
        latency, waiting = self.queue.latency_seconds, self.queue.waiting
        turns = self.talks.turns(self.world.draw(self.generator, arrivals), self.generator)
        coins = self.generator.random((2, arrivals))
        cuts = self._cuts(arrivals, len(alive))
        for replica, first, last in zip(alive, cuts[:-1], cuts[1:], strict=True):
            part = turns.part(first, last)
            mine = Arrived(part, coins[0, first:last], coins[1, first:last])
            served = serve(replica, mine, self.world, self.queue, second)
            at = STARTED_AT + second + 1.0
            replica.report(second, at, served.counts, served.told)
            self.talks.escalated(served.escalated)
            total.add(served.counts)
        costs = int(self.world.population.teacher_pico[turns.places].sum())
        self._note(second, alive, total, costs)
        self.timeline["latency_seconds"][second] = latency
        self.timeline["waiting"][second] = waiting

    def _cuts(self, arrivals: int, replicas: int) -> list[int]:
        """Where one replica's requests end and the next one's begin."""
        if replicas == 0:
            return [0]
        if replicas == 1:
            return [0, arrivals]
        parts = self.generator.multinomial(arrivals, np.full(replicas, 1.0 / replicas))
        return [0, *np.cumsum(parts).tolist()]

    def _steer(self, second: int, alive: list[Replica]) -> None:
        """Let the lease's holder take up what was told; without one, wait until it may be had."""
        if not alive:
            return
        if not self.replicas[self.holder].is_alive:
            if self.unheld_since is None:
                self.unheld_since = second
            if second - self.unheld_since < LEASE_SECONDS:
                return
            self.holder, self.unheld_since = alive[0].place, None
            self.steering.pass_on()
        before = self.steering.standing
        self.steering.advance(self.stream, STARTED_AT + second + 1.0)
        self.stream = []
        self._note_change(second, before, self.steering.standing)

    # --- what is noted

    def _note(self, second: int, alive: list[Replica], total: Counts, costs: int) -> None:
        timeline = self.timeline
        for name in COUNTED[:-1]:
            timeline[name][second] = getattr(total, name)
        timeline["teacher_alone_pico"][second] = costs
        worst: Truth | None = None
        for easing, standing in {
            (each.guard.easing, id(each.standing)): (each.guard.easing, each.standing)
            for each in alive
        }.values():
            truth = self.world.truth(standing, easing)
            if worst is None or truth.disagreement > worst.disagreement:
                worst = truth
        standing = self.steering.standing
        timeline["disagreement"][second] = worst.disagreement if worst else 0.0
        timeline["unseen"][second] = worst.unseen if worst else 0.0
        timeline["kept_truly"][second] = worst.kept if worst else 0.0
        timeline["threshold"][second] = min(standing.threshold, 1.0)
        timeline["audit"][second] = standing.audit
        timeline["epoch"][second] = standing.epoch
        timeline["revision"][second] = standing.revision
        timeline["pressure"][second] = max((each.guard.pressure for each in alive), default=0.0)
        timeline["limit"][second] = sum(each.guard.max_calls for each in alive)
        objective = self.scenario.cascade.objective
        if isinstance(objective, told.Quality):
            oracle = self.world.oracle(objective.disagreement_at_most)
            timeline["oracle_kept"][second] = oracle.kept
            timeline["oracle_pico"][second] = oracle.pico
        else:
            timeline["oracle_kept"][second] = timeline["oracle_pico"][second] = np.nan

    def _note_change(self, second: int, before: Standing, after: Standing) -> None:
        if after.epoch != before.epoch and self.steering.last_alarm() == STARTED_AT + second + 1.0:
            self.timeline.alarms.append(Alarm(second + 1, after.epoch))
        if after.revision != before.revision and len(self.timeline.lines) < _MOST_LINES:
            self.timeline.lines.append((second + 1, after.line))

    # --- what happens

    def _begin(self, event: told.Event, second: int) -> None:
        match event:
            case told.TopicDrift():
                self.world.drift(event.shares)
            case told.StudentRegression():
                self.world.regress(event.points, self._regressing(event))
                self.timeline.regressions.append(second)
            case told.TeacherSlowdown():
                self.queue.slowness *= event.times
            case told.TeacherOutage():
                self.queue.is_down = True
            case told.ComparatorNoise():
                self.world.err(event.says_differs, event.says_same)
            case told.ReplicaKilled():
                self._replica(event).fall()
            case told.StoreGone():
                self.store_back = max(self.store_back, event.at + event.seconds)

    def _end(self, event: told.Event) -> None:
        match event:
            case told.TeacherSlowdown():
                self.queue.slowness /= event.times
            case told.TeacherOutage():
                self.queue.is_down = False
            case told.ReplicaKilled():
                self._replica(event).rise(self.steering.standing)
            case _:
                pass

    def _replica(self, event: told.ReplicaKilled) -> Replica:
        if event.replica >= len(self.replicas):
            raise EvaluationError(
                f"events: replica {event.replica} is killed, and there are {len(self.replicas)}, "
                "counted from 0"
            )
        return self.replicas[event.replica]

    def _regressing(
        self, event: told.StudentRegression
    ) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Which requests' drafts get worse: those that stand above what is kept, or all."""
        merit = self.world.population.merit
        if not event.among_kept:
            return np.ones(len(merit), dtype=np.bool_)
        threshold = self.steering.standing.threshold
        objective = self.scenario.cascade.objective
        if threshold == KEEP_NOTHING and isinstance(objective, told.Quality):
            kept = self.world.oracle(objective.disagreement_at_most).kept
            return np.asarray(np.cumsum(self.world.mass) <= kept)
        return np.asarray(merit >= threshold)
