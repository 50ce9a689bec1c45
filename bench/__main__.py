"""``python -m bench``: measure what a request costs the gateway, and print it."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from bench.export import time_export
from bench.growth import measure_growth
from bench.measure import Plan, measure
from bench.options import (
    CONCURRENCIES,
    EXPORT,
    GROWTH,
    OUTAGE,
    PEERS,
    SCORE,
    STALLS,
    STEERED,
    STREAM,
    STREAM_CONCURRENCIES,
    SYNTHETIC,
    TOKENS,
    parser_of,
)
from bench.outage import time_outage
from bench.processes import Progress, StartFailed, cores
from bench.scenarios import SCENARIOS, Scenario
from bench.scores import time_score
from bench.side_by_side import CONCURRENCIES as SIDE_CONCURRENCIES
from bench.side_by_side import SidePlan
from bench.stalls import SECONDS as STALL_SECONDS
from bench.stand import WrongReplies
from bench.steered import measure_steered
from bench.streams import StreamPlan
from bench.synthetic import SyntheticPlan, compare_synthetic
from bench.tables import AnyReport, tables
from bench.token_costs import TokenPlan
from bench.whole import Measurement, WholePlan

FAILED_EXIT_CODE = 1
MISSED_EXIT_CODE = 3
INTERRUPTED_EXIT_CODE = 130


def main(arguments: Sequence[str] | None = None, known: Sequence[Scenario] = SCENARIOS) -> int:
    """Measure as told by the arguments; the exit status."""
    parser = parser_of(known)
    options = parser.parse_args(arguments)
    if options.scenario == SCORE:
        return _score(options)
    plan = _plan(options, known)
    if options.at_most_us is not None and plan.whole is None:
        names = ", ".join([*(each.name for each in known), SCORE])
        parser.error(f"--at-most-us needs one --scenario of {names}")
    if options.scenario == EXPORT:
        return _export(options)
    console = Console(stderr=True)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with console.status("starting") as status:

            def progress(what: str) -> None:
                status.update(f"measuring: {what}")

            if (alone := _measured_alone(options, progress)) is not None:
                _show(alone, is_json=options.json, out=options.out)
                return 0
            report = measure(plan, progress)
    except (StartFailed, WrongReplies) as error:
        console.print(f"[bold red]No measurement:[/] {error}", highlight=False, soft_wrap=True)
        return FAILED_EXIT_CODE
    except KeyboardInterrupt:
        console.print("stopped")
        return INTERRUPTED_EXIT_CODE
    finally:
        signal.signal(signal.SIGTERM, before)
    _show(report, is_json=options.json, out=options.out)
    if options.strict and not all(each.is_met for each in report.verdicts):
        return MISSED_EXIT_CODE
    return _verdict(report.found.measurements, options.at_most_us, console)


def _measured_alone(options: argparse.Namespace, progress: Progress) -> AnyReport | None:
    """The report of a scenario that has one of its own; None where none is asked for.

    Raises StartFailed and WrongReplies.
    """
    if options.scenario == SYNTHETIC:
        steps = SyntheticPlan(options.rows, options.seeds, options.steps)
        return compare_synthetic(steps, options.work_dir, progress)
    if options.scenario == OUTAGE:
        return time_outage(options.requests, progress)
    if options.scenario == GROWTH:
        return measure_growth(options.requests, cores(), progress)
    if options.scenario == STEERED:
        return measure_steered(options.requests, cores(), progress)
    return None


def _plan(options: argparse.Namespace, known: Sequence[Scenario]) -> Plan:
    wanted = options.scenario
    streams = StreamPlan(
        concurrencies=options.concurrency or STREAM_CONCURRENCIES,
        streams=options.streams,
        pause_ms=options.pause_ms,
        open_streams=options.open_streams,
    )
    chosen = [each for each in known if wanted == each.name]
    whole = WholePlan(chosen, options.concurrency or CONCURRENCIES, options.requests)
    return Plan(
        whole if chosen else None,
        sides=SidePlan(options.concurrency or SIDE_CONCURRENCIES, options.rounds)
        if wanted in (None, PEERS)
        else None,
        tokens=TokenPlan() if wanted in (None, TOKENS) else None,
        streams=streams if wanted in (None, STREAM) else None,
        stall_seconds=STALL_SECONDS if wanted in (None, STALLS) else 0.0,
        redis_url=options.redis_url,
    )


def _stop(*_: object) -> None:
    """End as Ctrl-C does, so that the other processes and the temporary files go too."""
    raise KeyboardInterrupt


def _score(options: argparse.Namespace) -> int:
    times = time_score()
    _show(times, is_json=options.json, out=options.out)
    if options.at_most_us is None or times.judged_us <= options.at_most_us:
        return 0
    Console(stderr=True).print(
        f"[bold red]Too slow:[/] a draft is judged in {times.judged_us:g} µs, the limit is "
        f"{options.at_most_us:g}",
        highlight=False,
    )
    return FAILED_EXIT_CODE


def _export(options: argparse.Namespace) -> int:
    console = Console(stderr=True)
    try:
        with console.status("starting") as status:
            times = time_export(options.pairs, options.work_dir, status.update)
    except StartFailed as error:
        console.print(f"[bold red]No measurement:[/] {error}", highlight=False, soft_wrap=True)
        return FAILED_EXIT_CODE
    _show(times, is_json=options.json, out=options.out)
    return 0


def _show(report: AnyReport, *, is_json: bool, out: Path | None) -> None:
    text = msgspec.json.format(msgspec.json.encode(report)).decode()
    console = Console()
    if is_json:
        print(text)
    else:
        for each in tables(report):
            console.print(each, highlight=False)
    if out is not None:
        out.write_text(text + "\n")
        Console(stderr=True).print(f"written to {out}", highlight=False, soft_wrap=True)


def _verdict(lines: Sequence[Measurement], at_most_us: float | None, console: Console) -> int:
    """Whether the first line keeps within the limit, where one was given."""
    if at_most_us is None or lines[0].gateway_cpu_us_per_request <= at_most_us:
        return 0
    first, spent = lines[0], lines[0].gateway_cpu_us_per_request
    console.print(
        f"[bold red]Too slow:[/] {first.scenario} at {first.concurrency} costs {spent:g} µs of "
        f"processor time a request, the limit is {at_most_us:g}",
        highlight=False,
        soft_wrap=True,
    )
    return FAILED_EXIT_CODE


if __name__ == "__main__":
    sys.exit(main())
