"""Whole replies: what one request costs the gateway on each path, at each concurrency."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench import scenarios
from bench.load import Job, Outcome, Target
from bench.processes import Progress
from bench.scenarios import Scenario
from bench.stand import Stand, p99

WARM_UP_SHARE = 4  # A quarter of the requests again, before what is measured.
WARM_UP_LEAST = 20
ROUNDS = 10


@dataclass(frozen=True, slots=True)
class WholePlan:
    """What to measure; ``requests`` and each concurrency are at least 1."""

    scenarios: Sequence[Scenario]
    concurrencies: Sequence[int]
    requests: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """One scenario at one concurrency.  ``direct_*`` are of the upstream without a gateway.

    ``gateway_cpu_us_per_request`` is the mean, ``gateway_cpu_us_least`` that of the quietest round:
    what else a machine does adds to a process's time and never takes from it.
    """

    scenario: str
    concurrency: int
    requests: int
    gateway_cpu_us_per_request: float
    gateway_cpu_us_least: float
    requests_per_second: float
    latency_ms_median: float
    latency_ms_p99: float
    direct_ms_median: float
    direct_ms_p99: float
    resident_mib: float


@dataclass(frozen=True, slots=True)
class Whole:
    """The measurement of one plan on one stand."""

    plan: WholePlan
    stand: Stand

    def measurements(self, progress: Progress) -> list[Measurement]:
        """A line for each scenario at each concurrency.  Raises WrongReplies."""
        found = []
        for concurrency in self.plan.concurrencies:
            progress(f"upstream alone, {concurrency} at once")
            direct = self._warm(scenarios.direct_target(self.stand.upstream_port), concurrency)
            for scenario in self.plan.scenarios:
                progress(f"{scenario.name}, {concurrency} at once")
                found.append(self._measure(scenario, concurrency, direct))
        found.sort(key=lambda each: [it.name for it in self.plan.scenarios].index(each.scenario))
        sent = sum(self.plan.requests + self._warm_up(each) for each in self.plan.concurrencies)
        for scenario in self.plan.scenarios:
            self.stand.check_count(scenario, sent)
        return found

    def _measure(self, scenario: Scenario, concurrency: int, direct: Outcome) -> Measurement:
        gateway = self.stand.gateway
        target = scenarios.gateway_target(scenario, gateway.port)
        self.stand.run(Job(target, concurrency, self._warm_up(concurrency)))
        spent, seconds, latencies, least = 0.0, 0.0, [], math.inf
        for requests in _rounds(self.plan.requests, concurrency):
            outcome, cpu = self.stand.run_watched(Job(target, concurrency, requests))
            spent, least = spent + cpu, min(least, cpu / requests)
            seconds += outcome.seconds
            latencies += outcome.latencies_ms
        return Measurement(
            scenario=scenario.name,
            concurrency=concurrency,
            requests=self.plan.requests,
            gateway_cpu_us_per_request=round(spent / self.plan.requests * 1e6, 1),
            gateway_cpu_us_least=round(least * 1e6, 1),
            requests_per_second=round(self.plan.requests / seconds, 1),
            latency_ms_median=round(statistics.median(latencies), 3),
            latency_ms_p99=round(p99(latencies), 3),
            direct_ms_median=round(statistics.median(direct.latencies_ms), 3),
            direct_ms_p99=round(p99(direct.latencies_ms), 3),
            resident_mib=round(gateway.resident_mib(), 1),
        )

    def _warm(self, target: Target, concurrency: int) -> Outcome:
        self.stand.run(Job(target, concurrency, self._warm_up(concurrency)))
        return self.stand.run(Job(target, concurrency, self.plan.requests))

    def _warm_up(self, concurrency: int) -> int:
        """How many requests go first: enough that every connection is open and used twice."""
        return max(self.plan.requests // WARM_UP_SHARE, WARM_UP_LEAST, 2 * concurrency)


def _rounds(requests: int, concurrency: int) -> list[int]:
    """The requests of each round: ten equal ones, where that leaves every connection a few."""
    count = ROUNDS if requests >= ROUNDS * 4 * concurrency else 1
    return [requests // count + (place < requests % count) for place in range(count)]
