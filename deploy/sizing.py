"""``python deploy/sizing.py``: how many gateways, students and teachers a load needs, at what cost.

The command alone: options, tables, JSON.  The standard library is all that it needs.  needs.py has
the arithmetic and the defaults, capacity.py the model servers' part of it, sizing.md the reasons.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

if __name__ == "__main__":  # Started as a file, it finds `deploy` from the folder above.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deploy.capacity import Fleet
from deploy.needs import Inputs, Plan, faults, plan

WEEK_SECONDS = 7 * 24 * 3600
WEEKLY_USERS = 300e6
# 18 billion messages a week of 700 million users: Chatterji et al. 2025, NBER working paper 34255.
WEEKLY_REQUESTS = 25.7
WORKED = (
    ("1/s", 1.0),
    ("10/s", 10.0),
    ("100/s", 100.0),
    ("1,000/s", 1000.0),
    ("10,000/s", 10_000.0),
    ("300 million weekly users", WEEKLY_USERS * WEEKLY_REQUESTS / WEEK_SECONDS),
)
# The load is what most people change, so its options have no prefix; nor have the targets'.
BARE = ("load", "targets")
SHOW = ("plan", "inputs", "worked")
# Below this a figure says no more than that it is none.
LEAST = 0.001


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: what, its number as text, and how it comes about."""

    what: str
    figure: str
    how: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was asked for; the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    inputs = _inputs(options)
    if found := list(faults(inputs)):
        parser.error("; ".join(found))
    if options.show == "worked":
        loads = [(name, _at(inputs, rate)) for name, rate in WORKED]
        told: Any = {name: as_json(each) for name, each in loads}
        table = worked_table(loads)
    elif options.show == "inputs":
        told = asdict(inputs)
        table = [("option", "default", "meaning"), *input_rows(inputs)]
    else:
        told = as_json(inputs)
        rows = plan_rows(inputs, plan(inputs))
        table = [("what", "figure", "how"), *((row.what, row.figure, row.how) for row in rows)]
    if options.json:
        text = json.dumps(told, indent=2)
    else:
        text = markdown(table) if options.markdown else plain(table)
    sys.stdout.write(text + "\n")
    return 0


def plan_rows(inputs: Inputs, needed: Plan) -> Iterator[Row]:
    """The plan, from the load to what gives way first."""
    load, fleets, both = inputs.load, needed.fleets, needed.shared
    yield Row("requests a second, mean", number(load.requests_per_second))
    yield Row("requests a second, peak", number(needed.peak), "mean × peak factor")
    yield from _server_rows("students", fleets.students, inputs.student.gpus)
    yield from _server_rows("teachers", fleets.teachers, inputs.teacher.gpus)
    mean_cpu = f"{needed.cpu_seconds * 1000:.2f} ms"
    yield Row("gateway: processor time of a request", mean_cpu, "by kind and tokens")
    yield Row("open requests", number(needed.open_requests), "Little: rate × time, of both models")
    yield Row("gateways needed", number(fleets.gateways.needed), "processors, open requests")
    yield Row("gateways running", number(fleets.gateways.running), "without one zone: as needed")
    yield Row("gateway: busy", share(fleets.gateways.queue.utilisation), "of its processor")
    yield Row("gateway: open requests", number(fleets.gateways.queue.sequences), "open ÷ needed")
    yield Row("pairs a second, mean", number(both.pairs_per_second), "mean × escalation rate")
    yield Row("a pair", f"{needed.pair_bytes / 1000:.0f} kB", "texts, log-probabilities")
    yield Row("journal of a gateway", f"{number(needed.journal_gib)} GiB", "peak, Redis away")
    yield Row("Redis' memory", f"{number(both.redis_gib)} GiB", "pairs × hours kept, ledger")
    yield Row("Redis' thread", share(both.redis_busy), "ledger of each gateway, pairs")
    yield Row("network with clients", f"{number(needed.client_mbits)} Mbit/s", "peak")
    yield Row("network with models", f"{number(needed.model_mbits)} Mbit/s", "peak")
    yield Row("Prometheus' series", number(both.series), "of the gateways alone")
    for line, usd in needed.bill.items():
        yield Row(f"USD a month: {line}", dollars(usd))
    yield Row("USD a month", dollars(needed.usd), "the lines above")
    yield Row("USD a month, teachers alone", dollars(needed.teacher_only_usd), "same targets")
    yield Row("saving", share(needed.saving), "against teachers alone")
    by_token = dollars(needed.teacher_by_token_usd)
    yield Row("USD a month: escalations by the token", by_token, "instead of the teachers' rent")
    for limit, used in needed.limits.items():
        yield Row(f"limits: {limit}", number(used), "of one cell's")
    first = max(needed.limits, key=lambda limit: needed.limits[limit])
    yield Row("cells", number(needed.cells), "the most of these, rounded up")
    yield Row("gives way first", first)


