"""``python -m bench``: measure what a request costs the gateway, and print it."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.measure import Measurement, Plan, Report, WrongReplies, measure
from bench.processes import StartFailed
from bench.scenarios import SCENARIOS, Scenario

REQUESTS = 3000  # With the default concurrencies the whole run stays under a minute on 2 cores.
CONCURRENCIES = (1, 16, 32)
MOST_CONCURRENT = 512
FAILED_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130


def main(arguments: Sequence[str] | None = None, known: Sequence[Scenario] = SCENARIOS) -> int:
    """Measure as told by the arguments; the exit status."""
    options = _parser(known).parse_args(arguments)
    chosen = [each for each in known if options.scenario in (None, each.name)]
    plan = Plan(chosen, options.concurrency, options.requests, options.redis_url)
    console = Console(stderr=True)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with console.status("starting") as status:
            report = measure(plan, lambda what: status.update(f"measuring: {what}"))
    except (StartFailed, WrongReplies) as error:
        console.print(f"[bold red]No measurement:[/] {error}", highlight=False, soft_wrap=True)
        return FAILED_EXIT_CODE
    except KeyboardInterrupt:
        console.print("stopped")
        return INTERRUPTED_EXIT_CODE
    finally:
        signal.signal(signal.SIGTERM, before)
    _show(report, is_json=options.json, out=options.out)
    return _verdict(report.measurements[0], options.at_most_us, console)


def _stop(*_: object) -> None:
    """End as Ctrl-C does, so that the other processes and the temporary files go too."""
    raise KeyboardInterrupt


def _parser(known: Sequence[Scenario]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measure the processor time that one request costs the gateway, with "
        "authentication, metrics and pair log on, between a static upstream (64 tokens of "
        "log-probabilities) and a load generator that checks every reply.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--requests", type=_whole, default=REQUESTS, help="measured requests for each line"
    )
    parser.add_argument(
        "--concurrency",
        type=_concurrency,
        nargs="+",
        default=CONCURRENCIES,
        metavar="N",
        help="requests that are open at once",
    )
    parser.add_argument(
        "--scenario",
        choices=[each.name for each in known],
        help="measure this path alone: keep (the student's answer is served) or escalate",
    )
    parser.add_argument("--redis-url", help="ship pairs to this Redis while measuring")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON there as well")
    parser.add_argument(
        "--at-most-us",
        type=float,
        metavar="N",
        help="fail when the first line costs the gateway more microseconds a request",
    )
    return parser


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


def _show(report: Report, *, is_json: bool, out: Path | None) -> None:
    text = msgspec.json.format(msgspec.json.encode(report)).decode()
    console = Console()
    if is_json:
        print(text)
    else:
        console.print(_table(report))
    if out is not None:
        out.write_text(text + "\n")
        Console(stderr=True).print(f"written to {out}", highlight=False, soft_wrap=True)


def _table(report: Report) -> Table:
    place = "the gateway alone on one core" if report.is_pinned else "cores not told apart"
    table = Table(
        title="What a request costs the gateway",
        caption=f"Python {report.versions['python']}, {report.cpu_count} cores, {place}. CPU: "
        "microseconds a request, user and system, all threads of its process; least: in the "
        "quietest of ten rounds, because a busy machine only adds. Times in ms; direct: the same "
        "load without a gateway.",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("path", no_wrap=True)
    for name in (
        "at once",
        "sent",
        "CPU µs",
        "least",
        "req/s",
        "median",
        "p99",
        "direct median",
        "direct p99",
        "RSS MiB",
    ):
        table.add_column(name, justify="right")
    for each in report.measurements:
        table.add_row(each.scenario, *_cells(each))
    return table


def _cells(each: Measurement) -> list[str]:
    return [
        str(each.concurrency),
        str(each.requests),
        f"{each.gateway_cpu_us_per_request:.0f}",
        f"{each.gateway_cpu_us_least:.0f}",
        f"{each.requests_per_second:.0f}",
        f"{each.latency_ms_median:.2f}",
        f"{each.latency_ms_p99:.2f}",
        f"{each.direct_ms_median:.2f}",
        f"{each.direct_ms_p99:.2f}",
        f"{each.resident_mib:.0f}",
    ]


def _verdict(first: Measurement, at_most_us: float | None, console: Console) -> int:
    """Whether the first line keeps within the limit, where one was given."""
    spent = first.gateway_cpu_us_per_request
    if at_most_us is None or spent <= at_most_us:
        return 0
    console.print(
        f"[bold red]Too slow:[/] {first.scenario} at {first.concurrency} costs {spent:g} µs of "
        f"processor time a request, the limit is {at_most_us:g}",
        highlight=False,
        soft_wrap=True,
    )
    return FAILED_EXIT_CODE


if __name__ == "__main__":
    sys.exit(main())
