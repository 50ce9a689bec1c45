"""What all dashboards have in common: the variables, the links, and rows of panels in a grid."""

from collections.abc import Iterator
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from grafana.panels import DATASOURCE, Panel, build
from grafana.queries import FROM

TAG = "understudy"

# Nobody's address: where the repository's files are read is for those to say who run this.
RUNBOOK_BASE = "https://understudy.invalid/blob/main"
RUNBOOK = "${runbook_base:raw}/deploy/runbook.md"
GUIDE = "${runbook_base:raw}/docs/dashboards.md"


@dataclass(frozen=True)
class Section:
    """A row of the dashboard with its panels, left to right, then down."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """One dashboard.  ``uid`` is for good: alerts and other dashboards link to it."""

    uid: str
    title: str
    question: str
    since: str
    sections: tuple[Section, ...]

    @property
    def panels(self) -> Iterator[Panel]:
        """All panels, in reading order."""
        return (panel for section in self.sections for panel in section.panels)


def dashboard(board: Board, runbook_base: str = RUNBOOK_BASE) -> model.Dashboard:
    """A dashboard in Grafana's own form."""
    builder = (
        dashboards.Dashboard(board.title)
        .uid(board.uid)
        .description(board.question)
        .tags([TAG])
        .timezone("browser")
        .time(board.since, "now")
        .refresh("1m")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .editable()
        .link(_siblings())
        .link(_guide(board))
        .variables(_variables(runbook_base))
    )
    for section in board.sections:
        builder.with_row(dashboards.Row(section.title))
        for panel in section.panels:
            builder.with_panel(build(panel, _panel_links(panel)))
    built = builder.build()
    _number_rows(built, board)
    return built


def _number_rows(built: model.Dashboard, board: Board) -> None:
    """Rows need ids too; theirs lie a thousand above those of their first panels."""
    rows = [each for each in built.panels or [] if isinstance(each, model.RowPanel)]
    for row, section in zip(rows, board.sections, strict=True):
        row.id_val = 1000 + section.panels[0].id


def _variables(runbook_base: str) -> list[Builder[model.VariableModel]]:
    return [
        dashboards.DatasourceVariable("datasource")
        .label("Prometheus")
        .type("prometheus")
        .description("The Prometheus that scrapes the gateways."),
        _choice("namespace", "understudy_build_info", ".*")
        .label("Namespace")
        .description("Where the gateways run; nothing to choose where none was given."),
        _choice("job", 'understudy_build_info{namespace=~"$namespace"}', ".*")
        .label("Job")
        .description("Prometheus' name for a set of gateways: choose one where there are several."),
        _choice("cascade", f"understudy_policy_calibrated{{{FROM}}}", ".+")
        .label("Cascade")
        .description("Whose requests are shown; all has those for a model nobody configured too."),
        dashboards.TextBoxVariable("runbook_base")
        .label("Runbook at")
        .description("Where deploy/ and docs/ of the repository can be read.")
        .hide(model.VariableHide.HIDE_VARIABLE)
        .default_value(runbook_base)
        .current(model.VariableOption(selected=True, text=runbook_base, value=runbook_base)),
    ]  # fmt: skip


def _choice(label: str, series: str, everything: str) -> dashboards.QueryVariable:
    """A variable that offers what a label of these series says: one of it, several, or all."""
    return (
        dashboards.QueryVariable(label)
        .datasource(DATASOURCE)
        .query({"query": f"label_values({series}, {label})", "refId": label})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(everything)
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _siblings() -> dashboards.DashboardLink:
    return (
        dashboards.DashboardLink("Understudy")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .include_vars(True)
        .keep_time(True)
    )


def _guide(board: Board) -> dashboards.DashboardLink:
    return (
        dashboards.DashboardLink("How to read this")
        .type(model.DashboardLinkType.LINK)
        .icon("doc")
        .url(f"{GUIDE}#{board.uid.removeprefix('understudy-')}")
        .target_blank(True)
    )


def _panel_links(panel: Panel) -> list[dashboards.DashboardLink]:
    return [
        dashboards.DashboardLink(f"Runbook: {heading}")
        .type(model.DashboardLinkType.LINK)
        .url(f"{RUNBOOK}#{heading.lower()}")
        .target_blank(True)
        for heading in panel.runbook
    ]
