"""The page of a run in Markdown: what was run, where and when, what came of it, and the picture.

``python -m understudy.demo.flywheel.page RESULT.json PAGE.md`` writes that of an earlier run.
"""

import argparse
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from understudy.demo.flywheel.board import clock_time, row, usd
from understudy.demo.flywheel.figures import Fate, Result, Turn, all_of, checks, unlearnable
from understudy.demo.flywheel.picture import draw

PICTURES = "pictures"
CPU_INFO = Path("/proc/cpuinfo")
INTRODUCTION = """\
One command serves, collects what the teacher had to answer, trains the next student on it, measures
it, lets it in if it is better, and serves again. This page is one run of it, written by `--page`;
another seed or machine gives other figures.

**Who answers.** The student is SmolLM2-135M-Instruct by llama.cpp, at first as it comes from its
makers. The teacher is the demo's stand-in, which solves these tasks by rule: no strong model fits a
small machine. Prices are the demo's example.

**What is asked.** Four small clerk's jobs (dates, orders, numbers, names) without examples, of
which the student gets none right at first, and, a tenth of all requests, products of two four-digit
numbers, which a student of this size does not learn.

**How it is measured.** The same {held_out} held-out requests are sent through the gateway by the
official client after each generation; who answered, and what it cost, is what the gateway says of
each. None of them is ever in traffic, in training or in calibration. Beside a generation that
stayed outside stands what clients got of the one that served on."""
COLUMNS = (
    "generation", "trained on pairs", "steps", "student alone: right", "cascade: right",
    "escalated", "of the learnable", "of the products", "USD per million requests",
)  # fmt: skip


def page(result: Result, picture: Path) -> str:
    """The page; ``picture`` is the PNG as the page links to it."""
    asked = all_of(result.teacher).requests
    parts = [
        "# The flywheel, turning",
        INTRODUCTION.format(held_out=asked),
        _circumstances(result),
        f"![Shares and cost per generation]({picture.as_posix()})",
        _table(COLUMNS, map(_row, result.turns)),
        _lines_of_comparison(result),
        *(
            f"Generation {turn.number}, {turn.fate}: {turn.why}"
            for turn in result.turns
            if turn.why
        ),
        "## What it had to show",
        _table(
            ("", "", ""),
            [
                (check.name, "holds" if check.holds else "**fails**", check.told)
                for check in checks(result)
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def write(result: Result, path: Path) -> None:
    """Write the page to ``path``, and its picture into a folder beside it."""
    pictures = path.parent / PICTURES
    pictures.mkdir(parents=True, exist_ok=True)
    draw(result, pictures / path.stem)
    path.write_text(page(result, Path(PICTURES) / f"{path.stem}.png"), encoding="utf-8")


def this_machine() -> str:
    """The machine in words: how many cores, which, and the Python."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    python = platform.python_version()
    return f"{cores} cores of {_processor()}, no GPU, {platform.system()}, Python {python}"


def _processor() -> str:
    """What the system calls the processor; its architecture where it tells no more."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _circumstances(result: Result) -> str:
    rows = [
        ("command", f"`{result.command}`"),
        ("date", result.date),
        ("machine", result.machine),
        ("the run took", f"{clock_time(result.seconds)} (minutes:seconds)"),
        ("each policy promises", f"{result.target} of the teacher's, with probability 0.95"),
    ]
    return _table(("", ""), rows)


def _row(turn: Turn) -> tuple[str, ...]:
    generation, pairs, *rest = row(turn)
    steps = "" if turn.training is None else str(turn.training.steps)
    return (generation, pairs, steps, *rest)


def _lines_of_comparison(result: Result) -> str:
    teacher, last = all_of(result.teacher), result.turns[-1]
    student, products = all_of(last.student).accuracy, unlearnable(last.student).accuracy
    lines = [
        f"The teacher alone: {teacher.accuracy} right, {usd(result.teacher)} USD.",
        f"The last student alone: {student} right, {usd(last.student)} USD.",
        f"Of the products it gets {products} right.",
    ]
    live = sum(turn.under_way.requests for turn in result.turns)
    lost = sum(turn.under_way.unanswered for turn in result.turns)
    if any(turn.fate is not Fate.FIRST for turn in result.turns):
        lines.append(
            f"While candidates were tried, {live} live requests were sent; {lost} went unanswered."
        )
    return " ".join(lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the two paths and write the page."""
    parser = argparse.ArgumentParser(prog="understudy.demo.flywheel.page", description=__doc__)
    parser.add_argument("result", type=Path, help="flywheel.json of a run")
    parser.add_argument("page", type=Path, help="the page to write; its picture goes beside it")
    chosen = parser.parse_args(arguments)
    write(msgspec.json.decode(chosen.result.read_bytes(), type=Result), chosen.page)


if __name__ == "__main__":
    main()
