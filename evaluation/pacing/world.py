"""Replicas that serve, a store that may be away, whoever has the lease: second by second."""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluation.pacing.traffic import Arrival, Floats, Population, arrivals, usual
from routing.cap import CapBucket
from routing.money import PICO_PER_USD
from routing.steering import Controller, Report, Sample, Standing

# Seconds since 1970 at which it begins: any will do.
BEGINNING = 1_800_000_000
# What a controller decides is followed so many seconds later.
FOLLOWED_AFTER = 2
# Another replica goes on where the one that had the lease is gone, after so long.
LEASE_SECONDS = 10
MOST_WAITING = 600
MOST_SAMPLES = 16


@dataclass(frozen=True, slots=True)
class Faults:
    """When the store is away, from and until; when a replica alone does not reach it; and in which
    second replicas are killed or begin."""

    away: tuple[tuple[int, int], ...] = ()
    cut: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    killed: Mapping[str, int] = field(default_factory=dict)
    begun: Mapping[str, int] = field(default_factory=dict)

    def is_away(self, second: int) -> bool:
        """Whether nobody reaches the store."""
        return any(begins <= second < ends for begins, ends in self.away)

    def is_cut(self, name: str, second: int) -> bool:
        """Whether this replica does not."""
        begins, ends = self.cut.get(name, (0, 0))
        return begins <= second < ends or self.is_away(second)


@dataclass(frozen=True, slots=True)
class Setup:
    """What is simulated: traffic, requests, replicas, faults; how a controller is read again."""

    rates: Floats
    population: Population
    read: Callable[[object], Controller]
    replicas: tuple[str, ...] = ("a", "b", "c")
    faults: Faults = Faults()


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What happened in each second: all arrays have shape (seconds,).

    ``usd`` is all that was spent, ``deferred`` counts drafts below their threshold, ``possible`` is
    what the cascade would have spent, had nothing been kept.  ``gain`` sums ``1 - merit`` over
    escalations.  ``threshold`` is the one that was decided on then, and ``share`` the part of the
    drafts that is below it.
    """

    requests: Floats
    escalated: Floats
    deferred: Floats
    denied: Floats
    usd: Floats
    possible: Floats
    gain: Floats
    threshold: Floats
    share: Floats
    controller: Controller


@dataclass(slots=True)
class _Second:
    """The counts of one replica's next report."""

    judged: int = 0
    forced: int = 0
    escalated: int = 0
    denied: int = 0
    spent: int = 0
    escalations: int = 0
    samples: list[Sample] = field(default_factory=list)


