"""What is counted and divided, over gateways whose cost is known."""

from dataclasses import dataclass, field
from typing import cast

import pytest

from bench.driven import Driven, LoadFailed, NoReply
from bench.load import Job, Outcome, Target
from bench.processes import GatewayProcess, LoadProcess
from bench.replies import LONG_TOKENS, text_of
from bench.scenarios import KEEP
from bench.side_by_side import Side, SideBySide, SidePlan
from bench.stand import Stand, WrongReplies
from bench.token_costs import TokenCosts, TokenPlan

OURS, RELAY, SLOW = 1, 2, 3
RATES = {OURS: 1000.0, RELAY: 4000.0, SLOW: 10.0, 0: 9000.0}
REQUEST_US, TOKEN_US = {OURS: 400.0, RELAY: 50.0, SLOW: 9e4}, {OURS: 45.0, RELAY: 15.0}


@dataclass
class World:
    """All processes at once: what each port has spent, and what was asked of it."""

    spent: dict[int, float] = field(default_factory=dict)
    asked: list[tuple[int, int, float]] = field(default_factory=list)
    counted: int = 10**9
    fault: str | None = None
    silent: int = 0
    resting: set[int] = field(default_factory=set)
    rested: set[int] = field(default_factory=set)

    def spend(self, port: int, microseconds: float) -> None:
        self.spent[port] = self.spent.get(port, 0.0) + microseconds / 1e6

    def drive(self, target: Target, concurrency: int, seconds: float) -> Driven:
        if self.fault is not None:
            raise LoadFailed(self.fault)
        if self.silent:
            self.silent -= 1
            self.spend(target.port, 1e6)
            raise NoReply("no reply came")
        requests = round(RATES[target.port] * seconds)
        self.asked.append((target.port, concurrency, seconds))
        self.spend(target.port, requests * REQUEST_US.get(target.port, 0.0))
        return Driven(requests, seconds, 1.0, 2.0)

    @property
    def name(self) -> str:
        return "a load that is known"


@dataclass
class Gateway:
    """A gateway of that world."""

    world: World
    port: int

    def cpu_seconds(self) -> float:
        return self.world.spent.get(self.port, 0.0)

    def resident_mib(self) -> float:
        return 10.0 * self.port

    def pause(self) -> None:
        self.world.resting.add(self.port)

    def go_on(self) -> None:
        self.world.resting.remove(self.port)

    def get(self, path: str) -> tuple[int, bytes]:
        kept = f'understudy_requests_total{{cascade="keep",outcome="kept"}} {self.world.counted}'
        escalated = kept.replace("keep", "escalate").replace("kept", "escalated")
        return 200, f"{kept}\n{escalated}\n".encode()


@dataclass
class Load:
    """A load generator of that world: streams cost by their tokens, other replies nothing."""

    world: World

    def run(self, job: Job) -> Outcome:
        port = job.target.port
        if job.rate is not None:
            self.world.rested |= self.world.resting
        if '"stream":true' in job.target.body:
            tokens = LONG_TOKENS if job.target.text == text_of("student", LONG_TOKENS) else 64
            self.world.spend(port, job.requests * (REQUEST_US[port] + tokens * TOKEN_US[port]))
        return Outcome(job.requests / (job.rate or RATES[port]), [1.0] * job.requests)


def gateway(world: World, port: int) -> GatewayProcess:
    return cast("GatewayProcess", Gateway(world, port))


def stand(world: World) -> Stand:
    return Stand(gateway(world, OURS), cast("LoadProcess", Load(world)), 0)


def side(world: World, name: str, port: int) -> Side:
    return Side(name, Target(port, "/", "key", "{}", ""), gateway(world, port))


def test_one_more_token_costs_what_is_left_of_long_streams_without_short_ones() -> None:
    world = World()
    costs = TokenCosts(TokenPlan(rounds=2), stand(world), gateway(world, RELAY))
    found = {each.path: each.cpu_us for each in costs.report(lambda _: None).costs}
    assert found == {"relay": 15.0, "held back": 45.0, "released": 45.0}


def test_replies_are_divided_by_what_the_same_rounds_cost() -> None:
    world = World()
    peers = [side(world, "relay", RELAY), side(world, "slow", SLOW)]
    plan = SidePlan(concurrencies=(1, 32, 128), rounds=3)
    report = SideBySide(plan, stand(world), world, peers).report([], lambda _: None)
    kept, relay = report.at(KEEP.name, 32), report.at("relay", 32)
    assert kept is not None
    assert relay is not None
    assert (kept.cpu_us, kept.requests, kept.requests_per_second) == (400.0, 3000, 1000.0)
    assert (relay.cpu_us, relay.cpu_us_least, relay.resident_mib) == (50.0, 50.0, 20.0)
    assert world.rested == {RELAY, SLOW}
    assert not world.resting
    assert report.idle_mib == {"relay": 20.0, "slow": 30.0, KEEP.name: 10.0}
    assert report.half is not None
    assert report.half.rate == 500.0


def test_rounds_last_until_there_are_eight_answers_for_each_open_request() -> None:
    world = World()
    plan = SidePlan(concurrencies=(1, 32, 128), rounds=3)
    SideBySide(plan, stand(world), world, [side(world, "slow", SLOW)]).report([], lambda _: None)
    ours = [each for each in world.asked if each[0] == OURS and each[1] == 128]
    assert ours == [(OURS, 128, 3.0)] * 2  # kept and escalated: 1,024 answers take over a second
    slow = [each for each in world.asked if each[0] == SLOW]
    assert slow == [(SLOW, 1, 1.0)] * 3 + [(SLOW, 32, pytest.approx(25.6))]


def test_a_round_without_any_reply_is_done_again_for_longer() -> None:
    world = World()
    sides = SideBySide(SidePlan((1,), rounds=1), stand(world), world, [])
    world.silent = 2
    report = sides.report([], lambda _: None)
    assert world.asked[0] == (0, 1, 16.0)
    direct, kept = report.at("direct", 1), report.at(KEEP.name, 1)
    assert direct is not None
    assert kept is not None
    assert direct.requests == 9000 * 16
    assert kept.cpu_us == 400.0


def test_what_would_take_too_long_is_left_out() -> None:
    world = World()
    plan = SidePlan(concurrencies=(1, 128), rounds=1)
    sides = SideBySide(plan, stand(world), world, [side(world, "slow", SLOW)])
    (left_out,) = sides.report([], lambda _: None).left_out
    assert (left_out.name, left_out.concurrency) == ("slow", 128)
    assert left_out.why == "it answers 10 requests a second"


@pytest.mark.parametrize(
    ("world", "complaint"),
    [
        (World(counted=50), "counts 50 requests as kept, answered: "),
        (World(silent=3), "direct, 1 at once: no reply came"),
        (World(fault="wrk: broken connections: 2"), "direct, 1 at once: wrk: broken connections"),
    ],
)
def test_replies_that_are_none_are_no_measurement(world: World, complaint: str) -> None:
    sides = SideBySide(SidePlan((1,), rounds=1), stand(world), world, [])
    with pytest.raises(WrongReplies, match=complaint):
        sides.report([], lambda _: None)
