"""Stalls: how long the gateway's event loop keeps everybody waiting under a mixed load.

Kept, escalated and streamed requests flow well below saturation; beside them come prompts of a
megabyte, and somebody reads the metrics every second.  The gateway tells itself how late its timers
were, and how much of that its thread may have computed: what is left over the machine took.
"""

import itertools
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench import processes, scenarios
from bench.large import large_bodies
from bench.load import Job, Target
from bench.processes import Cores, GatewayProcess, LoadProcess, Progress
from bench.replies import TOKENS
from bench.scenarios import Scenario, gateway_target
from bench.stand import Stand

SECONDS = 20.0
PAUSE_MS = 2  # Of the models for a token: each answer takes an eighth of a second.
CONNECTIONS = {"kept": 12, "escalated": 12, "streamed": 8}
ROUNDS_OF_A_JOB = 4
LARGE_EVERY_SECONDS = 0.25
SCRAPE_EVERY_SECONDS = 1.0
WARM_UP_SECONDS = 2.0

LAG, COMPUTING = "understudy_loop_lag_seconds", "understudy_loop_computing_seconds"
_BOUNDS_MS = (5, 10, 20, 50)


@dataclass(frozen=True, slots=True)
class StallLine:
    """How late so many looks were; ``over_ms`` counts those later than each number of ms.

    ``most_ms`` is the bound below which all were, None where that is beyond the last one.
    """

    what: str
    looks: int
    over_ms: dict[int, int]
    most_ms: float | None


@dataclass(frozen=True, slots=True)
class StallReport:
    """What the gateway did meanwhile, and how its event loop fared."""

    seconds: float
    requests: int
    large: dict[str, int]
    cpu_share: float
    series: int
    page_kib: int
    scrapes: int
    scrape_ms_median: float
    lag: StallLine
    computing: StallLine


def _scenarios() -> Mapping[str, Scenario]:
    """A cascade for each kind of load, and as many for large prompts that are kept and not."""
    kept, deferred = scenarios.stream_kept(PAUSE_MS), scenarios.stream_deferred(PAUSE_MS)
    return {
        "kept": replace(kept, name="stall-kept"),
        "escalated": replace(deferred, name="stall-escalated"),
        "streamed": replace(kept, name="stall-streamed"),
        "large kept": replace(kept, name="stall-large-kept"),
        "large escalated": replace(deferred, name="stall-large-escalated"),
    }


