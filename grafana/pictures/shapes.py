"""How each kind of panel is drawn: honest plots of the same numbers, not Grafana's own pixels."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from grafana.pictures import tables
from grafana.pictures.answers import Answer, Series
from grafana.pictures.paper import EDGE, FAINT, INK, Box, Page
from grafana.pictures.values import written

COLOURS = {
    "green": "#3a9a4b",
    "yellow": "#d9a400",
    "orange": "#e5741f",
    "red": "#d03a3a",
    "blue": "#3772b8",
    "purple": "#7b52ab",
}
PALETTE = (
    "#3a9a4b", "#d9a400", "#3772b8", "#e5741f", "#d03a3a", "#7b52ab", "#1d9a9a", "#a04f7c",
    "#6b7a2c", "#555f6b",
)  # fmt: skip
TIME_STEPS = (60, 120, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 24 * 3600)
LEGEND_LINE = 15
MOST_LEGEND_LINES = 5

Drawing = Callable[[Page, Box, Mapping[str, Any], Answer], None]


def number(page: Page, box: Box, panel: Mapping[str, Any], answer: Answer) -> None:
    """Large values beside each other, in the colours of their thresholds."""
    series = answer.series
    width = box.width / len(series)
    for place, each in enumerate(series):
        middle = box.left + (place + 0.5) * width
        text = worded(panel, each.last)
        size = min(22.0, 1.05 * width / max(len(text), 1), box.height / 3.2)
        page.text(
            middle,
            box.top + box.height / 2 + (4 if len(series) == 1 else -2),
            text,
            fontsize=size,
            weight="bold",
            ha="center",
            va="center",
            color=threshold_colour(panel, each.last),
        )
        if len(series) > 1:
            page.text(middle, box.top + box.height - 4, each.name, ha="center", va="bottom")


def lines(page: Page, box: Box, panel: Mapping[str, Any], answer: Answer) -> None:
    """Lines over time, or areas on top of each other, with a legend of last and largest values."""
    series = answer.series
    shown = min(len(series), MOST_LEGEND_LINES)
    legend = LEGEND_LINE * (shown + 1)
    axes = page.axes(box.within(50, 4, 8, legend + 24))
    _plain(axes)
    defaults = panel["fieldConfig"]["defaults"]
    unit, custom = defaults["unit"], defaults.get("custom", {})
    colours = _colours(panel, series)
    if custom.get("stacking", {}).get("mode") == "normal":
        _stacked(axes, series, colours)
    else:
        _lined(axes, panel, series, colours)
    _limits(axes, defaults, series)
    _time_axis(axes, answer)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, unit)))
    _legend(page, box, panel, list(zip(series, colours, strict=True)))


def bars(page: Page, box: Box, panel: Mapping[str, Any], answer: Answer) -> None:
    """A horizontal bar for each series, its value at its end."""
    series = answer.series
    largest = max(each.last for each in series) or 1
    largest = panel["fieldConfig"]["defaults"].get("max", largest)
    height = min(box.height / len(series), 40)
    name_width = min(max(len(each.name) for each in series) * 6.2 + 10, box.width * 0.5)
    axes = page.axes(box.within(name_width, 4, 74, box.height - height * len(series) + 4))
    axes.set_axis_off()
    axes.set_xlim(0, largest)
    axes.set_ylim(len(series) - 0.5, -0.5)
    for place, each in enumerate(series):
        colour = threshold_colour(panel, each.last)
        axes.barh(place, largest, height=0.7, color=EDGE, alpha=0.4)
        axes.barh(place, each.last, height=0.7, color=colour)
        top = box.top + 4 + (place + 0.5) * (height * len(series) - 8) / len(series)
        page.text(box.left, top, each.name, va="center")
        value = worded(panel, each.last)
        page.text(box.left + box.width, top, value, ha="right", va="center", weight="bold")


def heat(page: Page, box: Box, panel: Mapping[str, Any], answer: Answer) -> None:
    """Buckets upwards, time to the right, the darker the more."""
    series = answer.series
    buckets = sorted(series, key=lambda each: float(each.labels["le"]))
    times = sorted({at for each in buckets for at, _ in each.points})
    cells: list[list[float]] = []
    below = dict.fromkeys(times, 0.0)
    for bucket in buckets:
        upto = {**below, **dict(bucket.points)}
        cells.append([max(upto[at] - below[at], 0) for at in times])
        below = upto
    axes = page.axes(box.within(50, 4, 70, 24))
    _plain(axes)
    step = times[1] - times[0] if len(times) > 1 else 1
    edges = [times[0] - step / 2, *(at + step / 2 for at in times)]
    finite = [min(float(each.labels["le"]), 1.0) for each in buckets]
    rows = [(edge, row) for edge, row in zip(finite, cells, strict=True)]
    if len(rows) > 1 and rows[-1][0] == rows[-2][0]:
        rows.pop()  # beyond 1 there is no confidence
    mesh = axes.pcolormesh(
        edges, [0.0, *(edge for edge, _ in rows)], [row for _, row in rows], cmap="Oranges"
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _time_axis(axes, answer)
    scale = page.axes(Box(box.left + box.width - 58, box.top + 4, 10, box.height - 28))
    bar = page.figure.colorbar(mesh, cax=scale)
    bar.outline.set_visible(False)
    scale.tick_params(labelsize=7, length=0, colors=FAINT)
    scale.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def states(page: Page, box: Box, panel: Mapping[str, Any], answer: Answer) -> None:
    """A bar for each series, in the colour of what it was at each time."""
    series = answer.series
    mapping = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    axes = page.axes(box.within(110, 4, 8, 46))
    _plain(axes)
    axes.grid(visible=False)
    for place, each in enumerate(series):
        times = [at for at, _ in each.points]
        step = times[1] - times[0] if len(times) > 1 else 60
        for at, value in each.points:
            colour = COLOURS[mapping[f"{value:g}"]["color"]]
            axes.barh(place, step, left=at, height=0.7, color=colour, linewidth=0)
        page_top = box.top + 4 + (place + 0.5) * (box.height - 50) / len(series)
        page.text(box.left, page_top, each.name, va="center", fontsize=7.5)
    axes.set_yticks([])
    axes.set_ylim(len(series) - 0.5, -0.5)
    _time_axis(axes, answer)
    left = box.left
    for told in mapping.values():
        page.text(left, box.top + box.height - 6, "■", va="bottom", color=COLOURS[told["color"]])
        page.text(left + 14, box.top + box.height - 6, told["text"], va="bottom")
        left += 30 + 7 * len(told["text"])


def worded(panel: Mapping[str, Any], value: float) -> str:
    """A value as the panel says it: by its word, or by number and unit."""
    defaults = panel["fieldConfig"]["defaults"]
    for mapping in defaults.get("mappings", ()):
        if (told := mapping["options"].get(f"{value:g}")) is not None:
            return str(told["text"])
    decimals = defaults.get("decimals")
    return written(value, defaults["unit"], None if decimals is None else int(decimals))


def threshold_colour(panel: Mapping[str, Any], value: float) -> str:
    """The colour of the highest threshold that a value reaches."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    reached = [step for step in steps if step["value"] is None or value >= step["value"]]
    return COLOURS[reached[-1]["color"]]


