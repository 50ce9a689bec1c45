"""Pictures of the study: what the promise costs over time and by audit share, and how it breaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.promise.floors import Floor
from evaluation.promise.runs import BATCH, Course
from evaluation.promise.summary import Curves, Summary
from evaluation.promise.traffic import bill_of

_COLD, _WARM, _BROKEN, _ORACLE = "#1f77b4", "#2ca02c", "#d62728", "#555555"
_FLOORS = {Floor.ANYTIME: ":", Floor.ONE_LOOK: "-."}
_STARTS = ((_COLD, "cold"), (_WARM, "2,000 records"))
_DPI = 100

# What came of each audit share.
ByShare = Mapping[float, Summary]


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """One population's curves, without and with records of the past; ``oracle`` is a share kept."""

    oracle: float
    cold: Curves
    warm: Curves


def draw_over_time(told: Mapping[str, Told], path: Path) -> None:
    """Bill and kept share beside the oracle's, and the share that the labels could prove."""
    figure = Figure(figsize=(3.6 * len(told), 6.0), layout="constrained")
    rows = figure.subplots(2, len(told), sharex=True, squeeze=False)
    for (name, each), bill, kept in zip(told.items(), *rows, strict=True):
        _bill(bill, each)
        _kept(kept, each)
        bill.set(title=name)
        kept.set(xlabel="requests (thousands)")
    rows[0, 0].set(ylabel="bill of a request, teacher = 1")
    rows[1, 0].set(ylabel="share kept")
    rows[0, -1].legend(fontsize=7)
    rows[1, -1].legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=_DPI)


def draw_by_audit(told: Mapping[str, Sequence[ByShare]], path: Path) -> None:
    """The same at the end of the runs, by the share audited; each has cold runs and warm ones."""
    figure = Figure(figsize=(2.9 * len(told), 6.0), layout="constrained")
    rows = figure.subplots(2, len(told), sharex=True, squeeze=False)
    for (name, both), bill, kept in zip(told.items(), *rows, strict=True):
        for by_share, (colour, label) in zip(both, _STARTS, strict=True):
            shares = [100 * share for share in by_share]
            last = [each.then[max(each.then)] for each in by_share.values()]
            over, over_all = (100 * np.array(each) for each in zip(
                *((each.over, each.over_all) for each in last), strict=True
            ))  # fmt: skip
            bill.plot(shares, over, "o-", color=colour, label=f"{label}, now")
            bill.plot(shares, over_all, "s--", color=colour, label=f"{label}, from the start")
            kept.plot(shares, [each.kept for each in last], "o-", color=colour, label=label)
            if colour == _COLD:
                for floor, style in _FLOORS.items():
                    provable = [each.floors[floor] for each in last]
                    kept.plot(shares, provable, style, color=colour, lw=1.0, label=_provable(floor))
        oracle = next(iter(both[0].values())).oracle
        kept.axhline(oracle, color=_ORACLE, lw=1.0, label="oracle")
        bill.set(title=name, ylim=(0, None))
        kept.set(xlabel="audited, % of requests", ylim=(0.0, 1.1 * oracle))
        for axes in (bill, kept):
            axes.grid(visible=True, alpha=0.25)
    rows[0, 0].set(ylabel="bill over the oracle's, %")
    rows[1, 0].set(ylabel="share kept")
    rows[0, 0].legend(fontsize=7, loc="lower right")
    rows[1, -1].legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=_DPI)


def draw_risk(courses: Sequence[tuple[str, Course]], path: Path, runs: int = 12) -> None:
    """The true risk of the threshold in force in some runs of each rule, and alpha."""
    figure = Figure(figsize=(3.6 * len(courses), 3.4), layout="constrained")
    for axes, (name, course) in zip(figure.subplots(1, len(courses)), courses, strict=True):
        requests = np.arange(1, len(course.risk) + 1) * BATCH / 1000
        axes.plot(requests, 100 * course.risk[:, :runs], lw=0.7, alpha=0.7, color=_COLD)
        axes.axhline(100 * course.alpha, color=_BROKEN, lw=1.2, label="promised at most")
        axes.set(xlabel="requests (thousands)", ylim=(0, 100 * 4 * course.alpha))
        axes.set_title(f"{name}: {100 * course.ever_above:.3g}% of runs ever above", fontsize=9)
        axes.grid(visible=True, alpha=0.25)
        axes.legend(fontsize=7, loc="upper right")
    figure.axes[0].set(ylabel="true disagreement of the kept, %")
    figure.savefig(path, dpi=_DPI)


def _bill(axes: Axes, told: Told) -> None:
    requests = told.cold.requests / 1000
    for curves, (colour, name) in zip((told.cold, told.warm), _STARTS, strict=True):
        axes.plot(requests, curves.bill, color=colour, label=f"{name}, now")
        axes.plot(requests, curves.bill_all, color=colour, ls="--", label=f"{name}, from the start")
    oracle = float(bill_of(told.oracle))
    axes.axhline(oracle, color=_ORACLE, lw=1.0, label="oracle")
    axes.set(ylim=(0.9 * oracle, 1.08))
    axes.grid(visible=True, alpha=0.25)


def _kept(axes: Axes, told: Told) -> None:
    requests = told.cold.requests / 1000
    for curves, (colour, name) in zip((told.cold, told.warm), _STARTS, strict=True):
        axes.plot(requests, curves.kept, color=colour, label=name)
        axes.fill_between(
            requests, curves.kept_low, curves.kept_high, color=colour, alpha=0.12, lw=0
        )
    for floor, style in _FLOORS.items():
        provable = told.cold.floors[floor]
        axes.plot(requests, provable, style, color=_COLD, lw=1.0, label=_provable(floor))
    axes.axhline(told.oracle, color=_ORACLE, lw=1.0, label="oracle")
    axes.set(ylim=(0.0, 1.1 * told.oracle))
    axes.grid(visible=True, alpha=0.25)


def _provable(floor: Floor) -> str:
    return f"provable from cold's labels, {floor}"
