"""Replicas of a cascade in one process, which agree in a real store at the test's own seconds."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from gateway.audits.purse import Purse
from gateway.steering.aim import Aim
from gateway.steering.config import RateConfig, SteeredConfig
from gateway.steering.link import Link
from gateway.steering.orders import Orders
from gateway.steering.steered import Costs, Steered, World
from gateway.stores.objective_store import ObjectiveStore
from routing.steering import Controller, Report, Sample, Standing
from routing.vocabulary import Threshold

RATE = RateConfig(kind="escalation_rate", at_most=0.25)


@dataclass(frozen=True)
class Counter:
    """A controller that counts requests, each report once; the threshold says how many."""

    standing: Standing
    judged: int = 0
    seen: Mapping[str, int] = field(default_factory=dict)

    def advance(self, reports: Sequence[Report], now: float) -> "Counter":
        judged, seen = self.judged, dict(self.seen)
        for report in reports:
            if report.sequence > seen.get(report.replica, 0):
                seen[report.replica] = report.sequence
                judged += report.judged
        if judged == self.judged:
            return replace(self, seen=seen)
        threshold = min(judged / 10_000, 1.0)
        standing = replace(self.standing, revision=self.standing.revision + 1, threshold=threshold)
        return Counter(standing, judged, seen)

    def document(self) -> Mapping[str, object]:
        said = self.standing
        return {
            "judged": self.judged,
            "seen": self.seen,
            "revision": said.revision,
            "threshold": said.threshold,
        }

    def shown(self) -> Mapping[str, object]:
        return {"missing": []}


@dataclass(frozen=True)
class CountingAim(Aim):
    """Has a counter for its controller."""

    def begin(self, revision: int) -> Controller:
        return Counter(replace(self.first, revision=revision + 1))

    def resume(self, document: Any) -> Controller:
        standing = replace(
            self.first, revision=document["revision"], threshold=document["threshold"]
        )
        return Counter(standing, document["judged"], document["seen"])


@dataclass
class Heard:
    """Remembers what happens to standings."""

    taken: list[Standing] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    lost: int = 0
    owners: list[str | None] = field(default_factory=list)
    orders: list[tuple[int, Mapping[str, Any] | None, str | None]] = field(default_factory=list)

    def standing_taken(self, _: str, standing: Standing) -> None:
        self.taken.append(standing)

    def controller_shown(self, *_: object) -> None: ...

    def regression_found(self, *_: object) -> None: ...

    def controller_changed(self, _: str, replica: str | None) -> None:
        self.owners.append(replica)

    def steering_state_refused(self, _: str, why: str) -> None:
        self.refused.append(why)

    def cap_left(self, *_: object) -> None: ...

    def reports_lost(self, _: str, count: int) -> None:
        self.lost += count

    def objective_ordered(
        self, _: str, version: int, objective: Mapping[str, Any] | None, key: str | None
    ) -> None:
        self.orders.append((version, objective, key))


@dataclass
class Replica:
    """One process; ``objective`` is that of its file."""

    name: str
    since: float = 1.0
    objective: SteeredConfig = RATE
    subject: str = "student-1"
    clock: float = 0.0

    def __post_init__(self) -> None:
        orders, dice = Orders(), random.Random(self.name)
        self.orders = orders

        def aim() -> Aim:
            return CountingAim(
                orders.objective or self.objective, self.subject, Threshold(0.5), 0.02, 0.05
            )

        world = World(self.name, self.since, lambda: self.clock, dice.random)
        self.heard = Heard()
        self.steered = Steered(aim, Costs(None), Purse(), world)
        self.link = Link("assistant", self.steered, aim, self.heard, world, orders)
        self.dice = dice
        self.escalated = 0

    async def second(self, store: ObjectiveStore, requests: int = 40) -> None:
        """Serve some requests, then report and follow."""
        self.clock += 1.0
        for _ in range(requests):
            merit = self.dice.random()
            is_escalated = merit < self.steered.standing.threshold
            self.escalated += is_escalated
            self.steered.ended(is_escalated=is_escalated, is_denied=False)
            self.steered.answered(Sample(merit), None)
        await self.link.round(store, self.clock)

    @property
    def standing(self) -> Standing:
        return self.steered.standing

    @property
    def judged(self) -> int:
        """How many requests the controller, wherever it is, has taken up."""
        state = self.link.state
        assert state is not None
        document: dict[str, int] = msgspec.json.decode(state.document)
        return document["judged"]
