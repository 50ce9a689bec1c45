"""``understudy pairs consolidate``: parts that were exported become a data set."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from cyclopts import Parameter
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

from distill.card import Card
from distill.deletions import Deletions
from understudy.connecting import connect
from understudy.pairs.choice import Choice
from understudy.pairs.consolidation import Task, Watcher, consolidate_parts
from understudy.pairs.manners import manners_by
from understudy.pairs.places import Place, place_at
from understudy.pairs.sealed import Seals
from understudy.pairs.store import Log, Source
from understudy.pairs.wishes import saved_deletions
from understudy.telling import perform

DATASET = "dataset"


def consolidate(
    where: str,
    *,
    source: Source | None = None,
    choice: Choice | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Make a data set of exported parts: without doubles, filtered, split, with a data card.

    Needs no Redis.  Where one is named, deletions that were asked for since the export count too.

    Parameters
    ----------
    where
        The folder or URL that `understudy pairs export` wrote to.
    as_json
        Print the data card as JSON.
    """
    source, choice = source or Source(), choice or Choice()

    def work() -> int:
        task = task_for(place_at(where), source, choice)
        show(consolidated(task), task.out, as_json=as_json)
        return 0

    return perform("consolidate", work)


def task_for(parts: Place, source: Source, choice: Choice) -> Task:
    """What the options ask for.  Raises CommandError, and RedisError where it is away."""
    choice.span()  # a time that is none is said before anything is done
    wishes = dict(saved_deletions(parts))
    if source.redis_url:
        client = connect(source.redis_url)
        try:
            for cascade in cascades_of(parts):
                found = Log(client, cascade).deletions()
                wishes.setdefault(cascade, Deletions()).add(each for _, each in found)
        finally:
            client.close()
    out = place_at(choice.out) if choice.out else Place(parts.filesystem, parts.path(DATASET))
    return Task(parts, out, choice, source.cascade, wishes, manners_by(choice), Seals())


def cascades_of(parts: Place) -> list[str]:
    """The cascades that have parts."""
    folders = parts.matching("parts/cascade=*")
    return [folder.rpartition("cascade=")[2] for folder in folders]


def consolidated(task: Task) -> Card:
    """Do it, and show how far it is."""
    with watched() as watcher:
        return consolidate_parts(task, watcher)


@contextmanager
def watched() -> Iterator[Watcher]:
    """A bar on stderr for each step."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {}

        def watcher(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total)
            bar.update(tasks[step], completed=done)

        yield watcher


def show(card: Card, out: Place, *, as_json: bool) -> None:
    """Tell what the data set is."""
    told = card.document()
    if as_json:
        print(json.dumps(told))
        return
    console = Console()
    table = Table("format", "step", "in", "out", "left out")
    for form, steps in (
        ("all", told["steps"]),
        *((form, made["steps"]) for form, made in told["formats"].items()),
    ):
        for step in steps:
            left_out = ", ".join(f"{cause} {count:,}" for cause, count in step["left_out"].items())
            table.add_row(form, step["step"], f"{step['in']:,}", f"{step['out']:,}", left_out)
    console.print(table)
    for made in told["formats"].values():
        for each in made["files"]:
            console.print(
                f"{out.path(each['name'])}: {each['rows']:,} rows",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
    for note in told["notes"]:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"What it is made of: {out.path('card.md')}", highlight=False, markup=False, soft_wrap=True
    )