def _server_rows(name: str, fleet: Fleet, gpus: float) -> Iterator[Row]:
    queue = fleet.queue
    yield Row(f"{name} needed", number(fleet.needed), "utilisation and wait at the peak")
    yield Row(f"{name} running", number(fleet.running), "without one zone: as needed")
    yield Row(f"{name}' GPUs", number(fleet.running * gpus), "running × GPUs of a server")
    yield Row(f"{name}: utilisation", share(queue.utilisation), "peak ÷ capacity")
    yield Row(f"{name}: sequences at once", number(queue.sequences), "of one server")
    # As many digits as it has: deploy/sizing.md says how far to trust it.
    wait = f"about {float(f'{queue.wait_seconds:.1g}') * 1000:,.0f} ms"
    yield Row(f"{name}: wait to begin", wait, "slot and step")
    yield Row(f"{name}: an answer takes", f"{number(queue.latency_seconds)} s", "mean, wait too")


def worked_table(loads: Sequence[tuple[str, Inputs]]) -> list[tuple[str, ...]]:
    """A column for each load, without how its figures come about."""
    columns = [list(plan_rows(inputs, plan(inputs))) for _, inputs in loads]
    lines = [(rows[0].what, *(row.figure for row in rows)) for rows in zip(*columns, strict=True)]
    return [("what", *(name for name, _ in loads)), *lines]


def input_rows(inputs: Inputs) -> Iterator[tuple[str, str, str]]:
    """Every option with its value."""
    for part in fields(inputs):
        for option, default, told in _options(inputs, part.name):
            yield (f"`{option}`", f"{default:,g}", told)


def as_json(inputs: Inputs) -> dict[str, object]:
    """The inputs, and the plan with what follows from it."""
    needed = plan(inputs)
    derived = {"usd": needed.usd, "saving": needed.saving, "cells": needed.cells}
    return {"inputs": asdict(inputs), "plan": asdict(needed) | derived}


def number(value: float) -> str:
    """Three digits, or all of a whole part that has more."""
    if 0 < value < LEAST:
        return f"< {LEAST:g}"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def share(value: float) -> str:
    """In per cent."""
    return f"{value:.1%}"


def dollars(value: float) -> str:
    """Whole dollars."""
    return f"{value:,.0f}"


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A table as it stands in a page."""
    head, *lines = [f"| {' | '.join(line)} |" for line in table]
    return "\n".join([head, "|" + " --- |" * len(table[0]), *lines])


def plain(table: Sequence[Sequence[str]]) -> str:
    """A table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    padded = (
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        for line in table
    )
    return "\n".join(line.rstrip() for line in padded)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sizing",
        usage="python deploy/sizing.py [options]",
        description="What a load needs of gateways, students, teachers and Redis, what a month of "
        "it costs, and what gives way first. Measure your own servers before you buy: "
        "deploy/sizing.md says how.",
    )
    parser.add_argument(
        "--show",
        choices=SHOW,
        default=SHOW[0],
        help="the plan of one load, the options with their values, or the plans of reference loads "
        "side by side",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument(
        "--weekly-users",
        type=float,
        metavar="N",
        help="people who use it in a week; their requests take the place of --requests-per-second",
    )
    parser.add_argument(
        "--weekly-requests",
        type=float,
        default=WEEKLY_REQUESTS,
        metavar="N",
        help="requests of one of them in a week (default: %(default)s)",
    )
    inputs = Inputs()
    for part in fields(inputs):
        group = parser.add_argument_group(part.name)
        for option, default, told in _options(inputs, part.name):
            told_with_default = f"{told} (default: %(default)g)"
            group.add_argument(
                option, type=float, default=default, metavar="N", help=told_with_default
            )
    return parser


def _options(inputs: Inputs, part: str) -> Iterator[tuple[str, float, str]]:
    """Of one part of the inputs: option, default, meaning."""
    values = getattr(inputs, part)
    hints = get_type_hints(type(values), include_extras=True)
    for each in fields(values):
        _, told = get_args(hints[each.name])
        yield _option(part, each.name), getattr(values, each.name), told


def _option(part: str, name: str) -> str:
    return "--" + (name if part in BARE else f"{part}_{name}").replace("_", "-")


def _inputs(options: argparse.Namespace) -> Inputs:
    parts = {}
    for part in fields(Inputs):
        value = getattr(Inputs(), part.name)
        names = {each.name: _option(part.name, each.name) for each in fields(value)}
        given = {
            name: getattr(options, option[2:].replace("-", "_")) for name, option in names.items()
        }
        parts[part.name] = type(value)(**given)
    inputs = Inputs(**parts)
    if options.weekly_users is None:
        return inputs
    return _at(inputs, options.weekly_users * options.weekly_requests / WEEK_SECONDS)


def _at(inputs: Inputs, requests_per_second: float) -> Inputs:
    return replace(inputs, load=replace(inputs.load, requests_per_second=requests_per_second))


if __name__ == "__main__":
    sys.exit(main())
