"""Streams: when the first token comes, what a token costs, and what an open stream weighs.

Each path is measured in turn, round after round, so that what else a machine does falls on all of
them alike.
"""

import math
import statistics
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from bench import scenarios
from bench.load import Job, Outcome, Target
from bench.processes import Progress
from bench.replies import TOKENS
from bench.scenarios import Scenario
from bench.stand import Stand, WrongReplies, p99

ROUNDS = 5
WARM_UP_LEAST = 4
STREAMS_OF_EACH_CONNECTION = 3  # in a round, at least
# So slow that all are open for some time, at a rate of tokens that leaves the gateway some air.
OPEN_PAUSE_MS_EACH = 0.2
OPEN_PAUSE_MS_LEAST = 10
RAMP_SHARE = 0.3  # They begin within this share of the time that one takes.
SAMPLE_SECONDS = 0.2

DIRECT, KEPT, DEFERRED = "direct", "kept", "deferred"
KEPT_BUFFERED, DEFERRED_BUFFERED = "kept, buffered", "deferred, buffered"


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What to measure: at least ``streams`` a line, ``pause_ms`` of the models for each token.

    ``open_streams`` are open at once while memory is read; 0 leaves that out.
    """

    concurrencies: Sequence[int]
    streams: int
    pause_ms: int
    open_streams: int

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """The cascades that the gateway needs."""
        return (
            scenarios.stream_kept(self.pause_ms),
            scenarios.stream_deferred(self.pause_ms),
            scenarios.stream_open(self.open_pause_ms),
        )

    @property
    def open_pause_ms(self) -> int:
        """The models' time for a token while many streams are open."""
        return max(OPEN_PAUSE_MS_LEAST, round(OPEN_PAUSE_MS_EACH * self.open_streams))


@dataclass(frozen=True, slots=True)
class StreamMeasurement:
    """One path at one concurrency; times run from the request's last byte.

    ``gateway_cpu_us_per_token`` is all that a request costs over the tokens of its answer, the mean
    and the quietest round; None where there is no gateway.
    """

    path: str
    concurrency: int
    streams: int
    first_token_ms_median: float
    first_token_ms_p99: float
    whole_ms_median: float
    gateway_cpu_us_per_token: float | None
    gateway_cpu_us_least: float | None


@dataclass(frozen=True, slots=True)
class OpenStreams:
    """What the gateway's memory grew by while so many streams were open at once."""

    streams: int
    resident_mib_before: float
    resident_mib_open: float
    kib_each: float


@dataclass(frozen=True, slots=True)
class StreamReport:
    """The streams' part of a report."""

    tokens: int
    pause_ms: int
    measurements: list[StreamMeasurement]
    open_streams: OpenStreams | None


@dataclass(frozen=True, slots=True)
class _Path:
    """What is asked, by which name; ``scenario`` is None where it is not the gateway."""

    name: str
    target: Target
    scenario: Scenario | None


@dataclass(slots=True)
class _Tally:
    """One path at one concurrency, as far as it has been measured."""

    first_token_ms: list[float] = field(default_factory=list)
    whole_ms: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    least: float = math.inf

    def add(self, outcome: Outcome, cpu_seconds: float) -> None:
        self.first_token_ms += outcome.first_token_ms
        self.whole_ms += outcome.latencies_ms
        self.cpu_seconds += cpu_seconds
        self.least = min(self.least, cpu_seconds / len(outcome.latencies_ms))


