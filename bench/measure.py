"""The measurement: every scenario at every concurrency, against one gateway."""

import math
import os
import platform
import re
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench import processes, scenarios
from bench.load import Job, Outcome, Target
from bench.processes import Cores, GatewayProcess, LoadProcess
from bench.scenarios import Scenario

WARM_UP_SHARE = 4  # A quarter of the requests again, before what is measured.
WARM_UP_LEAST = 20
ROUNDS = 10
PACKAGES = ("understudy", "fastapi", "uvicorn", "uvloop", "httptools", "aiohttp", "msgspec")

Progress = Callable[[str], None]


class WrongReplies(Exception):
    """The gateway did not do what the scenario asks of it, so its speed means nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure; ``requests`` and each concurrency are at least 1."""

    scenarios: Sequence[Scenario]
    concurrencies: Sequence[int]
    requests: int
    redis_url: str | None = None


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
class Report:
    """All measurements of one run, and what they were made with."""

    date: str
    machine: str
    cpu_count: int
    is_pinned: bool
    has_redis: bool
    versions: dict[str, str]
    measurements: list[Measurement]


def measure(plan: Plan, progress: Progress) -> Report:
    """Start everything, measure, end everything.

    Raises StartFailed where a process does not come up, WrongReplies where one answers wrongly.
    """
    cores = processes.cores()
    with (
        tempfile.TemporaryDirectory(prefix="understudy-bench-") as name,
        processes.upstream(cores.upstream) as port,
        processes.load_generator(cores.load) as load,
    ):
        folder = Path(name)
        scenarios.write_configuration(folder, plan.scenarios, port)
        options = scenarios.options(folder, plan.redis_url)
        with processes.gateway(folder, options, cores.gateway) as gateway:
            bench = _Bench(plan, gateway, load, port)
            return _report(plan, cores, bench.measurements(progress))


@dataclass(frozen=True, slots=True)
class _Bench:
    plan: Plan
    gateway: GatewayProcess
    load: LoadProcess
    upstream_port: int

    def measurements(self, progress: Progress) -> list[Measurement]:
        found = []
        for concurrency in self.plan.concurrencies:
            progress(f"upstream alone, {concurrency} at once")
            direct = self._warm(scenarios.direct_target(self.upstream_port), concurrency)
            for scenario in self.plan.scenarios:
                progress(f"{scenario.name}, {concurrency} at once")
                found.append(self._measure(scenario, concurrency, direct))
        found.sort(key=lambda each: [it.name for it in self.plan.scenarios].index(each.scenario))
        for scenario in self.plan.scenarios:
            self._check_count(scenario)
        return found

    def _measure(self, scenario: Scenario, concurrency: int, direct: Outcome) -> Measurement:
        target = scenarios.gateway_target(scenario, self.gateway.port)
        self._run(Job(target, concurrency, self._warm_up(concurrency)))
        spent, seconds, latencies, least = 0.0, 0.0, [], math.inf
        for requests in _rounds(self.plan.requests, concurrency):
            before = self.gateway.cpu_seconds()
            outcome = self._run(Job(target, concurrency, requests))
            cpu = self.gateway.cpu_seconds() - before
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
            resident_mib=round(self.gateway.resident_mib(), 1),
        )

    def _warm(self, target: Target, concurrency: int) -> Outcome:
        self._run(Job(target, concurrency, self._warm_up(concurrency)))
        return self._run(Job(target, concurrency, self.plan.requests))

    def _warm_up(self, concurrency: int) -> int:
        """How many requests go first: enough that every connection is open and used twice."""
        return max(self.plan.requests // WARM_UP_SHARE, WARM_UP_LEAST, 2 * concurrency)

    def _run(self, job: Job) -> Outcome:
        outcome = self.load.run(job)
        if outcome.fault is not None:
            log = self.gateway.log_tail().strip().rpartition("\n")[2]
            raise WrongReplies(f"{outcome.fault}\nthe gateway's last line: {log}")
        return outcome

    def _check_count(self, scenario: Scenario) -> None:
        """The gateway's own books must agree with what was sent."""
        expected = sum(
            self.plan.requests + self._warm_up(concurrency)
            for concurrency in self.plan.concurrencies
        )
        page = self.gateway.get("/metrics")[1].decode()
        labels = f'cascade="{scenario.name}",outcome="{scenario.outcome}"'
        line = re.search(rf"^understudy_requests_total{{{labels}}} (\S+)$", page, re.MULTILINE)
        counted = 0 if line is None else float(line[1])
        if counted != expected:
            raise WrongReplies(
                f"/metrics counts {counted:g} requests as {scenario.outcome}, sent: {expected}"
            )


def _rounds(requests: int, concurrency: int) -> list[int]:
    """The requests of each round: ten equal ones, where that leaves every connection a few."""
    count = ROUNDS if requests >= ROUNDS * 4 * concurrency else 1
    return [requests // count + (place < requests % count) for place in range(count)]


def p99(values: Sequence[float]) -> float:
    """The value that 99 in 100 do not exceed, by nearest rank; ``values`` has at least one."""
    ranked = sorted(values)
    return ranked[-(-99 * len(ranked) // 100) - 1]


def _report(plan: Plan, cores: Cores, measurements: list[Measurement]) -> Report:
    return Report(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=f"{platform.system()} {platform.machine()}",
        cpu_count=os.cpu_count() or 1,
        is_pinned=cores.is_pinned,
        has_redis=plan.redis_url is not None,
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
        measurements=measurements,
    )
