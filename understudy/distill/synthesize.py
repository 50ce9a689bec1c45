"""``understudy distill synthesize``: the teacher writes rows where the student fails."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from distill import rubric, synthesis, writing
from distill.cluster_file import Cluster, read_clusters
from distill.curating import Known
from distill.dataset import DataError, Example
from distill.likeness import print_of
from distill.rows import Format
from distill.spending import Purse
from distill.synthesis import (
    DEFAULT_MOST_SHARE,
    Source,
    chosen_clusters,
    most_synthetic,
    shared_out,
    within,
)
from gateway.cascades import LoadedCascade
from gateway.comparing import EmbeddingConfig
from routing.money import usd
from understudy.distill.asking import Limits, Teacher, check_limits, chosen_cascade
from understudy.distill.files import DataSet, read_data_set, write_lines, written
from understudy.distill.journal import Journal, opened_journal
from understudy.distill.synthesizing import Bounds, Filter, Manner, Progress, Synthesis
from understudy.telling import INTERRUPTED, CommandError, perform

UNFINISHED = 1
MOST_PER_REQUEST = 50
_STOPPED = "interrupted"


def synthesize(
    *,
    data: Path,
    clusters: Path,
    config: Path,
    out: Path,
    cascade: str | None = None,
    limits: Limits | None = None,
    rows: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    most_share: Annotated[float, Parameter(validator=Number(gte=0, lt=1))] = DEFAULT_MOST_SHARE,
    cluster: Sequence[int] = (),
    filter_by: Annotated[Filter, Parameter(name="--filter")] = "agreement",
    per_request: Annotated[int, Parameter(validator=Number(gte=1, lte=MOST_PER_REQUEST))] = 10,
    max_tokens: Annotated[int, Parameter(validator=Number(gte=1))] = 1024,
    seed: int = 0,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Have a cascade's teacher write new prompts of failing clusters, and answer them.

    Run again it goes on where it stopped, and what was spent counts.  Ends with status 0 where all
    rows are there, 1 where some are missing; the file is sound in both cases.

    Parameters
    ----------
    data
        The folder of a data set, mostly a curated one: its rows are the examples, and nothing near
        them or near its holdout is written.
    clusters
        The clusters.json that came with it.
    config
        The YAML file with the cascades.
    out
        The file to write; its journal and its report lie beside it.
    cascade
        Which cascade's teacher; needed where the file has several.
    rows
        So many rows; as many as --most-share lets, unless said.
    most_share
        Synthetic rows are at most this share of what is trained on.
    cluster
        These clusters, and not all that fail; say it again for several.
    filter_by
        What a row must pass: two answers to its prompt that agree by the cascade's comparator; or,
        where they differ, that the teacher itself finds one better in both orders.
    per_request
        So many prompts are asked for at once.
    max_tokens
        So long may an answer be.
    seed
        Of the examples that are shown, and of what a server draws where it heeds it.
    as_json
        Print the report as JSON.
    """

    def work() -> int:
        source, loaded = read_data_set(data), chosen_cascade(config, cascade)
        manner = Manner(filter_by, per_request, max_tokens, seed)
        bounded = limits or Limits()
        _refuse(loaded, bounded)
        try:
            chosen = chosen_clusters(read_clusters(clusters.read_bytes(), str(clusters)), cluster)
            plan = _planned(source, chosen, rows, most_share)
        except DataError as error:
            raise CommandError(str(error)) from None
        settings = _settings(source, loaded, manner, plan)
        return _Job(loaded, bounded, manner, plan, settings).run(out, as_json=as_json)

    return perform("synthesize", work)