def measure_stalls(seconds: float, cores: Cores, progress: Progress) -> StallReport:
    """Watch a gateway of its own for so long.

    Raises StartFailed where a process does not come up, WrongReplies where one answers wrongly.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-bench-")))
        port = stack.enter_context(processes.upstream(cores.upstream))
        scenarios.write_configuration(folder, list(_scenarios().values()), port)
        options = scenarios.options(folder, None)
        gateway = stack.enter_context(processes.gateway(folder, options, cores.gateway))
        load = [
            stack.enter_context(processes.load_generator(cores.load))
            for _ in (*CONNECTIONS, "large")
        ]
        loads = _Loads(gateway, port, load)
        progress("stalls, warming up")
        loads.run(WARM_UP_SECONDS)
        progress(f"stalls, {seconds:g} s")
        return loads.run(seconds)


class _Loads:
    """All that happens at once."""

    def __init__(self, gateway: GatewayProcess, port: int, load: list[LoadProcess]) -> None:
        self._gateway = gateway
        self._stands = [Stand(gateway, each, port) for each in load]
        self._kinds = itertools.cycle(self._large_targets())

    def run(self, seconds: float) -> StallReport:
        """Go on for so long, and say what came of it."""
        before, cpu_before = _Page.read(self._gateway), self._gateway.cpu_seconds()
        began = time.monotonic()
        end = began + seconds
        known, (*stands, last) = _scenarios(), self._stands
        with ThreadPoolExecutor(len(CONNECTIONS) + 2) as pool:
            steady = [
                pool.submit(self._flow, stand, known[kind], kind, end)
                for stand, kind in zip(stands, CONNECTIONS, strict=True)
            ]
            large = pool.submit(self._send_large, last, end)
            scrapes = pool.submit(self._scrape, end)
            requests = sum(each.result() for each in steady)
            sent = large.result()
            times_ms = scrapes.result()
        taken = time.monotonic() - began
        after = _Page.read(self._gateway)
        return StallReport(
            seconds=round(taken, 1),
            requests=requests,
            large=dict(sent),
            cpu_share=round((self._gateway.cpu_seconds() - cpu_before) / taken, 3),
            series=after.series,
            page_kib=len(after.text) // 1024,
            scrapes=len(times_ms),
            scrape_ms_median=round(statistics.median(times_ms), 1),
            lag=_line("lag", after.since(before, LAG)),
            computing=_line("computing", after.since(before, COMPUTING)),
        )

    def _flow(self, stand: Stand, scenario: Scenario, kind: str, end: float) -> int:
        """Have so many clients ask again and again; how many answers they got."""
        target = gateway_target(scenario, self._gateway.port, is_stream=kind == "streamed")
        count, sent = CONNECTIONS[kind], 0
        # Clients that began together would meet in bursts.
        ramp_seconds = TOKENS * PAUSE_MS / 1e3
        while time.monotonic() < end:
            stand.run(Job(target, count, count * ROUNDS_OF_A_JOB, ramp_seconds))
            sent += count * ROUNDS_OF_A_JOB
        return sent

    def _send_large(self, stand: Stand, end: float) -> Counter[str]:
        """Send a large prompt every quarter of a second, each of another kind."""
        sent: Counter[str] = Counter()
        for due in _moments(end, LARGE_EVERY_SECONDS):
            name, target = next(self._kinds)
            stand.run(Job(target, 1, 1))
            sent[name] += 1
            due()
        return sent

    def _large_targets(self) -> list[tuple[str, Target]]:
        known, found = _scenarios(), []
        for scenario in (known["large kept"], known["large escalated"]):
            target = gateway_target(scenario, self._gateway.port)
            for name, body in large_bodies(scenario.name).items():
                found.append((name, replace(target, body=body)))
        return found

    def _scrape(self, end: float) -> list[float]:
        """Read the metrics every second; the milliseconds that each took."""
        found = []
        for due in _moments(end, SCRAPE_EVERY_SECONDS):
            began = time.perf_counter()
            self._gateway.get("/metrics")
            found.append((time.perf_counter() - began) * 1e3)
            due()
        return found


def _moments(end: float, every: float) -> "itertools.takewhile[Callable[[], None]]":
    """For each turn until the end a function that waits until the next one is due."""
    began = time.monotonic()

    def waits(turn: int) -> Callable[[], None]:
        return lambda: time.sleep(max(0.0, began + turn * every - time.monotonic()))

    return itertools.takewhile(
        lambda _: time.monotonic() < end, (waits(turn) for turn in itertools.count(1))
    )


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of metrics."""

    text: str

    @classmethod
    def read(cls, gateway: GatewayProcess) -> "_Page":
        return cls(gateway.get("/metrics")[1].decode())

    @property
    def series(self) -> int:
        return sum(not line.startswith("#") for line in self.text.splitlines())

    def since(self, before: "_Page", histogram: str) -> dict[float, int]:
        """What a histogram has counted up to each bound, in ms, since an earlier page."""
        first = before._buckets(histogram)
        return {bound: count - first[bound] for bound, count in self._buckets(histogram).items()}

    def _buckets(self, histogram: str) -> dict[float, int]:
        found = re.findall(
            rf'^{histogram}_bucket{{le="([^"]+)"}} (\d+)$', self.text, flags=re.MULTILINE
        )
        return {round(float(bound) * 1e3, 3): int(count) for bound, count in found}


def _line(what: str, buckets: Mapping[float, int]) -> StallLine:
    looks = buckets[float("inf")]
    most = min(bound for bound, count in buckets.items() if count == looks)
    return StallLine(
        what=what,
        looks=looks,
        over_ms={bound: looks - buckets[bound] for bound in _BOUNDS_MS},
        most_ms=None if most == float("inf") else most,
    )
