"""What one more token of a stream costs: the gateway while it holds back and after it, and a relay.

Long streams less short ones, over the difference in tokens: what a request costs whatever its
length is out of it.  Each token comes from the upstream in a segment of its own.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench import scenarios
from bench.load import Job, Target
from bench.processes import GatewayProcess, Progress
from bench.replies import LONG_TOKENS, TOKENS
from bench.scenarios import HOLD_TOKENS, Scenario
from bench.stand import Stand

ROUNDS = 5
CONCURRENCY = 32
# 32 streams of a model of 250 tokens a second keep a gateway busy and leave it some air: tokens
# that wait for each other are read together, and cost less.
PAUSE_MS = 4
# Of each connection, in a round: about two seconds each.
LONG_STREAMS, SHORT_STREAMS = 1, 8

RELAY, HELD, RELEASED = "relay", "held back", "released"


@dataclass(frozen=True, slots=True)
class TokenPlan:
    """What to measure: ``concurrency`` streams at once, ``pause_ms`` of the model a token."""

    rounds: int = ROUNDS
    concurrency: int = CONCURRENCY
    pause_ms: int = PAUSE_MS

    @property
    def held(self) -> tuple[Scenario, Scenario]:
        """Short and long streams of which all is held back."""
        return self._pair("held", LONG_TOKENS)

    @property
    def released(self) -> tuple[Scenario, Scenario]:
        """Short and long streams that are released after the usual window."""
        return self._pair("released", HOLD_TOKENS)

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """The cascades that the gateway needs."""
        return (*self.held, *self.released)

    def _pair(self, name: str, hold: int) -> tuple[Scenario, Scenario]:
        short = scenarios.stream_of(f"{name}-short", TOKENS, hold, self.pause_ms)
        return short, scenarios.stream_of(f"{name}-long", LONG_TOKENS, hold, self.pause_ms)


@dataclass(frozen=True, slots=True)
class TokenCost:
    """Processor time of one more token on a path, the mean and the quietest round.

    ``busy`` is the share of a processor that the long streams took: near 1 the tokens waited.
    """

    path: str
    cpu_us: float
    cpu_us_least: float
    busy: float


@dataclass(frozen=True, slots=True)
class TokenReport:
    """The costs of all paths, and how they were measured."""

    concurrency: int
    pause_ms: int
    short_tokens: int
    long_tokens: int
    costs: list[TokenCost]


@dataclass(frozen=True, slots=True)
class _Path:
    """One path's short and long streams, and the process that they go through."""

    name: str
    process: GatewayProcess
    short: Target
    long: Target


@dataclass(slots=True)
class _Tally:
    """One path, as far as it has been measured; seconds of the processor for one more token."""

    costs: list[float] = field(default_factory=list)
    busy: float = 0.0


@dataclass(frozen=True, slots=True)
class TokenCosts:
    """The measurement of one plan on one stand, beside a relay."""

    plan: TokenPlan
    stand: Stand
    relay: GatewayProcess

    def report(self, progress: Progress) -> TokenReport:
        """Measure everything, each path in turn.  Raises WrongReplies."""
        paths = list(self._paths())
        tallies = {path.name: _Tally() for path in paths}
        for path in paths:
            progress(f"tokens, {path.name}")
            self._spent(path.process, path.short, 1)
            self._spent(path.process, path.long, 1)
        for number in range(self.plan.rounds):
            for path in paths:
                progress(f"tokens, {path.name}, {number + 1} of {self.plan.rounds}")
                self._measure(path, tallies[path.name])
        return TokenReport(
            self.plan.concurrency,
            self.plan.pause_ms,
            TOKENS,
            LONG_TOKENS,
            [_cost(name, tally) for name, tally in tallies.items()],
        )

    def _paths(self) -> Iterator[_Path]:
        gateway, port = self.stand.gateway, self.stand.gateway.port
        short, long = (
            scenarios.relayed_target(each, self.relay.port) for each in self.plan.released
        )
        yield _Path(RELAY, self.relay, short, long)
        for name, pair in ((HELD, self.plan.held), (RELEASED, self.plan.released)):
            short, long = (scenarios.gateway_target(each, port, is_stream=True) for each in pair)
            yield _Path(name, gateway, short, long)

    def _measure(self, path: _Path, tally: _Tally) -> None:
        short, _ = self._spent(path.process, path.short, SHORT_STREAMS)
        long, seconds = self._spent(path.process, path.long, LONG_STREAMS)
        streams = self.plan.concurrency
        each = long / (LONG_STREAMS * streams) - short / (SHORT_STREAMS * streams)
        tally.costs.append(each / (LONG_TOKENS - TOKENS))
        tally.busy = max(tally.busy, long / seconds)

    def _spent(
        self, process: GatewayProcess, target: Target, streams_each: int
    ) -> tuple[float, float]:
        """Processor time of so many streams on every connection, and what the clock says."""
        job = Job(
            target,
            self.plan.concurrency,
            streams_each * self.plan.concurrency,
            ramp_seconds=self.plan.pause_ms / 1e3,
        )
        before = process.cpu_seconds()
        outcome = self.stand.run(job)
        return process.cpu_seconds() - before, outcome.seconds


def _cost(name: str, tally: _Tally) -> TokenCost:
    mean = math.fsum(tally.costs) / len(tally.costs)
    least = min(tally.costs)
    return TokenCost(name, round(mean * 1e6, 1), round(least * 1e6, 1), round(tally.busy, 2))
