"""The picture of a run: quality and cost over the generations, PNG and SVG."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from understudy.demo.figures import Share
from understudy.demo.flywheel.figures import MILLION, Fate, Result, Tallies, all_of, learnable

FORMATS = ("png", "svg")
CASCADE, STUDENT, ESCALATED, TEACHER = "#1f77b4", "#2ca02c", "#d62728", "#777777"


def draw(result: Result, stem: Path) -> list[Path]:
    """Draw it to ``stem``.png and .svg; the same result gives the same files."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    shares, costs = figure.subplots(1, 2)
    _draw_shares(result, shares)
    _draw_costs(result, costs)
    for axes in (shares, costs):
        _label_generations(result, axes)
    paths = [stem.with_suffix(f".{each}") for each in FORMATS]
    with matplotlib.rc_context({"svg.hashsalt": stem.name}):
        for path in paths:
            figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else {})
    return paths


def _draw_shares(result: Result, axes: Axes) -> None:
    numbers = [turn.number for turn in result.turns]
    student = [all_of(turn.student).accuracy for turn in result.turns]
    cascade = [all_of(turn.cascade).accuracy for turn in result.turns]
    escalated = [all_of(turn.cascade).escalation for turn in result.turns]
    of_learnable = [learnable(turn.cascade).escalation for turn in result.turns]
    teacher = _value(all_of(result.teacher).accuracy)
    axes.axhline(teacher, color=TEACHER, linestyle=":", label="right, teacher alone")
    axes.plot(numbers, _values(cascade), "o-", color=CASCADE, label="right, cascade")
    axes.plot(numbers, _values(student), "s--", color=STUDENT, label="right, student alone")
    axes.plot(numbers, _values(escalated), "v-", color=ESCALATED, label="escalated")
    axes.plot(
        numbers, _values(of_learnable), "v:", color=ESCALATED, label="escalated, of the learnable"
    )
    axes.set(ylabel="share of held-out requests", ylim=(-0.03, 1.05))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _add_legend(axes)


def _draw_costs(result: Result, axes: Axes) -> None:
    numbers = [turn.number for turn in result.turns]
    axes.axhline(_usd(result.teacher), color=TEACHER, linestyle=":", label="teacher alone")
    cascade = [_usd(turn.cascade) for turn in result.turns]
    axes.plot(numbers, cascade, "o-", color=CASCADE, label="cascade")
    student = [_usd(turn.student) for turn in result.turns]
    axes.plot(numbers, student, "s--", color=STUDENT, label="student alone")
    axes.set(ylabel="USD per million requests", ylim=(0.0, None))
    _add_legend(axes)


def _add_legend(axes: Axes) -> None:
    """Above the lines: wherever else it stood, some run's lines would pass."""
    axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)


def _label_generations(result: Result, axes: Axes) -> None:
    names = [
        str(turn.number)
        if turn.fate in (Fate.FIRST, Fate.PROMOTED)
        else f"{turn.number}\n{turn.fate}"
        for turn in result.turns
    ]
    axes.set_xticks([turn.number for turn in result.turns], names)
    axes.set_xlabel("generation")
    axes.grid(visible=True, alpha=0.25)


def _value(share: Share) -> float:
    return share.part / share.whole if share.whole else 0.0


def _values(shares: Sequence[Share]) -> list[float]:
    return [_value(share) for share in shares]


def _usd(tallies: Tallies) -> float:
    return float(all_of(tallies).usd_per_request * MILLION)
