"""Growth: whether the gateway's memory has a trend over very many requests, no two alike.

Memory is read after each step.  A line is fitted to it; memory that only ever varies has none.
"""

import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

import msgspec
import yaml

from bench import processes, scenarios
from bench.motley import BROKEN, ESCALATED, KEPT, Crowd, Gone
from bench.processes import Cores, Pipes, Progress, StartFailed
from bench.scenarios import Scenario
from bench.stand import WrongReplies

CONCURRENCY = 32
TENANTS = 100
STEPS = 50
# Allocators, caches and connections have found their size by then.
WARM_UP_SHARE = 0.5
# More than later: what meets by chance, as after a stall, then finds room that is there already.
WARM_UP_CONCURRENCY = 128
# Of Student's distribution, one-sided, with some 50 points: 99 in 100 slopes are below.
DEVIATIONS = 2.41


@dataclass(frozen=True, slots=True)
class Trend:
    """A line through points: its slope, and what that is at most with 99% confidence."""

    slope: float
    slope_at_most: float


def trend_of(points: Sequence[tuple[float, float]]) -> Trend:
    """The line of least squares through at least three points, not all of one ``x``."""
    xs, ys = zip(*points, strict=True)
    slope, intercept = statistics.linear_regression(xs, ys)
    residual = sum((y - slope * x - intercept) ** 2 for x, y in points)
    mean = statistics.fmean(xs)
    spread = sum((x - mean) ** 2 for x in xs)
    error = sqrt(residual / (len(points) - 2) / spread)
    return Trend(slope, slope + DEVIATIONS * error)


@dataclass(frozen=True, slots=True)
class GrowthReport:
    """Memory over so many requests behind the warm-up, in MiB, and its trend in bytes a request."""

    requests: int
    idle_mib: float
    resident_mib: list[float]
    bytes_per_request: float
    bytes_per_request_at_most: float


def measure_growth(requests: int, cores: Cores, progress: Progress) -> GrowthReport:
    """Send ``requests``, at least 100, after half as many to warm up.

    Raises StartFailed where a process does not come up, WrongReplies where an answer is wrong.
    """
    processes.raise_descriptor_limit()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-bench-")))
        upstream = stack.enter_context(processes.upstream(cores.upstream))
        keys = _configure(folder, upstream)
        options = scenarios.options(folder, None)
        gateway = stack.enter_context(processes.gateway(folder, options, cores.gateway))
        command = [sys.executable, "-m", "bench.motley"]
        pipes = Pipes(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        clients = stack.enter_context(processes.child(command, cores.load, pipes, os.environ))
        idle_mib = round(gateway.resident_mib(), 1)
        sent = round(WARM_UP_SHARE * requests)
        progress(f"growth, {sent} requests to warm up")
        _send(clients, Crowd(gateway.port, keys, 0, sent, WARM_UP_CONCURRENCY))
        points = [(0.0, gateway.resident_mib() * 2**20)]
        for step in range(STEPS):
            done = requests * step // STEPS
            size = requests * (step + 1) // STEPS - done
            progress(f"growth, {done} of {requests} requests")
            _send(clients, Crowd(gateway.port, keys, sent + done, size, CONCURRENCY))
            points.append((done + size, gateway.resident_mib() * 2**20))
    trend = trend_of(points)
    return GrowthReport(
        requests=requests,
        idle_mib=idle_mib,
        resident_mib=[round(size / 2**20, 2) for _, size in points],
        bytes_per_request=round(trend.slope, 1),
        bytes_per_request_at_most=round(trend.slope_at_most, 1),
    )


def _configure(folder: Path, upstream: int) -> Sequence[str]:
    """Write cascades, and keys of tenants, half of whom have no pairs kept; gives their keys."""
    broken = Scenario(BROKEN, "nothing", "teacher", "failed")
    kept, escalated = (
        replace(known, name=name)
        for known, name in ((scenarios.KEEP, KEPT), (scenarios.ESCALATE, ESCALATED))
    )
    scenarios.write_configuration(folder, [kept, escalated, broken], upstream)
    path = folder / "cascades.yaml"
    document = yaml.safe_load(path.read_text())
    teacher = document["cascades"][BROKEN]["teacher"]
    teacher["base_url"] = document["cascades"][BROKEN]["student"]["base_url"]
    path.write_text(yaml.safe_dump(document))
    keys = [f"growth-key-{number}-of-a-tenant" for number in range(TENANTS)]
    entries = [
        {
            "name": f"tenant-{number}",
            "sha256": hashlib.sha256(key.encode()).hexdigest(),
            "may_store": number % 2 == 0,
        }
        for number, key in enumerate(keys)
    ]
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": entries}))
    return keys


def _send(clients: "subprocess.Popen[bytes]", crowd: Crowd) -> None:
    assert clients.stdin is not None
    assert clients.stdout is not None
    clients.stdin.write(msgspec.json.encode(crowd) + b"\n")
    clients.stdin.flush()
    line = clients.stdout.readline()
    if not line:
        raise StartFailed("the crowd of clients ended early")
    gone = msgspec.json.decode(line, type=Gone)
    if gone.fault is not None:
        raise WrongReplies(gone.fault)
