"""The report as tables, and below each what to do."""

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from understudy.doctor.findings import State
from understudy.doctor.report import Part, Report, Whose

_COLOURS = {
    State.OK: "green",
    State.SKIPPED: "dim",
    State.HINT: "yellow",
    State.AWAY: "bold magenta",
    State.PROBLEM: "bold red",
}


def show(report: Report, console: Console) -> None:
    """Print it all."""
    for title in dict.fromkeys(map(_title, report.parts)):
        parts = [part for part in report.parts if _title(part) == title]
        console.print(_table(title, parts))
        count = Counter(part.whose for part in parts)
        for part in parts:
            where = f" at {part.place}" if count[part.whose] > 1 else ""
            _advise(part, f"{part.whose}{where}", console)
    console.print(report.bill.words(), highlight=False)
    console.print(_verdict(report))


def _title(part: Part) -> str:
    if part.whose is Whose.MODEL:
        return "Models that clients ask by name"
    return part.cascade or "This machine, and Redis"


def _table(title: str, parts: list[Part]) -> Table:
    table = Table("", title=escape(title), title_justify="left")
    for heading in ("", "state", "seen"):
        table.add_column(heading, overflow="fold")  # names and addresses are to be copied whole
    for part in parts:
        table.add_row(f"[bold]{part.whose}", escape(part.name), "", escape(part.place))
        for finding in part.findings:
            state = Text(finding.state, style=_COLOURS[finding.state])
            table.add_row("", finding.subject, state, Text(finding.saw))
        table.add_section()
    return table


def _advise(part: Part, whom: str, console: Console) -> None:
    for finding in part.findings:
        if finding.advice:
            head = Text(f"{whom}, {finding.subject}: ", style=_COLOURS[finding.state])
            console.print(head + Text(finding.advice, style="default"), soft_wrap=True)


def _verdict(report: Report) -> str:
    problems, away = report.counts[State.PROBLEM], report.counts[State.AWAY]
    told = []
    if problems:
        told.append(f"[bold red]{problems} to mend.[/]")
    if away:
        told.append(f"[bold magenta]{away} away now.[/]")
    return " ".join(told) or "[green]Nothing must be mended."