class _Replica:
    """Follows the standing, serves, and tells what it served."""

    def __init__(self, name: str, standing: Standing) -> None:
        self.name = name
        self.standing = standing
        self.bucket = CapBucket(standing.cap_pico or 0)
        self.counts = _Second()
        self.sequence = 0
        self.waiting: deque[Report] = deque(maxlen=MOST_WAITING)

    def follow(self, standing: Standing, now: float) -> None:
        self.standing = standing
        if standing.cap_pico is not None:
            self.bucket.agree(standing.cap_pico, standing.shares.get(self.name), now)

    def is_deferred(self, arrival: Arrival) -> bool:
        return arrival.merit < self.standing.least_merit(arrival.expected_pico)

    def may_escalate(self, arrival: Arrival, now: float) -> bool:
        if self.standing.cap_pico is None:
            return True
        return self.bucket.may_spend(_estimate(arrival, self.standing), now)

    def settle(self, arrival: Arrival, *, is_escalated: bool, spent: int, now: float) -> None:
        """Count a request when it is over."""
        counts = self.counts
        if arrival.is_forced:
            counts.forced += 1
        else:
            counts.judged += 1
            counts.samples.append(Sample(arrival.merit, arrival.expected_pico))
        counts.spent += spent
        if is_escalated:
            counts.escalated += 1
            counts.spent += arrival.actual_pico
            counts.escalations += arrival.actual_pico
        if self.standing.cap_pico is not None:
            self.bucket.spent(spent, 0, now)
            if is_escalated:
                self.bucket.spent(arrival.actual_pico, _estimate(arrival, self.standing), now)

    def report(self, now: float) -> None:
        self.sequence += 1
        counts, self.counts = self.counts, _Second()
        self.waiting.append(
            Report(
                self.name,
                self.sequence,
                now,
                1.0,
                judged=counts.judged,
                forced=counts.forced,
                escalated=counts.escalated,
                denied=counts.denied,
                spent_pico=counts.spent,
                escalated_pico=counts.escalations,
                samples=counts.samples[:: 1 + len(counts.samples) // MOST_SAMPLES],
            )
        )


def _estimate(arrival: Arrival, standing: Standing) -> int:
    if arrival.expected_pico is not None:
        return arrival.expected_pico
    return int(PICO_PER_USD / standing.per_usd) if standing.per_usd else 0


class _World:
    def __init__(self, setup: Setup, controller: Controller) -> None:
        self.setup = setup
        self.controller = controller
        self.published = deque([controller.standing] * FOLLOWED_AFTER, maxlen=FOLLOWED_AFTER)
        self.replicas = {
            name: _Replica(name, controller.standing)
            for name in setup.replicas
            if name not in setup.faults.begun
        }
        self.stream: list[Report] = []
        self.leader = setup.replicas[0]
        self.leaderless_until = 0
        self.student_pico = int(setup.population.student_usd * PICO_PER_USD)
        self.usual = usual(setup.population)
        self.revision, self.share = -1, 0.0
        # By second: the escalations that end then, and the replicas that asked.
        self.under_way: dict[int, list[tuple[_Replica, Arrival]]] = {}
        self.sums: dict[str, Floats] = {
            name: np.zeros(len(setup.rates))
            for name in (
                "requests", "escalated", "deferred", "denied", "usd", "possible", "gain",
                "threshold", "share",
            )
        }  # fmt: skip

    def second(self, at: int, asked: Sequence[Arrival]) -> None:
        faults, now = self.setup.faults, float(BEGINNING + at)
        for name, begins in faults.begun.items():
            if begins == at:
                self.replicas[name] = _Replica(name, self.controller.standing)
        for name, killed in faults.killed.items():
            if killed == at:
                del self.replicas[name]
                if name == self.leader:
                    self.leaderless_until = at + LEASE_SECONDS
                    self.leader = next(iter(self.replicas))
                    self.controller = self.setup.read(
                        json.loads(json.dumps(self.controller.document(), allow_nan=False))
                    )
        is_away = faults.is_away(at)
        for name, replica in self.replicas.items():
            if not faults.is_cut(name, at):
                replica.follow(self.published[0], now)
        self._serve(at, asked, now)
        for name, replica in self.replicas.items():
            replica.report(now + 1.0)
            if not faults.is_cut(name, at):
                self.stream.extend(replica.waiting)
                replica.waiting.clear()
        if not is_away and at >= self.leaderless_until:
            self.controller = self.controller.advance(self.stream, now + 1.0)
            self.stream = []
        if not is_away:
            self.published.append(self.controller.standing)
        self._noted(at)

    def _noted(self, at: int) -> None:
        standing = self.controller.standing
        if standing.revision != self.revision:
            merits, costs = self.usual
            least = np.full(len(merits), standing.threshold)
            if standing.per_usd is not None:
                gain = (1.0 - standing.threshold) * standing.per_usd
                least = np.maximum(0.0, 1.0 - gain * costs)
            self.revision, self.share = standing.revision, float((merits < least).mean())
        self.sums["threshold"][at], self.sums["share"][at] = standing.threshold, self.share

    def _serve(self, at: int, asked: Sequence[Arrival], now: float) -> None:
        replicas, sums, student = list(self.replicas.values()), self.sums, self.student_pico
        spent = possible = 0
        for arrival in asked:
            replica = replicas[int(arrival.place * len(replicas))]
            draft = 0 if arrival.is_forced else student
            spent += draft
            possible += draft + arrival.actual_pico
            is_deferred = arrival.is_forced or replica.is_deferred(arrival)
            sums["deferred"][at] += is_deferred
            if is_deferred and replica.may_escalate(arrival, now):
                self.under_way.setdefault(at + arrival.seconds, []).append((replica, arrival))
                sums["gain"][at] += 1.0 - arrival.merit
                continue
            if is_deferred:
                replica.counts.denied += 1
                sums["denied"][at] += 1
            replica.settle(arrival, is_escalated=False, spent=draft, now=now)
        for replica, arrival in self.under_way.pop(at, []):
            draft = 0 if arrival.is_forced else student
            replica.settle(arrival, is_escalated=True, spent=draft, now=now)
            spent += arrival.actual_pico
            sums["escalated"][at] += 1
        sums["requests"][at] = len(asked)
        sums["usd"][at] = spent / PICO_PER_USD
        sums["possible"][at] = possible / PICO_PER_USD


def run(setup: Setup, controller: Controller, seed: int) -> Run:
    """Let it run.  What a killed replica had under way is spent, and nobody tells of it."""
    world = _World(setup, controller)
    generator = np.random.default_rng(seed)
    for at, asked in enumerate(arrivals(setup.rates, setup.population, generator)):
        world.second(at, asked)
    return Run(controller=world.controller, **world.sums)