def _refuse(loaded: LoadedCascade, limits: Limits) -> None:
    if not loaded.config.teacher.outputs_may_train:
        raise CommandError(
            f"cascades.{loaded.name}.teacher.outputs_may_train is false: its licence does not let "
            "a student learn from its answers; set it where it does"
        )
    check_limits(loaded, limits)
    if isinstance(loaded.config.comparator, EmbeddingConfig):
        raise CommandError(
            f"cascades.{loaded.name}.comparator: embedding would ask a server about every answer: "
            "name a file with another comparator"
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    source: DataSet
    sources: Mapping[int, Source]
    wanted: Mapping[int, int]
    real: int
    synthetic: int


def _planned(source: DataSet, chosen: Sequence[Cluster], rows: int | None, share: float) -> _Plan:
    """Raises CommandError and DataError where there is nothing to do it with."""
    part = source.part(Format.SFT)
    if part is None or not part.train:
        raise CommandError(f"{source.folder}: has no sft rows: there is nothing to show a teacher")
    there = sum(example.is_synthetic for example in part.train)
    real = len(part.train) - there
    room = most_synthetic(real, share) - there
    if room <= 0:
        raise CommandError(
            f"--most-share: {there} synthetic rows beside {real} real ones leave no room below "
            f"{share:g}: have more real ones, or raise it"
        )
    by_id = {example.id: example for example in part.train}
    sources = {each.id: Source.of(each, by_id) for each in chosen}
    wanted = shared_out(chosen, room if rows is None else min(rows, room))
    return _Plan(source, sources, wanted, real, there)


def _settings(
    source: DataSet, loaded: LoadedCascade, manner: Manner, plan: _Plan
) -> dict[str, Any]:
    """What the rows of one journal have in common: other values make other rows."""
    teacher = loaded.config.teacher
    told = msgspec.json.encode([teacher.model, teacher.version, teacher.extra_body], order="sorted")
    return {
        "data": source.sha256,
        "teacher": hashlib.sha256(told).hexdigest()[:12],
        "comparator": loaded.config.comparator.comparator().version,
        "filter": manner.filter,
        "max tokens": manner.max_tokens,
        "seed": manner.seed,
        "clusters": [
            [number, [each.id for each in plan.sources[number].examples]]
            for number in sorted(plan.sources)
        ],
        "versions": [synthesis.VERSION, writing.VERSION, rubric.VERSION],
    }


@dataclass(frozen=True, slots=True)
class _Job:
    loaded: LoadedCascade
    limits: Limits
    manner: Manner
    plan: _Plan
    settings: Mapping[str, Any]

    def run(self, out: Path, *, as_json: bool) -> int:
        """Work, and write what came of it, whatever it was.  Raises CommandError."""
        purse = self.limits.purse()
        with opened_journal(out) as journal:
            journal.go_on(self.settings, purse)
            progress, why = self._worked(journal, purse)
        rows = within(self.plan.wanted, progress.accepted)
        report = self._report(progress, rows, purse, why)
        report["sha256"] = write_lines(out, [each.line for each in rows]).sha256
        with written(out.with_name(f"{out.stem}.card.json")) as card:
            card.write(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
        if as_json:
            print(json.dumps(report))
        else:
            _show(report, out)
        return INTERRUPTED if why == _STOPPED else 0 if why is None else UNFINISHED

    def _worked(self, journal: Journal, purse: Purse) -> tuple[Progress, str | None]:
        """What came of it, in earlier runs too, and why it ended before it was done."""
        progress, why = Progress(), None
        with _spinner() as advance:
            try:
                why = asyncio.run(self._work(progress, journal, purse, advance))
            except KeyboardInterrupt:
                why = _STOPPED
        return progress, why

    async def _work(
        self,
        progress: Progress,
        journal: Journal,
        purse: Purse,
        advance: Callable[[Progress], None],
    ) -> str | None:
        teacher = Teacher(self.loaded, self.limits, purse)
        comparator = self.loaded.config.comparator.comparator()
        work = Synthesis(
            teacher, comparator, self.manner, self._bounds(), self.plan.sources, journal
        )
        work.advance, work.progress = advance, progress
        work.recall()
        try:
            return await work.run()
        finally:
            teacher.close()
            await asyncio.sleep(0)  # an aborted connection is closed in the loop's next round

    def _bounds(self) -> Bounds:
        source = self.plan.source
        part = source.part(Format.SFT)
        looks = [print_of(example.prompt) for example in part.train] if part else []
        train, holdout = Known(looks), Known(looks)
        for example, look in zip(part.train if part else (), looks, strict=True):
            train.add(example, look)
        for example in source.holdout:
            holdout.add(example, print_of(example.prompt))
        return Bounds(train, holdout, self.plan.wanted)

    def _report(
        self, progress: Progress, rows: Sequence[Example], purse: Purse, why: str | None
    ) -> dict[str, Any]:
        plan, by_cluster = self.plan, Counter(each.cluster for each in rows)
        synthetic = plan.synthetic + len(rows)
        return {
            "accepted": len(rows),
            "wanted": sum(plan.wanted.values()),
            "unfinished": why,
            "by_cluster": {
                str(number): {
                    "name": plan.sources[number].cluster.name,
                    "accepted": by_cluster[number],
                    "wanted": wanted,
                }
                for number, wanted in plan.wanted.items()
            },
            "rejected": dict(sorted(progress.rejected.items())),
            "unanswered": progress.unanswered,
            "share": synthetic / (plan.real + synthetic),
            "requests": purse.requests,
            "spent_usd": usd(purse.spent_pico),
            "spent_is_exact": purse.is_exact,
            "teacher": self.loaded.config.teacher.version or self.loaded.config.teacher.model,
            "made_with": dict(self.settings),
        }


@contextmanager
def _spinner() -> Iterator[Callable[[Progress], None]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("writing", total=None)

        def advance(progress: Progress) -> None:
            told = f"{len(progress.accepted):,} rows, {progress.rejected.total():,} rejected"
            bar.update(task, description=told)

        yield advance


def _show(report: Mapping[str, Any], out: Path) -> None:
    console = Console()
    table = Table("cluster", "accepted", "wanted")
    for number, told in report["by_cluster"].items():
        table.add_row(f"{number}: {told['name']}", str(told["accepted"]), str(told["wanted"]))
    console.print(table)
    for cause, count in report["rejected"].items():
        console.print(f"rejected, {cause}: {count:,}", highlight=False)
    about = "" if report["spent_is_exact"] else "; of some calls nobody knows what they cost"
    console.print(
        f"{report['accepted']:,} rows in {out}, {report['share']:.1%} of what is trained on with "
        f"them; {report['requests']:,} calls, {report['spent_usd']} USD{about}.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if report["unfinished"] is not None:
        console.print(f"Not finished: {report['unfinished']}.", highlight=False, soft_wrap=True)
