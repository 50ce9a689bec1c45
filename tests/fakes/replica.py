"""A gateway as the registry sees it: it takes states up from a real Redis and counts what it does.

No request is answered here.  Time is the test's, and so is what a candidate is worth.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import redis

from gateway.stores.redis_keys import generations_key, replicas_key
from routing.rollout import Arm, Generations, Stage
from routing.rollout_file import generations_from_document
from routing.tally import ArmTally, Heartbeat, Tallies, heartbeat_document
from understudy.distill.settling import World


@dataclass(frozen=True)
class Rates:
    """The shares of a student's requests that fail, are deferred, differ from the teacher's."""

    failed: float = 0.0
    deferred: float = 0.2
    different: float = 0.01


@dataclass
class FakeReplica:
    """One replica; ``beat`` is a second of its life."""

    client: redis.Redis
    name: str = "replica-1"
    cascade: str = "assistant"
    requests_a_second: int = 200
    incumbent: Rates = field(default_factory=Rates)
    candidate: Rates = field(default_factory=Rates)
    refuses: str | None = None
    is_dead: bool = False
    state: Generations | None = None
    open: dict[str, int] = field(default_factory=dict)
    tallies: Tallies = field(default_factory=Tallies.empty)
    rollout: str | None = None
    served: list[tuple[float, Arm]] = field(default_factory=list)
    dice: random.Random = field(default_factory=lambda: random.Random(3))

    def beat(self, now: float) -> None:
        """Look at the state, have requests by it, say so."""
        if self.is_dead:
            return
        found = self.client.get(generations_key(self.cascade))
        refused = None
        if found is not None:
            state = generations_from_document(json.loads(found))
            if self.refuses is not None and state.rollout is not None:
                refused = self.refuses
            else:
                self.state = state
        rollout = None if self.state is None else self.state.rollout
        if rollout is not None and rollout.id != self.rollout:
            self.rollout, self.tallies = rollout.id, Tallies.empty()
        for number in range(self.requests_a_second):
            self._request(f"{now}-{number}", now)
        heartbeat = Heartbeat(
            at=now,
            revision=0 if self.state is None else self.state.revision,
            open=dict(self.open),
            refused=refused,
            rollout=self.rollout,
            tallies=self.tallies,
        )
        document = json.dumps(heartbeat_document(heartbeat))
        self.client.hset(replicas_key(self.cascade), self.name, document)

    def _request(self, session: str, now: float) -> None:
        rollout = None if self.state is None else self.state.rollout
        if rollout is None or not rollout.is_running(now):
            self.served.append((now, Arm.INCUMBENT))
            return
        if rollout.stage is Stage.SHADOW:
            self.served.append((now, Arm.INCUMBENT))
            if self.dice.random() < rollout.shadow_share(now):
                self._shadow()
            return
        arm = rollout.arm_of(session, now)
        self.served.append((now, arm))
        if arm is Arm.CANDIDATE:
            self._served(self.tallies.candidate, self.candidate, rollout.holdout)
        else:
            self._served(self.tallies.incumbent, self.incumbent, rollout.holdout)

    def _served(self, tally: ArmTally, rates: Rates, holdout: float) -> None:
        if self.dice.random() < rates.failed:
            tally.failed += 1
            return
        tally.drafts += 1
        if self.dice.random() < rates.deferred:
            tally.deferred += 1
        elif self.dice.random() < holdout:
            tally.held_out += 1
            tally.different += self.dice.random() < rates.different

    def _shadow(self) -> None:
        shadow = self.tallies.shadow
        if self.dice.random() < self.candidate.failed:
            shadow.failed += 1
            return
        shadow.drafts += 1
        is_kept = self.dice.random() >= self.candidate.deferred
        is_incumbents = self.dice.random() >= self.incumbent.deferred
        shadow.kept += is_kept
        shadow.incumbent_kept += is_incumbents
        if is_kept and is_incumbents:
            shadow.both_kept += 1
            shadow.both_compared += 1
        elif is_kept:
            shadow.compared += 1
            shadow.different += self.dice.random() < self.candidate.different


@dataclass
class Hours:
    """The test's time: whoever waits has every replica live through it, second by second."""

    replicas: Sequence[FakeReplica]
    now: float = 1_800_000_000.0
    acts: dict[int, Callable[[], None]] = field(default_factory=dict)
    seconds: int = 0
    is_asked_to_stop: bool = False

    def wait(self, seconds: float) -> bool:
        for _ in range(max(1, round(seconds))):
            self.now += 1.0
            self.seconds += 1
            if act := self.acts.get(self.seconds):
                act()
            for replica in self.replicas:
                replica.beat(self.now)
        asked, self.is_asked_to_stop = self.is_asked_to_stop, False
        return asked

    @property
    def world(self) -> World:
        return World(lambda: self.now, self.wait)