class Streams:
    """The measurement of one plan on one stand."""

    def __init__(self, plan: StreamPlan, stand: Stand) -> None:
        self._plan = plan
        self._stand = stand
        self._sent: dict[Scenario, int] = dict.fromkeys(plan.scenarios, 0)

    def report(self, progress: Progress) -> StreamReport:
        """Measure everything.  Raises WrongReplies."""
        lines = []
        for concurrency in self._plan.concurrencies:
            lines += self._lines(concurrency, progress)
        weighed = None
        if self._plan.open_streams:
            progress(f"{self._plan.open_streams} open streams")
            weighed = self._weigh(self._plan.open_streams)
        for scenario, sent in self._sent.items():
            self._stand.check_count(scenario, sent)
        return StreamReport(TOKENS, self._plan.pause_ms, lines, weighed)

    def _lines(self, concurrency: int, progress: Progress) -> list[StreamMeasurement]:
        paths = self._paths()
        tallies = {path.name: _Tally() for path in paths}
        streams = -(-self._plan.streams // ROUNDS)
        if concurrency > 1:
            streams = max(streams, STREAMS_OF_EACH_CONNECTION * concurrency)
        for path in paths:
            progress(f"{path.name}, {concurrency} at once")
            self._run(path, concurrency, max(WARM_UP_LEAST, concurrency))
        for number in range(ROUNDS):
            for path in paths:
                progress(f"{path.name}, {concurrency} at once, {number + 1} of {ROUNDS}")
                tallies[path.name].add(*self._run(path, concurrency, streams))
        return [_line(path, concurrency, tallies[path.name]) for path in paths]

    def _paths(self) -> list[_Path]:
        kept, deferred, _ = self._plan.scenarios
        port = self._stand.gateway.port
        stream = {
            each: scenarios.gateway_target(each, port, is_stream=True) for each in (kept, deferred)
        }
        whole = {each: scenarios.gateway_target(each, port) for each in (kept, deferred)}
        direct = scenarios.direct_target(
            self._stand.upstream_port, self._plan.pause_ms, is_stream=True
        )
        return [
            _Path(DIRECT, direct, None),
            _Path(KEPT, stream[kept], kept),
            _Path(KEPT_BUFFERED, whole[kept], kept),
            _Path(DEFERRED, stream[deferred], deferred),
            _Path(DEFERRED_BUFFERED, whole[deferred], deferred),
        ]

    def _run(self, path: _Path, concurrency: int, streams: int) -> tuple[Outcome, float]:
        """Do so many, begun at different times: models that speak in time would meet in bursts."""
        if path.scenario is not None:
            self._sent[path.scenario] += streams
        ramp_seconds = TOKENS * self._plan.pause_ms / 1e3 if concurrency > 1 else 0.0
        return self._stand.run_watched(Job(path.target, concurrency, streams, ramp_seconds))

    def _weigh(self, streams: int) -> OpenStreams:
        """Open them all and read the memory until the first of them ends."""
        scenario = self._plan.scenarios[2]
        gateway = self._stand.gateway
        target = scenarios.gateway_target(scenario, gateway.port, is_stream=True)
        ramp_seconds = RAMP_SHARE * TOKENS * scenario.pause_ms / 1e3
        self._sent[scenario] += streams
        before, most = gateway.resident_mib(), 0.0
        pool = ThreadPoolExecutor(1)
        try:
            job = pool.submit(self._stand.run, Job(target, streams, streams, ramp_seconds))
            while not _is_done_within(job, SAMPLE_SECONDS):
                if self._stand.metric("understudy_open_requests") == streams:
                    most = max(most, gateway.resident_mib())
            job.result()
        finally:
            pool.shutdown(wait=False)  # when interrupted, it ends with the load's process
        if not most:
            raise WrongReplies(f"{streams} streams were never seen open at once")
        return OpenStreams(
            streams=streams,
            resident_mib_before=round(before, 1),
            resident_mib_open=round(most, 1),
            kib_each=round((most - before) * 1024 / streams, 1),
        )


def _is_done_within(job: "Future[Outcome]", seconds: float) -> bool:
    return bool(wait([job], timeout=seconds).done)


def _line(path: _Path, concurrency: int, tally: _Tally) -> StreamMeasurement:
    count, is_gateway = len(tally.whole_ms), path.scenario is not None
    return StreamMeasurement(
        path=path.name,
        concurrency=concurrency,
        streams=count,
        first_token_ms_median=round(statistics.median(tally.first_token_ms), 2),
        first_token_ms_p99=round(p99(tally.first_token_ms), 2),
        whole_ms_median=round(statistics.median(tally.whole_ms), 2),
        gateway_cpu_us_per_token=(
            round(tally.cpu_seconds / count / TOKENS * 1e6, 1) if is_gateway else None
        ),
        gateway_cpu_us_least=round(tally.least / TOKENS * 1e6, 1) if is_gateway else None,
    )
