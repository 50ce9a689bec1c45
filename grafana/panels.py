"""What a panel says, and how it becomes one of Grafana's; no other module knows the SDK's panels.

No panel can be made without a unit, how to read it, what to do, and why it may be empty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import assert_never

from grafana_foundation_sdk.builders import bargauge, common, heatmap, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import statetimeline as states
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import common as shared
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = shared.DataSourceRef(type_val="prometheus", uid="${datasource}")

# No narrower than two scrapes at Grafana's usual 15 s, so that a step of a graph holds something.
MIN_INTERVAL = "30s"

GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"
PURPLE, GREY = "purple", "#8e8e8e"


class Shape(Enum):
    """How a panel shows what it has."""

    NUMBER = auto()
    LINES = auto()
    STACK = auto()
    BARS = auto()
    TABLE = auto()
    HEAT = auto()
    STATES = auto()


@dataclass(frozen=True)
class Query:
    """One query.  ``name`` is its legend, with labels ({{cascade}}), or its column in a table."""

    promql: str
    name: str
    unit: str | None = None


@dataclass(frozen=True)
class Meaning:
    """What a reader is told: how to read the panel, what to do, and why there may be nothing."""

    reads: str
    act: str
    empty: str

    def __str__(self) -> str:
        return f"{self.reads}\n\n**What to do.** {self.act}"


@dataclass(frozen=True)
class Panel:
    """One panel.  ``id`` is for good: alerts link to it.  ``steps`` are (from this value, colour).

    ``dashed`` is a regular expression of names that are limits or expectations, no measurements;
    ``states`` maps values to words and colours, ``colours`` the names of series to theirs;
    ``runbook`` has headings of the runbook.
    ``period`` replaces the dashboard's range ("now/M": this month so far), ``earlier`` shifts it.
    """

    id: int
    title: str
    shape: Shape
    unit: str
    meaning: Meaning
    queries: tuple[Query, ...]
    width: int
    height: int = 8
    base: str = GREEN
    steps: tuple[tuple[float, str], ...] = ()
    lowest: float | None = None
    highest: float | None = None
    decimals: int | None = None
    dashed: str | None = None
    states: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    colours: Mapping[str, str] = field(default_factory=dict)
    runbook: tuple[str, ...] = ()
    period: str | None = None
    earlier: str | None = None


AnyBuilder = (
    timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel | heatmap.Panel | states.Panel
)


def build(panel: Panel, links: Sequence[dashboards.DashboardLink]) -> AnyBuilder:
    """The SDK's builder of a panel, with everything in it but its place."""
    builder = _shaped(panel)
    builder.id(panel.id).title(panel.title).description(str(panel.meaning))
    builder.datasource(DATASOURCE).interval(MIN_INTERVAL).links(list(links))
    builder.unit(panel.unit).no_value(panel.meaning.empty)
    builder.span(panel.width).height(panel.height)
    for ref, query in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", panel.queries, strict=False):
        builder.with_target(_target(panel.shape, ref, query))
    if panel.lowest is not None:
        builder.min(panel.lowest)
    if panel.highest is not None:
        builder.max(panel.highest)
    if panel.decimals is not None:
        builder.decimals(panel.decimals)
    if panel.period is not None:
        builder.time_from(panel.period)
    if panel.earlier is not None:
        builder.time_shift(panel.earlier)
    if panel.states:
        builder.mappings([_mapping(panel.states)])
    builder.thresholds(_thresholds(panel))
    return builder


def _shaped(panel: Panel) -> AnyBuilder:
    match panel.shape:
        case Shape.NUMBER:
            return _number()
        case Shape.LINES:
            return _lines(panel)
        case Shape.STACK:
            return _lines(panel).stacking(
                common.StackingConfig().mode(shared.StackingMode.NORMAL)
            ).fill_opacity(40)  # fmt: skip
        case Shape.BARS:
            return _bars()
        case Shape.TABLE:
            return _table(panel)
        case Shape.HEAT:
            return _heat()
        case Shape.STATES:
            return _states()
        case _:
            assert_never(panel.shape)


