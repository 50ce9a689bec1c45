"""What is asked of the gateway, beside what was measured of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.scenarios import ESCALATE, KEEP
from bench.side_by_side import DIRECT, SideReport
from bench.stalls import StallReport
from bench.streams import StreamReport
from bench.token_costs import HELD, RELAY, RELEASED, TokenReport

AT = 32  # requests at once, where what they cost is compared
ROUTER, LITELLM = "vllm-router", "LiteLLM"
ROUTER_TIMES_MOST = 5.0
LITELLM_SHARE_MOST = 1 / 80
ADDED_MS_MOST = 0.3
HALF_P99_MS_MOST = 3.0
HELD_TIMES_MOST = 3.0
RELEASED_TIMES_MOST = 2.0
ESCALATED_TIMES_MOST = 2.2
IDLE_MIB_MOST = 90.0
STREAM_KIB_MOST = 40.0
STALL_MS = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: ``value`` is to be at most ``limit``, in the same ``unit``."""

    name: str
    value: float
    limit: float
    unit: str
    is_met: bool


def at_most(name: str, value: float, limit: float, unit: str) -> Verdict:
    """A target and whether it is met, with the value as it was measured."""
    return Verdict(name, round(value, 5), limit, unit, is_met=value <= limit)


def of_sides(report: SideReport) -> Iterator[Verdict]:
    """What whole replies are held against."""
    kept, escalated = (_cpu(report, each.name) for each in (KEEP, ESCALATE))
    router, litellm = _cpu(report, ROUTER), _cpu(report, LITELLM)
    if kept and router:
        times = kept / router
        yield at_most(f"CPU of a kept reply over {ROUTER}'s", times, ROUTER_TIMES_MOST, "times")
    if kept and litellm:
        share = kept / litellm
        yield at_most(f"CPU of a kept reply over {LITELLM}'s", share, LITELLM_SHARE_MOST, "times")
    if kept and escalated:
        times = escalated / kept
        yield at_most(
            "CPU of an escalated reply over a kept one's", times, ESCALATED_TIMES_MOST, "times"
        )
    direct, ours = report.at(DIRECT, 1), report.at(KEEP.name, 1)
    if direct is not None and ours is not None:
        added = ours.latency_ms_median - direct.latency_ms_median
        yield at_most("latency added to one request at a time, median", added, ADDED_MS_MOST, "ms")
    if report.half is not None:
        high = report.half.latency_ms_p99
        yield at_most("latency at half of saturation, p99", high, HALF_P99_MS_MOST, "ms")
    if KEEP.name in report.idle_mib:
        yield at_most("memory when idle", report.idle_mib[KEEP.name], IDLE_MIB_MOST, "MiB")


def of_tokens(report: TokenReport) -> Iterator[Verdict]:
    """What a token of a stream is held against."""
    costs = {each.path: each.cpu_us for each in report.costs}
    for path, most in ((HELD, HELD_TIMES_MOST), (RELEASED, RELEASED_TIMES_MOST)):
        times = costs[path] / costs[RELAY]
        yield at_most(f"CPU of a token, {path}, over the relay's", times, most, "times")


def of_streams(report: StreamReport) -> Iterator[Verdict]:
    """What an open stream may weigh."""
    if report.open_streams is not None:
        name = f"memory of each of {report.open_streams.streams} open streams"
        yield at_most(name, report.open_streams.kib_each, STREAM_KIB_MOST, "KiB")


def of_stalls(report: StallReport) -> Iterator[Verdict]:
    """How often the event loop may be late, and by its own computing."""
    for line in (report.lag, report.computing):
        name = f"event loop's {line.what} over {STALL_MS} ms"
        yield at_most(name, line.over_ms[STALL_MS], 0, f"of {line.looks} looks")


def _cpu(report: SideReport, name: str) -> float | None:
    line = report.at(name, AT)
    return None if line is None else line.cpu_us
