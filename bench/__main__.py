"""``python -m bench``: measure what a request costs the gateway, and print it."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from bench.export import PAIRS, time_export
from bench.measure import Plan, measure
from bench.outage import time_outage
from bench.processes import StartFailed
from bench.scenarios import MOST_CONCURRENT, SCENARIOS, Scenario
from bench.scores import time_score
from bench.stand import WrongReplies
from bench.streams import StreamPlan
from bench.synthetic import ROWS, SEEDS, STEPS, SyntheticPlan, compare_synthetic
from bench.tables import AnyReport, tables
from bench.whole import Measurement, WholePlan

# With these, whole replies take a minute on 2 cores and streams six.
REQUESTS = 3000
CONCURRENCIES = (1, 16, 32)
STREAMS = 80
STREAM_CONCURRENCIES = (1, 32)
# A model of 125 tokens a second: 32 of them leave a gateway on one core some air.
PAUSE_MS = 8
OPEN_STREAMS = 1000
STREAM = "stream"
SCORE = "score"
OUTAGE = "outage"
EXPORT = "export"
SYNTHETIC = "synthetic"
FAILED_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130


def main(arguments: Sequence[str] | None = None, known: Sequence[Scenario] = SCENARIOS) -> int:
    """Measure as told by the arguments; the exit status."""
    parser = _parser(known)
    options = parser.parse_args(arguments)
    if options.scenario == SCORE:
        return _score(options)
    plan = _plan(options, known)
    if options.at_most_us is not None and not plan.whole.scenarios:
        parser.error(f"--at-most-us is about requests: leave out --scenario {options.scenario}")
    if options.scenario == EXPORT:
        return _export(options)
    console = Console(stderr=True)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with console.status("starting") as status:

            def progress(what: str) -> None:
                status.update(f"measuring: {what}")

            if options.scenario == SYNTHETIC:
                steps = SyntheticPlan(options.rows, options.seeds, options.steps)
                found = compare_synthetic(steps, options.work_dir, progress)
                _show(found, is_json=options.json, out=options.out)
                return 0
            if options.scenario == OUTAGE:
                times = time_outage(options.requests, progress)
                _show(times, is_json=options.json, out=options.out)
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
    return _verdict(report.measurements, options.at_most_us, console)


def _plan(options: argparse.Namespace, known: Sequence[Scenario]) -> Plan:
    chosen = [each for each in known if options.scenario in (None, each.name)]
    streams = StreamPlan(
        concurrencies=options.concurrency or STREAM_CONCURRENCIES,
        streams=options.streams,
        pause_ms=options.pause_ms,
        open_streams=options.open_streams,
    )
    return Plan(
        WholePlan(chosen, options.concurrency or CONCURRENCIES, options.requests),
        streams if options.scenario in (None, STREAM) else None,
        options.redis_url,
    )


def _stop(*_: object) -> None:
    """End as Ctrl-C does, so that the other processes and the temporary files go too."""
    raise KeyboardInterrupt


def _parser(known: Sequence[Scenario]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measure the processor time that one request costs the gateway, with "
        "authentication, metrics and pair log on, between a static upstream (64 tokens of "
        "log-probabilities) and a load generator that checks every reply; and of streams the time "
        "to the first token, the processor time a token, and the memory of many at once.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--requests", type=_whole, default=REQUESTS, help="measured requests for each line"
    )
    parser.add_argument(
        "--concurrency",
        type=_concurrency,
        nargs="+",
        metavar="N",
        help=f"requests that are open at once; without it {_listed(CONCURRENCIES)}, "
        f"and {_listed(STREAM_CONCURRENCIES)} streams",
    )
    parser.add_argument(
        "--scenario",
        choices=[*(each.name for each in known), STREAM, SCORE, OUTAGE, EXPORT, SYNTHETIC],
        help="measure this alone: keep (the student's answer is served), escalate, stream, score "
        "(judging a draft of 256 tokens by a learnt policy, without any server), outage "
        "(escalations while the store is up, away and hung), export (pairs out of a Valkey into "
        "Parquet and a training set), or synthetic (rows that a teacher wrote where the student "
        "fails, against as many pairs of the traffic; trains for many minutes, and needs what "
        "`./dev distill train` installs); the last three only where they are asked for",
    )
    parser.add_argument(
        "--streams", type=_whole, default=STREAMS, help="measured streams for each line, at least"
    )
    parser.add_argument(
        "--pause-ms", type=_whole, default=PAUSE_MS, help="what a model takes for a streamed token"
    )
    parser.add_argument(
        "--open-streams",
        type=_open_streams,
        default=OPEN_STREAMS,
        metavar="N",
        help="streams that are open at once while memory is read; 0 reads none",
    )
    parser.add_argument(
        "--pairs", type=_whole, default=PAIRS, help="how many pairs --scenario export puts in"
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        metavar="DIR",
        help="where --scenario export and synthetic have their files; synthetic leaves them there, "
        "and goes on where it stopped",
    )
    _add_synthetic(parser)
    parser.add_argument("--redis-url", help="ship pairs to this Redis while measuring")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON there as well")
    parser.add_argument(
        "--at-most-us",
        type=float,
        metavar="N",
        help="fail when the first line costs the gateway more microseconds a request; with "
        "--scenario score, when judging a draft takes more",
    )
    return parser


def _add_synthetic(parser: argparse.ArgumentParser) -> None:
    """What ``--scenario synthetic`` alone reads."""
    options = (
        ("--rows", ROWS, "rows that --scenario synthetic adds"),
        ("--seeds", SEEDS, "how often --scenario synthetic trains both students"),
        ("--steps", STEPS, "steps of each training of --scenario synthetic"),
    )
    for name, default, told in options:
        parser.add_argument(name, type=_whole, default=default, metavar="N", help=told)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _concurrency(text: str) -> int:
    number = _whole(text)
    if number > MOST_CONCURRENT:
        raise argparse.ArgumentTypeError(f"must be at most {MOST_CONCURRENT}")
    return number


def _open_streams(text: str) -> int:
    return 0 if text == "0" else _concurrency(text)


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
