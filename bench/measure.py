"""One run: everything is started, measured and ended, and a report made of it."""

import os
import platform
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench import processes, scenarios
from bench.processes import Cores, Progress
from bench.stand import Stand
from bench.streams import StreamPlan, StreamReport, Streams
from bench.whole import Measurement, Whole, WholePlan

PACKAGES = ("understudy", "fastapi", "uvicorn", "uvloop", "httptools", "msgspec")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure of whole replies, and of streams if anything."""

    whole: WholePlan
    streams: StreamPlan | None
    redis_url: str | None = None


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
    streams: StreamReport | None


def measure(plan: Plan, progress: Progress) -> Report:
    """Start everything, measure, end everything.

    Raises StartFailed where a process does not come up, WrongReplies where one answers wrongly.
    """
    cores = processes.cores()
    processes.raise_descriptor_limit()
    with (
        tempfile.TemporaryDirectory(prefix="understudy-bench-") as name,
        processes.upstream(cores.upstream) as port,
        processes.load_generator(cores.load) as load,
    ):
        folder = Path(name)
        streamed = () if plan.streams is None else plan.streams.scenarios
        scenarios.write_configuration(folder, [*plan.whole.scenarios, *streamed], port)
        options = scenarios.options(folder, plan.redis_url)
        with processes.gateway(folder, options, cores.gateway) as gateway:
            stand = Stand(gateway, load, port)
            found: list[Measurement] = []
            if plan.whole.scenarios:
                found = Whole(plan.whole, stand).measurements(progress)
            streams = None if plan.streams is None else Streams(plan.streams, stand)
            report = None if streams is None else streams.report(progress)
            return _report(plan, cores, found, report)


def _report(
    plan: Plan, cores: Cores, measurements: list[Measurement], streams: StreamReport | None
) -> Report:
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
        streams=streams,
    )
