"""A run over time, as a picture."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.outcomes import Floats
from evaluation.scenarios.measures import HOUR_SECONDS
from evaluation.scenarios.scenario import EscalationRate, Event, Quality, Scenario, Spend
from evaluation.scenarios.timeline import Timeline
from routing.money import PICO_PER_USD

FORMATS = ("png", "svg")
POINTS = 240  # of a line
OURS, ORACLE, LIMIT, OTHER = "#1f77b4", "#999999", "#d62728", "#2ca02c"

Panel = Callable[[Axes, Scenario, Timeline], None]


def draw(scenario: Scenario, run: Timeline, folder: Path) -> list[Path]:
    """The run's panels, one above the other, as PNG and SVG."""
    panels = panels_of(scenario, run)
    figure = Figure(figsize=(7.2, 1.7 * len(panels) + 0.5), layout="constrained")
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(rows, panels, strict=True):
        axes.grid(visible=True, alpha=0.25)
        panel(axes, scenario, run)
        for event in scenario.events:
            _mark(axes, event)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        axes.tick_params(labelsize=8)
        axes.set_ylim(bottom=0.0)
    rows[-1].set_xlabel("hours", fontsize=8)
    rows[-1].set_xlim(0.0, run.seconds / HOUR_SECONDS)
    paths = [folder / f"{scenario.name}.{each}" for each in FORMATS]
    with matplotlib.rc_context({"svg.hashsalt": scenario.name}):  # the same run, the same file
        for path in paths:
            figure.savefig(path, dpi=100, metadata={"Date": None} if path.suffix == ".svg" else {})
    return paths


def panels_of(scenario: Scenario, run: Timeline) -> list[Panel]:
    """Which panels tell something of this run."""
    objective = scenario.cascade.objective
    panels: list[Panel] = [_traffic, _bill, _kept, _threshold]
    if isinstance(objective, Quality):
        panels += [_disagreement, _audits]
    if isinstance(objective, EscalationRate | Spend):
        panels.append(_hours)
    if run["latency_seconds"].max() > run["latency_seconds"].min():
        panels.append(_teacher)
    return panels


# --- panels ---------------------------------------------------------------------------------


def _traffic(axes: Axes, scenario: Scenario, run: Timeline) -> None:
    _line(axes, run, run["served"], "requests / s", OURS)
    if run["denied"].any() or run["failed"].any():
        _line(axes, run, run["denied"] + run["failed"], "served degraded / s", LIMIT)
    if run["busy"].any():
        _line(axes, run, run["busy"], "for want of room / s", OTHER)


def _bill(axes: Axes, scenario: Scenario, run: Timeline) -> None:
    """USD per 1,000 requests."""
    served = _sums(run, run["served"])
    for name, sums, colour in (
        ("teacher alone", _sums(run, run["teacher_alone_pico"]), OTHER),
        ("oracle", _sums(run, run["served"] * run["oracle_pico"]), ORACLE),
        ("bill, USD / 1,000", _sums(run, run["spent_pico"]), OURS),
    ):
        if not np.isnan(sums).all():
            usd = 1000.0 * sums / PICO_PER_USD / np.maximum(served, 1.0)
            axes.plot(_hours_at(run), usd, color=colour, label=name, linewidth=1.2)


def _kept(axes: Axes, scenario: Scenario, run: Timeline) -> None:
    if not np.isnan(run["oracle_kept"]).all():
        _line(axes, run, run["oracle_kept"], "oracle keeps", ORACLE)
    _line(axes, run, run["kept_truly"], "share kept", OURS)


def _threshold(axes: Axes, scenario: Scenario, run: Timeline) -> None:
    _line(axes, run, run["threshold"], "threshold", OURS)
    if run["pressure"].any():
        _line(axes, run, run["pressure"], "pressure", LIMIT)


def _disagreement(axes: Axes, scenario: Scenario, run: Timeline) -> None:
    objective = scenario.cascade.objective
    assert isinstance(objective, Quality)  # noqa: S101 - panels_of asks nobody else
    axes.axhline(objective.disagreement_at_most, color=LIMIT, linewidth=1.0, label="promised")
    _line(axes, run, run["disagreement"], "true disagreement", OURS)
    if (run["unseen"] != run["disagreement"]).any():
        _line(axes, run, run["unseen"], "without noise", OTHER)


def _audits(axes: Axes, scenario: Scenario, run: Timeline) -> None:
    _line(axes, run, 60.0 * run["audits"], "audits / min", OURS)
    _line(axes, run, 60.0 * run["escalated"], "escalations / min", ORACLE)


def _hours(axes: Axes, scenario: Scenario, run: Timeline) -> None:
    """What the hour that ends then came to, beside what it may."""
    objective = scenario.cascade.objective
    if isinstance(objective, Spend):
        values, name = run.windows("spent_pico", HOUR_SECONDS) / PICO_PER_USD, "USD / hour"
        axes.axhline(objective.usd_per_hour, color=OTHER, linewidth=1.0, label="target")
        if objective.cap_usd_per_hour is not None:
            axes.axhline(objective.cap_usd_per_hour, color=LIMIT, linewidth=1.0, label="cap")
    else:
        assert isinstance(objective, EscalationRate)  # noqa: S101 - panels_of asks nobody else
        served = run.windows("served", HOUR_SECONDS)
        values = run.windows("escalated", HOUR_SECONDS) / np.maximum(served, 1.0)
        name = "escalated in the hour"
        axes.axhline(objective.at_most, color=OTHER, linewidth=1.0, label="target")
    ends = np.arange(run.seconds - len(values), run.seconds) / HOUR_SECONDS
    step = max(1, len(values) // POINTS)
    axes.plot(ends[::step], values[::step], color=OURS, label=name, linewidth=1.2)


def _teacher(axes: Axes, scenario: Scenario, run: Timeline) -> None:
    _line(axes, run, run["latency_seconds"], "teacher's latency, s", OURS)
    if run["waiting"].any():
        _line(axes, run, run["waiting"], "waiting", ORACLE)
    if run["limit"].max() > run["limit"].min():
        _line(axes, run, run["limit"], "calls, at most", OTHER)


def _mark(axes: Axes, event: Event) -> None:
    """When it began, and how long it went on."""
    began = event.at / HOUR_SECONDS
    axes.axvline(began, color="#444444", linewidth=0.8, linestyle="--")
    if seconds := getattr(event, "seconds", None):
        axes.axvspan(began, began + seconds / HOUR_SECONDS, color="#444444", alpha=0.08, lw=0)


# --- lines ----------------------------------------------------------------------------------


def _line(axes: Axes, run: Timeline, values: Floats, name: str, colour: str) -> None:
    width = _width(run)
    axes.plot(_hours_at(run), _sums(run, values) / width, color=colour, label=name, linewidth=1.2)


def _sums(run: Timeline, values: Floats) -> Floats:
    width = _width(run)
    whole = run.seconds // width * width
    return np.asarray(values[:whole].reshape(-1, width).sum(axis=1))


def _hours_at(run: Timeline) -> Floats:
    width = _width(run)
    return (np.arange(run.seconds // width) + 0.5) * width / HOUR_SECONDS


def _width(run: Timeline) -> int:
    """Seconds that are one point."""
    return max(1, run.seconds // POINTS)
