"""A report as tables to read."""

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.export import ExportTimes
from bench.growth import GrowthReport
from bench.measure import Report
from bench.outage import OutageTimes
from bench.scores import ScoreTimes
from bench.side_by_side import HalfLoad, SideMeasurement, SideReport
from bench.stalls import StallLine, StallReport
from bench.steered import SteeredReport
from bench.streams import OpenStreams, StreamMeasurement, StreamReport
from bench.synthetic_report import SyntheticReport
from bench.token_costs import TokenReport
from bench.verdict import Verdict
from bench.whole import Measurement

AnyReport = (
    Report | ScoreTimes | OutageTimes | ExportTimes | GrowthReport | SyntheticReport | SteeredReport
)


def tables(report: AnyReport) -> Iterator[Table | str]:
    """What there is to show, in order."""
    if isinstance(report, ExportTimes):
        yield _export(report)
        return
    if isinstance(report, GrowthReport):
        yield _growth(report)
        return
    if isinstance(report, SyntheticReport):
        yield from _synthetic(report)
        return
    if isinstance(report, ScoreTimes):
        yield _score(report)
        return
    if isinstance(report, OutageTimes):
        yield _outage(report)
        return
    if isinstance(report, SteeredReport):
        yield _steered(report)
        return
    found = report.found
    if found.sides is not None:
        yield _sides(found.sides, report)
        yield from found.sides.not_measured()
        if found.sides.half is not None:
            yield _half(found.sides.half)
    if found.measurements:
        yield _whole(report)
    if found.tokens is not None:
        yield _tokens(found.tokens)
    if found.streams is not None:
        yield _streams(found.streams)
        if found.streams.open_streams is not None:
            yield _weight(found.streams.open_streams)
    if found.stalls is not None:
        yield _stalls(found.stalls)
    if report.verdicts:
        yield _verdicts(report.verdicts)


def _synthetic(report: SyntheticReport) -> Iterator[Table | str]:
    kinds = list(report.students[0].families)
    table = _table(
        "Synthetic rows where the student fails, against as many pairs of the traffic",
        f"{report.rows} rows were added, in {report.steps} steps from the same student. Shares of "
        "held-out questions, of the traffic: each kind counts by its share of that.",
        ("seed", "right", "all kinds alike", "escalated", *(f"{kind} right" for kind in kinds)),
    )
    for each in report.students:
        shares = (each.right, each.right_alike, each.escalated)
        right = [each.families[kind].right for kind in kinds]
        table.add_row(each.arm, str(each.seed), *(f"{share:.1%}" for share in (*shares, *right)))
    yield table
    for name, gap in report.differences.items():
        yield (
            f"targeted less untargeted, {name.replace('_', ' ')}: {gap.mean:+.1%} "
            f"({gap.least:+.1%} to {gap.most:+.1%} by seed)"
        )
    written = ", ".join(f"{count} like {name!r}" for name, count in report.by_cluster.items())
    yield f"The teacher wrote {written}, for {report.spent_usd} USD."


def _score(times: ScoreTimes) -> str:
    return (
        f"Judging a draft of {times.tokens} tokens by {times.trees} trees takes "
        f"{times.judged_us:g} µs, at the least {times.judged_us_least:g}: "
        f"{times.signals_us:g} for its signals, {times.rule_us:g} for confidence and merit."
    )


def _growth(report: GrowthReport) -> str:
    sizes = report.resident_mib
    return (
        f"Over {report.requests:,} requests, no two alike, memory went from {sizes[0]:g} to "
        f"{sizes[-1]:g} MiB (idle before: {report.idle_mib:g}). The trend is "
        f"{report.bytes_per_request:g} bytes a request, with 99% confidence at most "
        f"{report.bytes_per_request_at_most:g}."
    )


