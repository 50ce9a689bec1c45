"""Gateways side by side: what a whole reply costs each of them, at each number of open requests.

All are there the whole time, on one and the same processor, and take turns, round after round, so
that what else a machine does falls on all of them alike.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench import scenarios
from bench.driven import Driven, Driver, LoadFailed, NoReply
from bench.load import Job, Target
from bench.processes import GatewayProcess, Progress
from bench.scenarios import ESCALATE, KEEP, Scenario
from bench.stand import Stand, WrongReplies, p99

CONCURRENCIES = (1, 16, 32, 128, 1024)
ROUNDS = 4
ROUND_SECONDS = 1.0
# What is in flight when a round ends was paid for and is not counted: so many answers for each
# request that is open make that, and the connecting, a small part.
ANSWERS_EACH = 8
# A gateway that would need longer for these is left out at that concurrency.
MOST_SECONDS = 40.0
# So many times longer where no reply came at all.
PATIENCE = (1, 4, 16)
CHECKED_LEAST = 20
HALF_AT = 32  # saturation is what the gateway takes with so many requests at once
HALF_ROUNDS = 4
HALF_SECONDS = 2.0
HALF_CONNECTIONS = 128

DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class SidePlan:
    """At which concurrencies to measure, how often, and how long each time."""

    concurrencies: Sequence[int] = CONCURRENCIES
    rounds: int = ROUNDS
    round_seconds: float = ROUND_SECONDS


@dataclass(frozen=True, slots=True)
class Side:
    """One that is measured: by ``process`` where it is a gateway, by ``scenario`` where it is ours.

    ``version`` is empty where it is that of this checkout.
    """

    name: str
    target: Target
    process: GatewayProcess | None = None
    scenario: Scenario | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class SideMeasurement:
    """One side at one concurrency.  Times are the medians of the rounds' own.

    ``cpu_us`` is the mean, ``cpu_us_least`` that of the quietest round; None without a gateway.
    """

    name: str
    concurrency: int
    requests: int
    cpu_us: float | None
    cpu_us_least: float | None
    requests_per_second: float
    latency_ms_median: float
    latency_ms_p99: float
    resident_mib: float | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is not there, and why; ``concurrency`` is None where nothing of it is."""

    name: str
    concurrency: int | None
    why: str


@dataclass(frozen=True, slots=True)
class HalfLoad:
    """Requests that are due ``rate`` times a second, half of what the gateway takes at most.

    Latency counts from when each was due.
    """

    rate: float
    requests: int
    latency_ms_median: float
    latency_ms_p99: float
    direct_ms_median: float
    direct_ms_p99: float


@dataclass(frozen=True, slots=True)
class SideReport:
    """All that was measured side by side.  ``idle_mib`` is memory before the first request."""

    versions: Mapping[str, str]
    idle_mib: Mapping[str, float]
    measurements: list[SideMeasurement]
    left_out: list[LeftOut]
    half: HalfLoad | None

    def not_measured(self) -> Iterator[str]:
        """What is not there and why, a sentence each."""
        places: dict[tuple[str, str], list[int]] = {}
        for each in self.left_out:
            at = places.setdefault((each.name, each.why), [])
            at += [] if each.concurrency is None else [each.concurrency]
        for (name, why), numbers in places.items():
            where = f" at {', '.join(f'{number:,}' for number in numbers)}" if numbers else ""
            yield f"Not measured: {name}{where}, for {why.splitlines()[0]}."

    def at(self, name: str, concurrency: int) -> SideMeasurement | None:
        """One line, None where it was not measured."""
        for each in self.measurements:
            if (each.name, each.concurrency) == (name, concurrency):
                return each
        return None


