"""``understudy record``: ask a data set's questions, write evaluation records."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from gateway.cascades import LoadedCascade, load_cascades
from gateway.config_file import ConfigError
from gateway.settings import read_secret
from gateway.wire.prospect import samples_wanted
from understudy.line_file import LineFile, LineFileError
from understudy.record.asking import Panel
from understudy.record.dataset import DatasetError, Item, Manner, read_dataset
from understudy.record.run import GivenUp, Watcher, Work, chosen_again, items_left, work_off
from understudy.record.summary import Summary

UNFINISHED = 1
CANNOT_START = 2
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it
# So many causes are told in full; the summary counts all of them.
MOST_CAUSES = 5


def record(
    *,
    dataset: Path,
    config: Path,
    out: Path,
    cascade: str | None = None,
    limit: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    concurrency: Annotated[int, Parameter(validator=Number(gte=1, lte=1024))] = 8,
    self_agreement: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    teacher: bool = True,
    instruction: str = "",
    temperature: Annotated[float, Parameter(validator=Number(gte=0))] = 0.0,
    max_tokens: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Ask a cascade's student and teacher a data set's questions, and write evaluation records.

    Run again it goes on where it stopped.  Ends with status 0 where every question has its record,
    1 where some are left, 130 where it was interrupted; the file is sound in all three cases.

    Parameters
    ----------
    dataset
        JSON lines, plain or gzipped; docs/evaluating.md says what a line may hold.
    config
        The YAML file with the cascades.
    out
        The file to write, or to go on with.
    cascade
        Which cascade; needed where the file has several.
    limit
        Only the first so many questions.
    concurrency
        How many questions are asked at a time.
    self_agreement
        Of how many questions the teacher is asked twice, to see how far it agrees with itself.
    teacher
        Whether the teacher answers.  Without it every question needs a right answer, and the
        teacher is taken to be right.
    instruction
        What goes before questions that are words alone.
    temperature
        For questions that are no whole request themselves.
    max_tokens
        The same; 256 unless said, 16 where a letter is enough.
    as_json
        Print the summary as JSON.
    """
    console = Console(stderr=True)
    manner = Manner(instruction, temperature, max_tokens)
    try:
        loaded = _chosen(load_cascades(config, read_secret), cascade)
        items = read_dataset(dataset, loaded.name, manner, limit)
        _refuse(items, self_agreement, is_teacher_asked=teacher)
        _refuse_alike(items, loaded)
        file = LineFile(out)
        run = _Run(Panel(loaded, is_teacher_asked=teacher), file, Summary(), console)
        with closing(file):
            status = run.perform(items, concurrency, self_agreement)
    except (ConfigError, DatasetError, LineFileError) as error:
        console.print(Text("Cannot record: ", style="bold red") + Text(str(error)), soft_wrap=True)
        return CANNOT_START
    if as_json:
        told = {"cascade": loaded.name, "out": str(out)}
        print(json.dumps(told | run.summary.document()))
    else:
        _show(run.summary, Console())
    return status


@dataclass(frozen=True, slots=True)
class _Run:
    panel: Panel
    file: LineFile
    summary: Summary
    console: Console

    def perform(self, items: Sequence[Item], concurrency: int, self_agreement: int) -> int:
        """Ask what has no record yet; the command's exit status.  Raises LineFileError."""
        summary = self.summary
        left = items_left(items, self.file, self.panel.made_with, summary)
        if self.file.cut_bytes:
            cut = self.file.cut_bytes
            self.console.print(f"A last line that was cut short is gone: {cut} bytes.")
        if summary.records:
            self.console.print(f"{summary.records} records are there already, {len(left)} to go.")
        try:
            return self._work_off(Work(left, concurrency, chosen_again(items, self_agreement)))
        finally:
            summary.left_over = len(items) - summary.records

    def _work_off(self, work: Work) -> int:
        with _bar(self.console) as bar:
            task = bar.add_task("asking", total=len(work.items))

            def done() -> None:
                failed = self.summary.failed.total()
                bar.update(task, advance=1, description=f"asking, {failed} failed")

            def failed(detail: str) -> None:
                if self.summary.failed.total() <= MOST_CAUSES:
                    bar.console.print(Text(f"failed: {detail}"), soft_wrap=True)

            watcher = Watcher(done, failed)
            try:
                asyncio.run(work_off(work, self.panel, self.file, self.summary, watcher))
            except GivenUp as reason:
                bar.console.print(Text(f"Given up: {reason}", style="bold red"), soft_wrap=True)
                return UNFINISHED
            except KeyboardInterrupt:
                bar.console.print("Interrupted; run it again to go on.")
                return INTERRUPTED
        return UNFINISHED if self.summary.failed else 0


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def _chosen(cascades: Sequence[LoadedCascade], name: str | None) -> LoadedCascade:
    names = ", ".join(loaded.name for loaded in cascades)
    if name is None and len(cascades) > 1:
        raise ConfigError(f"there are several cascades, {names}: choose one with --cascade")
    for loaded in cascades:
        if name in (None, loaded.name):
            return loaded
    raise ConfigError(f"--cascade: there is no {name!r}, but {names}")


def _refuse(items: Sequence[Item], self_agreement: int, *, is_teacher_asked: bool) -> None:
    """Refuse what would be found out one question at a time, after money was spent."""
    if is_teacher_asked:
        return
    if self_agreement:
        raise DatasetError("--self-agreement asks the teacher, and --no-teacher does not")
    for item in items:
        if not item.gold:
            raise DatasetError(f"{item.id}: without a right answer it needs the teacher's")


def _refuse_alike(items: Sequence[Item], loaded: LoadedCascade) -> None:
    """Refuse questions of which the gateway asks for one draft where the cascade wants several."""
    config = loaded.config
    for item in items:
        if samples_wanted(item.chat, config.sampling, config.samples) != config.samples:
            raise DatasetError(
                f"{item.id}: {config.samples} drafts that always take the likeliest token are one: "
                "say --temperature, or one above 0 in the request, as your clients do"
            )


def _show(summary: Summary, console: Console) -> None:
    told = summary.document()
    table = Table("", "", show_header=False)
    table.add_row("records", str(told["records"]))
    table.add_row("written now", str(told["written"]))
    table.add_row("left over", str(told["left_over"]))
    for code, count in told["failed"].items():
        table.add_row(f"failed, {code}", str(count))
    if told["without_evidence"]:
        table.add_row("drafts without log-probabilities", str(told["without_evidence"]))
    table.add_row("student acceptable", _share(told["student_quality"]))
    assumed = " (assumed)" if told["assumed_teachers"] else ""
    table.add_row("teacher acceptable", _share(told["teacher_quality"]) + assumed)
    table.add_row("spent now, USD", _amount(told["spent_usd"]))
    console.print(table)
    if (again := told["self_agreement"]) is not None:
        console.print(
            f"Asked twice, the teacher disagreed with itself on {_share(again['disagreement'])} of "
            f"{again['records']} questions: no student can promise less.",
            soft_wrap=True,
        )


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def _amount(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6f}"