def _plain(axes: Axes) -> None:
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(EDGE)
    axes.grid(color=EDGE, linewidth=0.5)
    axes.tick_params(labelsize=7, length=0, colors=FAINT)
    axes.set_axisbelow(True)


def _lined(
    axes: Axes, panel: Mapping[str, Any], series: Sequence[Series], colours: Sequence[str]
) -> None:
    for each, colour in zip(series, colours, strict=True):
        times, values = zip(*each.points, strict=True)
        is_alone = len(each.points) == 1
        style = "--" if _is_dashed(panel, each.name) else "-"
        marker = "o" if is_alone else ""
        axes.plot(times, values, color=colour, linewidth=1.4, linestyle=style, marker=marker)
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]:
        largest = max(value for each in series for _, value in each.points)
        if step["value"] <= largest * 4:
            axes.axhline(step["value"], color=COLOURS[step["color"]], linewidth=0.9, linestyle=":")


def _colours(panel: Mapping[str, Any], series: Sequence[Series]) -> list[str]:
    """Those that the panel gives to names, and one after the other of the palette for the rest."""
    fixed = {
        override["matcher"]["options"]: each["value"]["fixedColor"]
        for override in panel["fieldConfig"].get("overrides", ())
        for each in override["properties"]
        if each["id"] == "color"
    }
    given = [fixed.get(each.name) for each in series]
    return [
        PALETTE[place % len(PALETTE)] if colour is None else COLOURS.get(colour, colour)
        for place, colour in enumerate(given)
    ]


def _is_dashed(panel: Mapping[str, Any], name: str) -> bool:
    return any(
        override["matcher"]["id"] == "byRegexp"
        and any(part in name for part in override["matcher"]["options"].strip("/").split("|"))
        for override in panel["fieldConfig"].get("overrides", ())
    )


def _stacked(axes: Axes, series: Sequence[Series], colours: Sequence[str]) -> None:
    times = sorted({at for each in series for at, _ in each.points})
    rows = [[dict(each.points).get(at, 0.0) for at in times] for each in series]
    axes.stackplot(times, rows, colors=colours, alpha=0.75, linewidth=0)


def _limits(axes: Axes, defaults: Mapping[str, Any], series: Sequence[Series]) -> None:
    low, high = axes.get_ylim()
    low = defaults.get("min", low)
    if high <= low or all(value == 0 for each in series for _, value in each.points):
        high = low + 1
    high += 0.06 * (high - low)
    axes.set_ylim(low, min(high, defaults.get("max", high) * 1.02))


def _time_axis(axes: Axes, answer: Answer) -> None:
    start, end = answer.start, answer.end
    axes.set_xlim(start, end)
    step = next((each for each in TIME_STEPS if (end - start) / each <= 6), TIME_STEPS[-1])
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda at, _: datetime.fromtimestamp(at, UTC).strftime("%H:%M"))
    )


def _legend(
    page: Page, box: Box, panel: Mapping[str, Any], named: Sequence[tuple[Series, str]]
) -> None:
    shown = named[:MOST_LEGEND_LINES]
    top = box.top + box.height - LEGEND_LINE * (len(shown) + 1) - 2
    right, middle = box.left + box.width - 4, box.left + box.width - 74
    rest = len(named) - len(shown)
    heading = f"and {rest} more" if rest else ""
    page.text(box.left + 16, top, heading, color=FAINT, fontsize=7)
    page.text(middle, top, "last", color=FAINT, fontsize=7, ha="right")
    page.text(right, top, "max", color=FAINT, fontsize=7, ha="right")
    for each, colour in shown:
        top += LEGEND_LINE
        dash = "╌" if _is_dashed(panel, each.name) else "━"
        page.text(box.left, top, dash, color=colour, weight="bold")
        page.text(box.left + 16, top, each.name, fontsize=7.5, color=INK)
        largest = max(value for _, value in each.points)
        page.text(middle, top, worded(panel, each.last), fontsize=7.5, ha="right")
        page.text(right, top, worded(panel, largest), fontsize=7.5, ha="right")


DRAWINGS: Mapping[str, Drawing] = {
    "stat": number,
    "timeseries": lines,
    "bargauge": bars,
    "table": tables.table,
    "heatmap": heat,
    "state-timeline": states,
}