@dataclass(slots=True)
class _Tally:
    """One side at one concurrency, as far as it has been measured."""

    driven: list[Driven] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def measurement(self, side: Side, concurrency: int) -> SideMeasurement:
        requests = sum(each.requests for each in self.driven)
        seconds = sum(each.seconds for each in self.driven)
        costs = [
            cpu / each.requests for cpu, each in zip(self.cpu_seconds, self.driven, strict=True)
        ]
        is_gateway = side.process is not None
        return SideMeasurement(
            name=side.name,
            concurrency=concurrency,
            requests=requests,
            cpu_us=round(sum(self.cpu_seconds) / requests * 1e6, 1) if is_gateway else None,
            cpu_us_least=round(min(costs) * 1e6, 1) if is_gateway else None,
            requests_per_second=round(requests / seconds, 1),
            latency_ms_median=round(statistics.median(each.median_ms for each in self.driven), 3),
            latency_ms_p99=round(statistics.median(each.p99_ms for each in self.driven), 3),
            resident_mib=None if side.process is None else round(side.process.resident_mib(), 1),
        )


class SideBySide:
    """The measurement of one plan, of sides that are all up, on one stand."""

    def __init__(self, plan: SidePlan, stand: Stand, driver: Driver, peers: Sequence[Side]) -> None:
        self._plan = plan
        self._stand = stand
        self._driver = driver
        port = stand.gateway.port
        self._direct = Side(DIRECT, scenarios.direct_target(stand.upstream_port))
        self._ours = [
            Side(each.name, scenarios.gateway_target(each, port), stand.gateway, each)
            for each in (KEEP, ESCALATE)
        ]
        self._sides = [self._direct, *peers, *self._ours]
        self._sent: dict[str, int] = {}
        self._rates: dict[str, float] = {}
        self._left_out: list[LeftOut] = []
        self._idle = {
            each.name: round(each.process.resident_mib(), 1)
            for each in [*peers, self._ours[0]]
            if each.process is not None
        }

    def report(self, absent: Sequence[LeftOut], progress: Progress) -> SideReport:
        """Measure everything.  Raises WrongReplies."""
        found = []
        for concurrency in self._plan.concurrencies:
            found += self._lines(concurrency, progress)
        order = [side.name for side in self._sides]
        found.sort(key=lambda line: order.index(line.name))
        half = self._half(found, progress)
        for side in self._ours:
            assert side.scenario is not None
            self._stand.check_count_least(side.scenario, self._sent[side.name])
        return SideReport(
            versions={side.name: side.version for side in self._sides if side.version},
            idle_mib=self._idle,
            measurements=found,
            left_out=[*absent, *self._left_out],
            half=half,
        )

    def _lines(self, concurrency: int, progress: Progress) -> list[SideMeasurement]:
        """Each side in turn, round after round; those that are slow have one round and no more."""
        tallies: dict[str, _Tally] = {}
        seconds: dict[str, float] = {}
        for side in self._sides:
            progress(f"{side.name}, {concurrency} at once: are its replies right")
            if (needed := self._seconds(side, concurrency)) is not None:
                tallies[side.name], seconds[side.name] = _Tally(), needed
        for number in range(self._plan.rounds):
            for side in self._sides:
                if side.name not in tallies:
                    continue
                is_slow = seconds[side.name] > self._plan.round_seconds
                if number and is_slow:
                    continue
                progress(f"{side.name}, {concurrency} at once, {number + 1} of {self._plan.rounds}")
                self._measure(side, concurrency, seconds[side.name], tallies[side.name])
        return [
            tallies[side.name].measurement(side, concurrency)
            for side in self._sides
            if side.name in tallies
        ]

    def _seconds(self, side: Side, concurrency: int) -> float | None:
        """Look at replies, and say how long a round has to be; None where that is too long.

        Raises WrongReplies.
        """
        if side.name not in self._rates:
            self._look(side, 1, CHECKED_LEAST)
        if self._is_too_slow(side, concurrency):
            return None
        self._look(side, concurrency, max(CHECKED_LEAST, 2 * concurrency))
        if self._is_too_slow(side, concurrency):
            return None
        needed = ANSWERS_EACH * concurrency / self._rates[side.name]
        whole = self._plan.rounds * self._plan.round_seconds
        return (
            self._plan.round_seconds if needed <= self._plan.round_seconds else max(whole, needed)
        )

    def _look(self, side: Side, concurrency: int, requests: int) -> None:
        """Read some answers, and note how fast they come.  Raises WrongReplies."""
        outcome = self._stand.load.run(Job(side.target, concurrency, requests))
        if outcome.fault is not None:
            raise WrongReplies(f"{side.name}: {outcome.fault}")
        self._count(side, requests)
        self._rates[side.name] = requests / outcome.seconds

    def _is_too_slow(self, side: Side, concurrency: int) -> bool:
        rate = self._rates[side.name]
        needed = ANSWERS_EACH * concurrency / rate
        if needed <= MOST_SECONDS:
            return False
        why = f"it answers {rate:.0f} requests a second"
        self._left_out.append(LeftOut(side.name, concurrency, why))
        return True

    def _measure(self, side: Side, concurrency: int, seconds: float, tally: _Tally) -> None:
        """Requests and processor time over the same span.  Raises WrongReplies."""
        for patience in PATIENCE:
            before = _cpu_seconds(side)
            try:
                driven = self._driver.drive(side.target, concurrency, seconds * patience)
                break
            except NoReply:
                continue
            except LoadFailed as error:
                raise WrongReplies(f"{side.name}, {concurrency} at once: {error}") from None
        else:
            raise WrongReplies(f"{side.name}, {concurrency} at once: no reply came")
        after = _cpu_seconds(side)
        tally.driven.append(driven)
        tally.cpu_seconds.append(after - before)
        self._rates[side.name] = driven.requests / driven.seconds
        self._count(side, driven.requests)

    def _count(self, side: Side, requests: int) -> None:
        self._sent[side.name] = self._sent.get(side.name, 0) + requests

    def _half(self, found: Sequence[SideMeasurement], progress: Progress) -> HalfLoad | None:
        """Half of what the gateway takes, evenly spaced; the upstream alone in turns with it."""
        kept = self._ours[0]
        lines = [line for line in found if (line.name, line.concurrency) == (kept.name, HALF_AT)]
        if not lines:
            return None
        with self._others_at_rest():
            return self._half_of(lines[0].requests_per_second, progress)

    @contextmanager
    def _others_at_rest(self) -> Iterator[None]:
        """Have nobody else compute on our processor: a reply in a hundred would wait for that."""
        others = [side.process for side in self._sides if side.process is not None]
        others = [each for each in others if each is not self._stand.gateway]
        for each in others:
            each.pause()
        try:
            yield
        finally:
            for each in others:
                each.go_on()

    def _half_of(self, saturation: float, progress: Progress) -> HalfLoad:
        kept, rate = self._ours[0], saturation / 2
        requests = max(CHECKED_LEAST, round(rate * HALF_SECONDS * self._plan.round_seconds))
        times: dict[str, list[float]] = {DIRECT: [], kept.name: []}
        for number in range(HALF_ROUNDS):
            for side in (self._direct, kept):
                progress(
                    f"{side.name}, {rate:.0f} requests a second, {number + 1} of {HALF_ROUNDS}"
                )
                job = Job(side.target, HALF_CONNECTIONS, requests, rate=rate)
                times[side.name] += self._stand.run(job).latencies_ms
                self._count(side, requests)
        ours, direct = times[kept.name], times[DIRECT]
        return HalfLoad(
            rate=round(rate, 1),
            requests=len(ours),
            latency_ms_median=round(statistics.median(ours), 3),
            latency_ms_p99=round(p99(ours), 3),
            direct_ms_median=round(statistics.median(direct), 3),
            direct_ms_p99=round(p99(direct), 3),
        )


def _cpu_seconds(side: Side) -> float:
    return 0.0 if side.process is None else side.process.cpu_seconds()
