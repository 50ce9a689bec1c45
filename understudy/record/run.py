"""Works a data set off: so many questions at a time, each record written as soon as it is whole."""

import asyncio
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.line_file import LineFile, LineFileError
from understudy.record.asking import Panel, Unanswered
from understudy.record.dataset import Item
from understudy.record.summary import Summary

# A server that is down fails every question: there is no use in asking it thousands.
MOST_FAILURES_IN_A_ROW = 20


@dataclass(frozen=True, slots=True)
class Work:
    """What is left to ask, how many at a time, and of which the teacher is asked twice."""

    items: Sequence[Item]
    concurrency: int
    again: Collection[str]


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who hears what came of each item: ``done`` after every one, ``failed`` with the cause."""

    done: Callable[[], None]
    failed: Callable[[str], None]


class GivenUp(Exception):
    """Too many questions failed one after the other."""


def items_left(
    items: Sequence[Item],
    file: LineFile,
    made_with: Mapping[str, str | None],
    summary: Summary,
) -> list[Item]:
    """The items without a record; those that have one go into the summary.

    Raises LineFileError where the file holds what this run would not write.
    """
    known = {item.id: item for item in items}
    seen: set[str] = set()
    for record in file.lines():
        name = record["id"]
        if name in seen:
            raise LineFileError(f"{file.path}: the id {name!r} stands there twice: remove one")
        if name not in known:
            raise LineFileError(
                f"{file.path}: has a record {name!r} that this data set, or its first lines, has "
                "not: name another file, or a larger --limit"
            )
        wanted = {**made_with, "question": known[name].digest}
        told: Any = record.get("made_with") or {}
        if differing := sorted(key for key in wanted if told.get(key) != wanted[key]):
            raise LineFileError(
                f"{file.path}: the record {name!r} was made with another "
                f"{' and another '.join(differing)}: name another file"
            )
        seen.add(name)
        summary.add(record)
    return [item for item in items if item.id not in seen]


def chosen_again(items: Sequence[Item], count: int) -> frozenset[str]:
    """Of which items the teacher is asked twice: as good as random, and the same in every run."""
    ranked = sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest())
    return frozenset(item.id for item in ranked[:count])


async def work_off(
    work: Work, panel: Panel, file: LineFile, summary: Summary, watcher: Watcher
) -> None:
    """Ask every item and write its record; what fails is counted, and left for another run.

    Closes the panel, whose connections end with the loop that they were made in.  Raises GivenUp
    after MOST_FAILURES_IN_A_ROW.
    """
    coming = iter(work.items)
    worker = _Worker(panel, file, summary, watcher, work.again)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(work.concurrency):
                group.create_task(worker.run(coming))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        panel.close()
        await asyncio.sleep(0)  # an aborted connection is closed in the loop's next round


@dataclass(slots=True)
class _Worker:
    panel: Panel
    file: LineFile
    summary: Summary
    watcher: Watcher
    again: Collection[str]
    failures_in_a_row: int = 0

    async def run(self, coming: Iterator[Item]) -> None:
        for item in coming:
            try:
                answered = await self.panel.record(item, is_asked_again=item.id in self.again)
            except Unanswered as failure:
                self._note(failure)
            else:
                self.failures_in_a_row = 0
                self.file.append(answered.record)
                self.summary.written += 1
                self.summary.add(answered.record)
                self.summary.spend(answered.cost_pico)
            self.watcher.done()

    def _note(self, failure: Unanswered) -> None:
        self.summary.failed[failure.code] += 1
        self.summary.is_spent_known = False  # it may have cost something before it failed
        self.watcher.failed(failure.detail)
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= MOST_FAILURES_IN_A_ROW:
            raise GivenUp(
                f"{self.failures_in_a_row} questions failed one after the other, the last: "
                f"{failure.detail}"
            )
