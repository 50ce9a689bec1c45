"""``python -m bench.readme``: write the README's tables from the committed run, or compare them.

Between two marks of a name stands what that name makes of ``bench/run.json``.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from bench.measure import Report
from bench.processes import ROOT
from bench.scenarios import ESCALATE, KEEP
from bench.side_by_side import DIRECT, SideReport

RUN = ROOT / "bench" / "run.json"
README = ROOT / "README.md"
AT = 32
_BLOCK = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- bench end -->)", re.DOTALL)
_NAMES = {
    KEEP.name: "**Understudy, kept**",
    ESCALATE.name: "**Understudy, escalated**",
    "relay": "a bare relay on uvicorn",
}
_STREAM_NAMES = {
    "direct": "the student without a gateway",
    "kept, buffered": "kept, the same cascade buffered",
}
_UNKNOWN = "–"


class NotMeasured(Exception):
    """The run lacks what a table shows; the message says what."""


def read_run(path: Path = RUN) -> Report:
    """A report, as ``./dev bench --out`` wrote it."""
    return msgspec.json.decode(path.read_bytes(), type=Report)


def filled(text: str, report: Report) -> str:
    """The text with each block made anew.  Raises NotMeasured, and KeyError for an unknown name."""

    def made(block: re.Match[str]) -> str:
        lines = _BLOCKS[block[2]](report)
        return block[1] + "\n".join(lines) + "\n" + block[3]

    return _BLOCK.sub(made, text)


def _replies(report: Report) -> Iterator[str]:
    """What whole replies cost everybody."""
    if (sides := report.found.sides) is None:
        raise NotMeasured("the run has no --scenario peers")
    concurrencies = sorted({each.concurrency for each in sides.measurements})
    yield (
        f"One run on {_when(report)}, {_where(report)}; load by {report.found.load_generator}. CPU "
        "in µs a reply, of all threads and processes; latency is what the gateway adds to the "
        "median of one request at a time."
    )
    yield ""
    numbers = [f"{number:,}" for number in concurrencies]
    yield from _head(
        ["", f"CPU at {numbers[0]} at once", *numbers[1:], "added latency", "memory when idle"]
    )
    names = list(dict.fromkeys(each.name for each in sides.measurements if each.name != DIRECT))
    for name in [*_of(names, _NAMES), *(name for name in names if name not in _NAMES)]:
        title = _NAMES.get(name, f"{name} {sides.versions.get(name, '')}")
        costs = [_cost(sides, name, number) for number in concurrencies]
        idle = sides.idle_mib.get(KEEP.name if name == ESCALATE.name else name)
        memory = _UNKNOWN if idle is None else f"{idle:.0f} MiB"
        yield _row([title, *costs, _added(sides, name), memory])
    yield ""
    yield f"The gateway takes about {sides.idle_mib[KEEP.name]:.0f} MiB when it is idle."
    yield from sides.not_measured()


def _tokens(report: Report) -> Iterator[str]:
    """What a token of a stream costs."""
    if (tokens := report.found.tokens) is None:
        raise NotMeasured("the run has no --scenario tokens")
    yield from _head(["one more token of a stream", "CPU µs", "over the relay's"])
    relay = tokens.costs[0].cpu_us
    for each in tokens.costs:
        yield _row([each.path, f"{each.cpu_us:.1f}", f"{each.cpu_us / relay:.1f}"])


def _streams(report: Report) -> Iterator[str]:
    """When the first token comes."""
    if (streams := report.found.streams) is None:
        raise NotMeasured("the run has no --scenario stream")
    yield from _head(
        ["answer", "at once", "first token, median", "p99", "whole answer", "CPU µs a token"]
    )
    for each in streams.measurements:
        cost = each.gateway_cpu_us_per_token
        yield _row(
            [
                _STREAM_NAMES.get(each.path, each.path),
                str(each.concurrency),
                _ms(each.first_token_ms_median),
                _ms(each.first_token_ms_p99),
                _ms(each.whole_ms_median),
                "" if cost is None else f"{cost:.0f}",
            ]
        )
    if (open_streams := streams.open_streams) is not None:
        yield ""
        yield f"{open_streams.streams:,} open streams hold {open_streams.kib_each:.0f} KiB each."


def _asked(report: Report) -> Iterator[str]:
    """What is asked of the gateway."""
    yield from _head(["asked for", "at most", "measured", ""])
    for each in report.verdicts:
        limit, value = (f"{number:.3g} {each.unit}" for number in (each.limit, each.value))
        yield _row([each.name, limit, value, "met" if each.is_met else "**missed**"])


_BLOCKS: Mapping[str, Callable[[Report], Iterator[str]]] = {
    "replies": _replies,
    "tokens": _tokens,
    "streams": _streams,
    "asked": _asked,
}


def _of(names: Sequence[str], order: Mapping[str, str]) -> list[str]:
    return [name for name in order if name in names]


def _cost(sides: SideReport, name: str, concurrency: int) -> str:
    line = sides.at(name, concurrency)
    return _UNKNOWN if line is None or line.cpu_us is None else f"{line.cpu_us:,.0f}"


def _added(sides: SideReport, name: str) -> str:
    direct, line = sides.at(DIRECT, 1), sides.at(name, 1)
    if direct is None or line is None:
        return _UNKNOWN
    return f"{line.latency_ms_median - direct.latency_ms_median:.2f} ms"


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"


def _when(report: Report) -> str:
    day = datetime.fromisoformat(report.date)
    return f"{day.day} {day:%B %Y}"


def _where(report: Report) -> str:
    machine = report.machine
    return (
        f"{machine.cores} cores of an {machine.processor}, {machine.system} {machine.kernel}, "
        f"Python {report.versions['python']} ({machine.interpreter})"
    )


def _head(cells: Sequence[str]) -> Iterator[str]:
    yield _row(cells)
    yield _row(["---"] * len(cells))


def _row(cells: Sequence[str]) -> str:
    return f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check as told by the arguments; the exit status."""
    parser = argparse.ArgumentParser(prog="bench.readme", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where it differs")
    parser.add_argument("--run", type=Path, default=RUN, metavar="FILE", help="what was measured")
    parser.add_argument("--page", type=Path, default=README, metavar="FILE", help="where it goes")
    options = parser.parse_args(arguments)
    text = options.page.read_text(encoding="utf-8")
    try:
        wanted = filled(text, read_run(options.run))
    except (NotMeasured, OSError, msgspec.MsgspecError) as error:
        sys.stderr.write(f"{options.run}: {error}\n")
        return 1
    if wanted == text:
        return 0
    if options.check:
        sys.stderr.write(
            f"{options.page} is not what {options.run} makes: run python -m bench.readme\n"
        )
        return 1
    options.page.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