def _steered(report: SteeredReport) -> Table:
    table = _table(
        "What a kept answer takes, by whether its cascade is held to a promise",
        "Two gateways on one processor, in turns. CPU in µs a request, the audits' and the "
        "controller's share with it; quietest: the round that cost least. Latencies in ms, the "
        f"medians of the rounds' own. The promise was earned in {report.earned_after} requests; "
        f"{report.audits} audits were made since.",
        ("at once", "sent", "CPU", "quietest", "median", "p99"),
    )
    for each in report.lines:
        table.add_row(
            each.side,
            str(each.concurrency),
            str(each.requests),
            f"{each.cpu_us:.0f}",
            f"{each.cpu_us_least:.0f}",
            f"{each.latency_ms_median:.2f}",
            f"{each.latency_ms_p99:.2f}",
        )
    return table


def _outage(times: OutageTimes) -> Table:
    table = _table(
        "What an escalation takes, by what the store does",
        f"{times.concurrency} at once, the states in turns. Times in ms, to the answer's end; "
        "rounds: the medians of the quickest and the slowest round. In the end the store had all "
        f"{times.pairs} pairs.",
        ("sent", "median", "p99", "rounds"),
    )
    for each in times.measurements:
        rounds = f"{min(each.median_ms_rounds):.2f} to {max(each.median_ms_rounds):.2f}"
        median, high = f"{each.latency_ms_median:.2f}", f"{each.latency_ms_p99:.2f}"
        table.add_row(f"store {each.state}", str(each.requests), median, high, rounds)
    return table


def _export(times: ExportTimes) -> Table:
    table = _table(
        f"{times.pairs:,} pairs of {times.mean_bytes:,} bytes",
        f"{times.parquet_mib:,} MiB of Parquet; {times.rows:,} rows of SFT",
        ("seconds", "pairs/s", "peak MiB"),
    )
    table.add_row(
        "stream to Parquet",
        f"{times.drain_seconds:g}",
        f"{times.drain_pairs_per_second:,}",
        f"{times.drain_peak_mib:,}",
    )
    table.add_row(
        "Parquet to SFT",
        f"{times.consolidate_seconds:g}",
        f"{times.consolidate_pairs_per_second:,}",
        f"{times.consolidate_peak_mib:,}",
    )
    return table


