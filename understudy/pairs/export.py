"""``understudy pairs export``: take pairs out of the log, and make a data set of them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from gateway.stores.redis_keys import EXPORT_GROUP
from understudy.pairs.choice import Choice
from understudy.pairs.consolidate import consolidated, show, task_for
from understudy.pairs.drain import Course, Drained, Exporter
from understudy.pairs.places import place_at
from understudy.pairs.store import Source, opened
from understudy.telling import CommandError, perform

MOST_SECONDS = 366 * 86_400.0


def export(
    where: str,
    *,
    source: Source | None = None,
    choice: Choice | None = None,
    group: str = EXPORT_GROUP,
    trim: Annotated[bool, Parameter(negative=())] = False,
    reclaim_seconds: Annotated[float, Parameter(validator=Number(gte=0, lte=MOST_SECONDS))] = 300.0,
    consolidate: bool = True,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Write what is new in the log as Parquet parts, and make a data set of all parts.

    Run it again to go on; several may run at once, and share the work.  Killed at any moment it
    loses nothing, and what it wrote twice is dropped by consolidation.

    Parameters
    ----------
    where
        A folder, or an URL such as s3://bucket/pairs (with the fsspec library for it installed).
    group
        The consumer group: another group exports everything once more.
    trim
        Take out of the log what every group has acknowledged: it is in the parts.
    reclaim_seconds
        Take over what another exporter has had in hand for so long without finishing it.
    consolidate
        Whether to make the data set too; a worker beside others can leave it out.
    as_json
        Print what was exported, and the data card, as JSON.
    """
    source, choice = source or Source(), choice or Choice()

    def work() -> int:
        if not consolidate and choice != Choice():
            raise CommandError(
                "--no-consolidate makes no data set: leave out what says how to make one, and say "
                "it to pairs consolidate"
            )
        place = place_at(where)
        task = task_for(place, source, choice) if consolidate else None  # bad options come first
        with opened(source) as log, _spinner() as progress:
            course = Course(group, reclaim_seconds, trim)
            drained = Exporter(log, place, course).run(progress)
        if as_json:
            print(json.dumps(_document(drained)))
        else:
            _show(drained)
        if task is not None:
            task = task_for(place, source, choice)  # with what was asked for meanwhile
            show(consolidated(task), task.out, as_json=as_json)
        return 0

    return perform("export", work)


@contextmanager
def _spinner() -> Iterator[Callable[[Drained], None]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("exporting", total=None)

        def progress(drained: Drained) -> None:
            told = f"exporting: {drained.taken:,} read, {drained.pairs:,} in parts"
            bar.update(task, description=told)

        yield progress


def _document(drained: Drained) -> dict[str, Any]:
    return {
        "exported": drained.pairs,
        "deleted": drained.deleted,
        "unreadable": drained.unreadable,
        "reclaimed": drained.reclaimed,
        "trimmed": drained.trimmed,
        "elsewhere": drained.elsewhere,
        "parts": drained.parts,
    }


def _show(drained: Drained) -> None:
    lines = [f"Exported {drained.pairs:,} pairs in {len(drained.parts):,} parts."]
    if drained.deleted:
        lines.append(f"{drained.deleted:,} were to be deleted, and are not in them.")
    if drained.unreadable:
        lines.append(f"{drained.unreadable:,} entries are no pairs: they are under unreadable/.")
    if drained.trimmed:
        lines.append(f"Trimmed {drained.trimmed:,} entries from the log.")
    if drained.elsewhere:
        lines.append(
            f"{drained.elsewhere:,} more are in the hands of other exporters: where these are "
            "dead, run it again after --reclaim-seconds."
        )
    console = Console()
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
