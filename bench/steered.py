"""What it adds to a kept answer that its cascade is held to a promise, audits and all.

Two gateways, one and the same cascade but for that: they are on one processor and take turns, so
that whatever else the machine does falls on both.  The promise is earned first, as in production.
"""

import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from bench import processes, scenarios
from bench.load import Job, Target
from bench.processes import Cores, Progress
from bench.replies import text_of
from bench.scenarios import KEEP
from bench.stand import Stand, WrongReplies, p99

CONCURRENCIES = (1, 32)
ROUNDS = 10
# What is left to do behind the answers of a round is done before the next begins.
SETTLE_SECONDS = 0.2
WARM_UP_REQUESTS = 500
# The promise asks for some hundreds of escalations here, where the student is always right.
STEP_REQUESTS = 100
MOST_EARNING = 5_000
RELEASED = f'understudy_objective_state{{cascade="{KEEP.name}",state="released"}}'
AUDITS = f'understudy_audits_total{{cascade="{KEEP.name}",outcome="agree"}}'
OBJECTIVE = {"kind": "quality", "disagreement_at_most": 0.05, "with_probability": 0.95}
AUDIT_SHARE = 0.02
SIDES = ("unsteered", "steered")


@dataclass(frozen=True, slots=True)
class SteeredLine:
    """One side at one concurrency.  Latencies are the medians of the rounds' own, in ms; ``cpu_us``
    is the mean for a request, ``cpu_us_least`` that of the quietest round."""

    side: str
    concurrency: int
    requests: int
    cpu_us: float
    cpu_us_least: float
    latency_ms_median: float
    latency_ms_p99: float


@dataclass(frozen=True, slots=True)
class SteeredReport:
    """One run.  ``earned_after`` requests the promise was kept to; ``audits`` were made then."""

    earned_after: int
    audits: int
    lines: list[SteeredLine]


@dataclass(slots=True)
class _Tally:
    latencies: list[list[float]] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def line(self, side: str, concurrency: int) -> SteeredLine:
        return SteeredLine(
            side=side,
            concurrency=concurrency,
            requests=sum(map(len, self.latencies)),
            cpu_us=round(statistics.fmean(self.cpu_us), 1),
            cpu_us_least=round(min(self.cpu_us), 1),
            latency_ms_median=round(
                statistics.median(statistics.median(each) for each in self.latencies), 3
            ),
            latency_ms_p99=round(statistics.median(p99(each) for each in self.latencies), 3),
        )


def measure_steered(requests: int, cores: Cores, progress: Progress) -> SteeredReport:
    """Measure ``requests`` kept answers, at least 1, of each side at each concurrency.

    Raises StartFailed where a process does not come up, WrongReplies where one answers wrongly, or
    the promise is not earned.
    """
    with (
        tempfile.TemporaryDirectory(prefix="understudy-bench-") as name,
        processes.upstream(cores.upstream) as port,
        processes.load_generator(cores.load) as load,
        ExitStack() as ends,
    ):
        stands = {}
        for side in SIDES:
            gateway = ends.enter_context(_gateway(Path(name) / side, side, port, cores))
            stands[side] = Stand(gateway, load, port)
        progress("the promise is being earned")
        earned_after = _earn(stands["steered"])
        before = stands["steered"].metric(AUDITS)
        for stand in stands.values():
            stand.run(Job(_target(stand), max(CONCURRENCIES), WARM_UP_REQUESTS))
        lines = [
            line
            for concurrency in CONCURRENCIES
            for line in _lines(stands, concurrency, requests, progress)
        ]
        sent = WARM_UP_REQUESTS + len(CONCURRENCIES) * sum(_rounds(requests))
        for stand in stands.values():
            stand.check_count(KEEP, sent)
        audits = round(stands["steered"].metric(AUDITS) - before)
        return SteeredReport(earned_after, audits, lines)


@contextmanager
def _gateway(
    folder: Path, side: str, port: int, cores: Cores
) -> Iterator[processes.GatewayProcess]:
    """One side: the teacher says what the student says, so that the promise can be earned."""
    folder.mkdir()
    scenarios.write_configuration(folder, [KEEP], port)
    path = folder / "cascades.yaml"
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    cascade = document["cascades"][KEEP.name]
    cascade["teacher"]["base_url"] = cascade["student"]["base_url"]
    if side == "steered":
        cascade["objective"] = OBJECTIVE
        cascade["audit"]["share"] = AUDIT_SHARE
    path.write_text(yaml.safe_dump(document))
    with processes.gateway(folder, scenarios.options(folder, None), cores.gateway) as gateway:
        yield gateway


def _target(stand: Stand) -> Target:
    return scenarios.gateway_target(KEEP, stand.gateway.port)


def _earn(stand: Stand) -> int:
    """Escalate until the promise is kept to; gives how many requests that took."""
    taught = replace(_target(stand), served_by="teacher", text=text_of(KEEP.served_by))
    for sent in range(STEP_REQUESTS, MOST_EARNING, STEP_REQUESTS):
        stand.run(Job(taught, 1, STEP_REQUESTS))
        end = time.monotonic() + 2.0  # the controller takes reports up once a second
        while time.monotonic() < end:
            if stand.metric(RELEASED):
                return sent
            time.sleep(processes.POLL_SECONDS)
    raise WrongReplies(f"the promise was not earned with {MOST_EARNING} requests")


def _lines(
    stands: dict[str, Stand], concurrency: int, requests: int, progress: Progress
) -> list[SteeredLine]:
    tallies = {side: _Tally() for side in SIDES}
    rounds = _rounds(requests)
    for number, size in enumerate(rounds):
        for side in SIDES if number % 2 else SIDES[::-1]:
            progress(f"{side}, {concurrency} at once, round {number + 1} of {len(rounds)}")
            stand = stands[side]
            before = stand.gateway.cpu_seconds()
            outcome = stand.run(Job(_target(stand), concurrency, size))
            time.sleep(SETTLE_SECONDS)
            tallies[side].latencies.append(outcome.latencies_ms)
            tallies[side].cpu_us.append((stand.gateway.cpu_seconds() - before) / size * 1e6)
    return [tallies[side].line(side, concurrency) for side in SIDES]


def _rounds(requests: int) -> Sequence[int]:
    """The requests of each round."""
    return [math.ceil(requests / ROUNDS)] * ROUNDS