def _table(title: str, caption: str, columns: Sequence[str], first: str = "path") -> Table:
    table = Table(
        title=title, caption=caption, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column(first, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _sides(sides: SideReport, report: Report) -> Table:
    place = "one core, on which they take turns" if report.is_pinned else "no core of their own"
    table = _table(
        "What a whole reply costs each gateway",
        f"{report.machine.processor}, {report.machine.cores} cores; the gateways have {place}. "
        f"Load: {report.found.load_generator}. CPU: microseconds a reply, user and system, all "
        "threads and processes; least: in the quietest round. Times in ms. direct: no gateway.",
        ("at once", "CPU µs", "least", "req/s", "median", "p99", "MiB"),
    )
    for each in sides.measurements:
        name = f"{each.name} {sides.versions.get(each.name, '')}".rstrip()
        table.add_row(name, *_side_cells(each))
    return table


def _side_cells(each: SideMeasurement) -> list[str]:
    return [
        str(each.concurrency),
        _rounded(each.cpu_us),
        _rounded(each.cpu_us_least),
        f"{each.requests_per_second:.0f}",
        _ms(each.latency_ms_median),
        _ms(each.latency_ms_p99),
        _rounded(each.resident_mib),
    ]


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _half(half: HalfLoad) -> str:
    return (
        f"At half of saturation, {half.rate:.0f} requests a second: median "
        f"{half.latency_ms_median:.2f} ms, p99 {half.latency_ms_p99:.2f}; without a gateway "
        f"{half.direct_ms_median:.2f} and {half.direct_ms_p99:.2f}."
    )


def _tokens(report: TokenReport) -> Table:
    table = _table(
        "What one more token of a stream costs",
        f"{report.concurrency} streams at once, {report.pause_ms} ms a token, a segment each: "
        f"streams of {report.long_tokens} tokens less such of {report.short_tokens}. CPU: "
        "microseconds a token; least: in the quietest round. busy: of one core, by the long ones.",
        ("CPU µs", "least", "over the relay", "busy"),
    )
    relay = report.costs[0].cpu_us
    for each in report.costs:
        cells = (f"{each.cpu_us:.1f}", f"{each.cpu_us_least:.1f}", f"{each.cpu_us / relay:.2f}")
        table.add_row(each.path, *cells, f"{each.busy:.0%}")
    return table


def _verdicts(verdicts: Sequence[Verdict]) -> Table:
    table = _table(
        "What is asked of the gateway", "", ("measured", "at most", ""), first="asked for"
    )
    for each in verdicts:
        limit, value = (f"{number:.3g} {each.unit}" for number in (each.limit, each.value))
        table.add_row(each.name, value, limit, "met" if each.is_met else "[red]missed[/]")
    return table


def _whole(report: Report) -> Table:
    place = "the gateway alone on one core" if report.is_pinned else "cores not told apart"
    table = _table(
        "What a request costs the gateway",
        f"Python {report.versions['python']}, {report.machine.cores} cores, {place}. CPU: "
        "microseconds a request, user and system, all threads of its process; least: in the "
        "quietest of ten rounds, because a busy machine only adds. Times in ms; direct: the same "
        "load without a gateway.",
        (
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
        ),
    )
    for each in report.found.measurements:
        table.add_row(each.scenario, *_whole_cells(each))
    return table


def _whole_cells(each: Measurement) -> list[str]:
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


def _streams(report: StreamReport) -> Table:
    table = _table(
        "When the first token comes, and what a token costs the gateway",
        f"{report.tokens} tokens, one a chunk, {report.pause_ms} ms each, by student and teacher. "
        "Times in ms, first: to the first token. direct: the student without a gateway. buffered: "
        "the same request not streamed, because a gateway that buffers has the first token when it "
        "has the last. CPU: all that a request costs, in microseconds over its answer's tokens; "
        "least: in the quietest round.",
        ("at once", "sent", "first, median", "first, p99", "whole, median", "CPU µs", "least"),
    )
    for each in report.measurements:
        table.add_row(each.path, *_stream_cells(each))
    return table


def _stream_cells(each: StreamMeasurement) -> list[str]:
    costs = (each.gateway_cpu_us_per_token, each.gateway_cpu_us_least)
    return [
        str(each.concurrency),
        str(each.streams),
        f"{each.first_token_ms_median:.1f}",
        f"{each.first_token_ms_p99:.1f}",
        f"{each.whole_ms_median:.1f}",
        *("" if cost is None else f"{cost:.0f}" for cost in costs),
    ]


def _stalls(report: StallReport) -> Table:
    large = ", ".join(f"{count} of {kind}" for kind, count in report.large.items())
    table = _table(
        "How late the event loop was, 50 times a second",
        f"{report.seconds:g} s with {report.requests:,} requests at {report.cpu_share:.0%} of a "
        f"core; prompts of a megabyte beside them: {large}; {report.scrapes} scrapes of "
        f"{report.series:,} series, {report.scrape_ms_median:.0f} ms each. Computing: what the "
        "loop's thread may have computed of the lag itself; the rest is the machine's.",
        ("looks", *(f"over {bound} ms" for bound in report.lag.over_ms), "all below"),
    )
    for line in (report.lag, report.computing):
        table.add_row(line.what, *_stall_cells(line))
    return table


def _stall_cells(line: StallLine) -> list[str]:
    most = "not known" if line.most_ms is None else f"{line.most_ms:g} ms"
    return [str(line.looks), *map(str, line.over_ms.values()), most]


def _weight(weighed: OpenStreams) -> str:
    return (
        f"{weighed.streams} open streams: {weighed.kib_each:.0f} KiB each "
        f"(RSS {weighed.resident_mib_before:.0f} MiB before, "
        f"{weighed.resident_mib_open:.0f} MiB at most)"
    )
