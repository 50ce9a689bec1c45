"""Pictures of an evaluation: PNG and SVG, the numbers of each in a JSON file beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FORMATS = ("png", "svg")
_COLOURS = {
    "random": "#999999",
    "mean_logprob": "#8c564b",
    "best_signal": "#1f77b4",
    "pre_generation": "#2ca02c",
    "learnt": "#d62728",
    "learnt_pre": "#ff7f0e",
    "policy": "#9467bd",
    "oracle": "#bbbbbb",
    "candidate": "#1f77b4",
    "incumbent": "#ff7f0e",
    "teacher": "#555555",
}


def draw_curves(document: Mapping[str, Any], names: Sequence[str], folder: Path) -> list[Path]:
    """Quality against the share escalated, with the bands that chance alone gives."""
    figure, axes = _figure()
    shares = document["share_escalated"]
    for name in names:
        curve = document["methods"][name]
        colour = _COLOURS.get(name)
        style = "--" if name in {"random", "oracle"} else "-"
        axes.plot(shares, curve["quality"], style, label=name, color=colour, linewidth=1.4)
        axes.fill_between(shares, curve["low"], curve["high"], color=colour, alpha=0.12, lw=0)
    axes.set(xlabel="share of requests escalated", ylabel="mean quality", xlim=(0.0, 1.0))
    return _save(figure, axes, folder / "curves", document)


def draw_spending(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Quality against cost per request of several cascades, and where each policy stands."""
    figure, axes = _figure()
    for name, curve in document["curves"].items():
        colour = _COLOURS.get(name)
        axes.plot(curve["cost"], curve["quality"], color=colour, label=name, linewidth=1.4)
        at = document["policies"][name]
        axes.plot(
            at["cost"], at["quality"], "o", color=colour, markersize=8, label=f"{name}'s policy"
        )
    teacher = document["teacher"]
    axes.plot(
        teacher["cost"], teacher["quality"], "*", color=_COLOURS["teacher"], markersize=11,
        label="teacher alone",
    )  # fmt: skip
    axes.axhline(document["target"], color="#555555", linewidth=1.0, linestyle=":", label="target")
    axes.set(xlabel=document["unit"], ylabel="mean quality", xlim=(0.0, None))
    return _save(figure, axes, folder / "curves", document)


def draw_promise(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Quality and disagreement against the share kept, and where the policy stands."""
    figure, axes = _figure()
    shares = document["kept_share"]
    axes.plot(shares, document["quality"], color="#2ca02c", label="quality / the teacher's")
    axes.plot(shares, document["disagreement"], color="#d62728", label="disagreement among kept")
    axes.axvline(document["policy"]["kept_share"], color="#555555", linewidth=1.0, label="policy")
    if document["policy"]["target"] is not None:
        target = document["policy"]["target"]
        axes.axhline(target, color="#555555", linewidth=1.0, linestyle=":", label="promised")
    axes.set(xlabel="share of requests kept", xlim=(0.0, 1.0), ylim=(0.0, None))
    return _save(figure, axes, folder / "curve", document)


def draw_reliability(document: Mapping[str, Any], names: Sequence[str], folder: Path) -> list[Path]:
    """Observed acceptance against stated confidence; a point's size is its share of records."""
    figure, axes = _figure()
    axes.plot((0, 1), (0, 1), "--", color="#999999", linewidth=1.0)
    for name in names:
        bins = [each for each in document[name] if each["confidence"] is not None]
        said = [each["confidence"] for each in bins]
        seen = [each["acceptable"] for each in bins]
        sizes = [8.0 + 200.0 * each["share"] for each in bins]
        axes.plot(said, seen, color=_COLOURS.get(name), label=name, linewidth=1.2)
        axes.scatter(said, seen, s=sizes, color=_COLOURS.get(name), alpha=0.7)
    axes.set(xlabel="stated confidence", ylabel="acceptable", xlim=(0, 1), ylim=(0, 1))
    return _save(figure, axes, folder / "reliability", document)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=True, alpha=0.25)
    return figure, axes


def _save(figure: Figure, axes: Axes, stem: Path, document: Mapping[str, Any]) -> list[Path]:
    axes.legend(fontsize=8)
    paths = [stem.with_suffix(f".{each}") for each in FORMATS]
    with matplotlib.rc_context({"svg.hashsalt": stem.name}):  # the same numbers, the same file
        for path in paths:
            figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else {})
    beside = stem.with_suffix(".json")
    beside.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return [*paths, beside]
