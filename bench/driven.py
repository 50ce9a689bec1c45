"""What a load generator is to the bench, and ours as one: it drives where there is no wrk."""

import statistics
from dataclasses import dataclass
from typing import Protocol

from bench.load import Job, Target
from bench.processes import LoadProcess
from bench.stand import p99

LEAST_REQUESTS = 20


class LoadFailed(Exception):
    """Replies that a load generator waited for were no answers; the message says how many."""


class NoReply(LoadFailed):
    """None came in time, which on a busy machine says nothing of the server."""


@dataclass(frozen=True, slots=True)
class Driven:
    """What came of it: at least one request, and their latencies."""

    requests: int
    seconds: float
    median_ms: float
    p99_ms: float


class Driver(Protocol):
    """Asks one server as fast as it answers."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    def drive(self, target: Target, concurrency: int, seconds: float) -> Driven:
        """Ask for so long over so many connections.  Raises LoadFailed."""


class OwnLoad:
    """``bench.load``, which takes numbers of requests: as many as came in that time before."""

    name = "bench.load, our own"

    def __init__(self, load: LoadProcess) -> None:
        self._load = load
        self._rates: dict[tuple[int, str, str], float] = {}

    def drive(self, target: Target, concurrency: int, seconds: float) -> Driven:
        """Ask for about so long over so many connections.  Raises LoadFailed."""
        key = (target.port, target.path, target.body)
        if key not in self._rates:
            self._do(target, concurrency, max(LEAST_REQUESTS, 2 * concurrency))
        return self._do(target, concurrency, max(concurrency, round(self._rates[key] * seconds)))

    def _do(self, target: Target, concurrency: int, requests: int) -> Driven:
        outcome = self._load.run(Job(target, concurrency, requests))
        if outcome.fault is not None:
            raise LoadFailed(outcome.fault)
        key = (target.port, target.path, target.body)
        self._rates[key] = requests / outcome.seconds
        median = statistics.median(outcome.latencies_ms)
        return Driven(requests, outcome.seconds, median, p99(outcome.latencies_ms))