def _number() -> stat.Panel:
    return (
        stat.Panel()
        .graph_mode(shared.BigValueGraphMode.NONE)
        .color_mode(shared.BigValueColorMode.VALUE)
        .text_mode(shared.BigValueTextMode.AUTO)
        .reduce_options(_last())
    )


def _lines(panel: Panel) -> timeseries.Panel:
    builder = (
        timeseries.Panel()
        .line_width(2)
        .fill_opacity(0)
        .show_points(shared.VisibilityMode.AUTO)
        .color_scheme(
            dashboards.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC)
        )
        .legend(
            common.VizLegendOptions()
            .display_mode(shared.LegendDisplayMode.TABLE)
            .placement(shared.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(shared.TooltipDisplayMode.MULTI)
            .sort(shared.SortOrder.DESCENDING)
        )
    )  # fmt: skip
    if panel.steps:
        builder.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(shared.GraphThresholdsStyleMode.DASHED)
        )
    for name, colour in panel.colours.items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        builder.override_by_name(name, [model.DynamicConfigValue("color", fixed)])
    if panel.dashed is not None:
        dash = {"fill": "dash", "dash": [8, 6]}
        builder.override_by_regexp(
            f"/{panel.dashed}/", [model.DynamicConfigValue("custom.lineStyle", dash)]
        )
    return builder


def _bars() -> bargauge.Panel:
    return (
        bargauge.Panel()
        .orientation(shared.VizOrientation.HORIZONTAL)
        .display_mode(shared.BarGaugeDisplayMode.BASIC)
        .value_mode(shared.BarGaugeValueMode.TEXT)
        .show_unfilled(True)
        .reduce_options(_last())
    )


def _table(panel: Panel) -> table.Panel:
    """Rows of several queries become one where their labels are the same."""
    names = {f"Value #{ref}": q.name for ref, q in zip("ABCDEFGHIJ", panel.queries, strict=False)}
    names = names if len(panel.queries) > 1 else {"Value": panel.queries[0].name}
    builder = (
        table.Panel()
        .with_transformation(model.DataTransformerConfig("merge", options={}))
        .with_transformation(
            model.DataTransformerConfig(
                "organize",
                options={"excludeByName": {"Time": True}, "renameByName": names},
            )
        )
    )
    for query in panel.queries:
        if query.unit is not None:
            unit = [model.DynamicConfigValue("unit", query.unit)]
            builder.override_by_name(query.name, unit)
    return builder


def _heat() -> heatmap.Panel:
    return (
        heatmap.Panel()
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heat.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .scale(heat.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .show_legend()
    )


def _states() -> states.Panel:
    return (
        states.Panel()
        .merge_values(True)
        .show_value(shared.VisibilityMode.NEVER)
        .row_height(0.8)
        .fill_opacity(80)
        .legend(
            common.VizLegendOptions()
            .display_mode(shared.LegendDisplayMode.LIST)
            .placement(shared.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields("")


def _target(shape: Shape, ref: str, query: Query) -> Dataquery:
    target = (
        Dataquery().ref_id(ref).datasource(DATASOURCE).expr(query.promql).legend_format(query.name)
    )
    if shape is Shape.TABLE:
        return target.instant().format(PromQueryFormat.TABLE)
    if shape is Shape.HEAT:
        return target.range().format(PromQueryFormat.HEATMAP)
    return target.instant() if shape in (Shape.NUMBER, Shape.BARS) else target.range()


def _thresholds(panel: Panel) -> dashboards.ThresholdsConfig:
    return (
        dashboards.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([
            model.Threshold(None, panel.base),
            *(model.Threshold(value, colour) for value, colour in panel.steps),
        ])
    )  # fmt: skip


def _mapping(states: Mapping[str, tuple[str, str]]) -> model.ValueMap:
    return model.ValueMap({
        value: model.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(states.items())
    })  # fmt: skip
