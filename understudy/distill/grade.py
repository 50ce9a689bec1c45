"""``understudy distill grade``: the teacher as judge of drafts, and how far it can be believed."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from distill.agreement import against_another, against_labels, agreement_of
from distill.grading import GradeLine, Subject, grade_document, subjects_in, subjects_of
from distill.rows import Format
from distill.rubric import VERSION, Grade, Order, Verdict
from distill.spending import Purse, Spent
from evaluation.applied import apply_policy
from evaluation.errors import EvaluationError
from evaluation.records import read_records
from gateway.cascades import LoadedCascade
from routing.comparators import NoScore
from routing.money import usd
from understudy.distill.asking import (
    Account,
    GivenUp,
    Limits,
    Teacher,
    Unanswered,
    check_limits,
    chosen_cascade,
    gathered,
)
from understudy.distill.files import read_data_set, write_lines, written
from understudy.distill.journal import FAILED, Journal, opened_journal
from understudy.telling import INTERRUPTED, CommandError, perform

UNFINISHED = 1
GRADED = "graded"
_STOPPED = "interrupted"


def grade(
    *,
    config: Path,
    out: Path,
    data: Path | None = None,
    records: Path | None = None,
    cascade: str | None = None,
    limits: Limits | None = None,
    all_drafts: Annotated[bool, Parameter(negative=())] = False,
    against: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Have a cascade's teacher judge drafts beside its own answers, and write rewards.

    Run again it goes on where it stopped, and what was spent counts.  Ends with status 0 where all
    drafts are graded, 1 where some are left; the file is sound in both cases.

    Parameters
    ----------
    config
        The YAML file with the cascades.
    out
        The file of grades to write; its journal and its report lie beside it.
    data
        The folder of a data set: its rows of preferences are judged, rejected beside chosen.
    records
        Evaluation records: of those whose drafts the cascade's policy keeps, the draft is judged
        beside the teacher's answer.
    cascade
        Which cascade's teacher; needed where the file has several.
    all_drafts
        Judge all drafts of the records, also those that are escalated.
    against
        Another file of grades: how far the two judges agree is told.
    as_json
        Print the report as JSON.
    """

    def work() -> int:
        if (data is None) is (records is None):
            raise CommandError("say what to grade: --data or --records, one of them")
        loaded, bounded = chosen_cascade(config, cascade), limits or Limits()
        check_limits(loaded, bounded)
        others = None if against is None else _verdicts_in(against)
        if data is not None:
            found = _in_data(data)
        else:
            found = _in_records(Path(str(records)), loaded, is_all=all_drafts)
        return _Job(loaded, bounded, found).run(out, others, as_json=as_json)

    return perform("grade", work)


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is to grade, and what was left out of it, by cause."""

    subjects: Sequence[Subject]
    left_out: Mapping[str, int]


def _in_data(folder: Path) -> _Found:
    part = read_data_set(folder).part(Format.DPO)
    if part is None:
        raise CommandError(f"{folder}: has no rows of preferences: export it with --format dpo")
    return _Found(subjects_in([*part.train, *part.holdout]), {})


def _in_records(path: Path, loaded: LoadedCascade, *, is_all: bool) -> _Found:
    try:
        found = list(read_records(path))
        kept = [True] * len(found)
        if not is_all:
            kept = [bool(each) for each in apply_policy(loaded.policy, found).kept]
    except EvaluationError as error:
        raise CommandError(str(error)) from None
    gathered_ = subjects_of(found, kept)
    left_out = {"escalated": gathered_.escalated, "without_texts": gathered_.without_texts}
    return _Found(gathered_.subjects, left_out)


def _verdicts_in(path: Path) -> dict[str, Verdict]:
    try:
        lines = [
            msgspec.json.decode(line, type=GradeLine)
            for line in path.read_bytes().splitlines()
            if line.strip()
        ]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CommandError(f"--against: {path} is no file of grades: {error}") from None
    return {line.id: line.verdict for line in lines}


@dataclass(slots=True)
class _Graded:
    """The grades so far by place, what failed now, and why it ended early."""

    grades: dict[int, tuple[Grade, dict[str, Any]]] = field(default_factory=dict)
    failed: int = 0
    unfinished: str | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    loaded: LoadedCascade
    limits: Limits
    found: _Found

    @property
    def judge(self) -> str:
        """Whose grades they are."""
        return self.loaded.config.teacher.version or self.loaded.config.teacher.model

    def run(self, out: Path, others: Mapping[str, Verdict] | None, *, as_json: bool) -> int:
        """Judge, and write what came of it, whatever it was."""
        purse, graded = self.limits.purse(), _Graded()
        with opened_journal(out) as journal:
            journal.go_on({"rubric": VERSION, "judge": self.judge}, purse)
            self._recall(journal, graded)
            self._work_off(journal, purse, graded)
        lines = [graded.grades[place][1] for place in sorted(graded.grades)]
        write_lines(out, [msgspec.json.encode(line) for line in lines])
        report = self._report(graded, purse, others)
        with written(out.with_name(f"{out.stem}.card.json")) as card:
            card.write(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
        if as_json:
            print(json.dumps(report))
        else:
            _show(report, out)
        if graded.unfinished == _STOPPED:
            return INTERRUPTED
        return UNFINISHED if report["left_over"] else 0

    def _recall(self, journal: Journal, graded: _Graded) -> None:
        done = {(line["grade"]["id"], line["grade"]["subject"]): line["grade"]
                for line in journal.events(GRADED)}  # fmt: skip
        for place, subject in enumerate(self.found.subjects):
            line = done.get((subject.id, subject.digest))
            if line is not None:
                graded.grades[place] = _grade_in(line), dict(line)

    def _work_off(self, journal: Journal, purse: Purse, graded: _Graded) -> None:
        left = [place for place in range(len(self.found.subjects)) if place not in graded.grades]
        with _bar(len(left)) as advance:
            try:
                asyncio.run(self._ask(left, journal, purse, graded, advance))
            except KeyboardInterrupt:
                graded.unfinished = _STOPPED
            except (Spent, GivenUp) as why:
                graded.unfinished = str(why)

    async def _ask(
        self,
        left: Sequence[int],
        journal: Journal,
        purse: Purse,
        graded: _Graded,
        advance: Callable[[], None],
    ) -> None:
        teacher = Teacher(self.loaded, self.limits, purse)
        coming = iter(left)

        async def work() -> None:
            for place in coming:
                await self._grade(place, teacher, journal, graded)
                advance()

        try:
            await gathered([work() for _ in range(self.limits.concurrency)])
        finally:
            teacher.close()
            await asyncio.sleep(0)  # an aborted connection is closed in the loop's next round

    async def _grade(self, place: int, teacher: Teacher, journal: Journal, graded: _Graded) -> None:
        subject, account = self.found.subjects[place], Account()
        try:
            with journal.counting(account):
                given = await teacher.grade(subject.question, account)
        except Unanswered:
            graded.failed += 1
            return
        if isinstance(given, NoScore):
            graded.failed += 1
            journal.note(FAILED, account)
            return
        line = grade_document(subject, given, self.judge)
        line["cost_usd"] = usd(account.spent_pico) if account.is_exact else None
        journal.note(GRADED, account, grade=line)
        graded.grades[place] = given, line

    def _report(
        self, graded: _Graded, purse: Purse, others: Mapping[str, Verdict] | None
    ) -> dict[str, Any]:
        subjects = self.found.subjects
        grades = {subjects[place].id: grade for place, (grade, _) in graded.grades.items()}
        verdicts = {name: grade.verdict for name, grade in grades.items()}
        labelled = [
            (grade.verdict, ok)
            for place, (grade, _) in graded.grades.items()
            if (ok := subjects[place].ok) is not None
        ]
        return {
            **agreement_of(grade for grade, _ in graded.grades.values()).document(),
            "kappa_with_labels": against_labels(labelled),
            "kappa_with_another": None if others is None else against_another(verdicts, others),
            "left_over": len(subjects) - len(graded.grades),
            "failed": graded.failed,
            "left_out": dict(self.found.left_out),
            "unfinished": graded.unfinished,
            "rubric": VERSION,
            "judge": self.judge,
            "requests": purse.requests,
            "spent_usd": usd(purse.spent_pico),
            "spent_is_exact": purse.is_exact,
        }


def _grade_in(line: Mapping[str, Any]) -> Grade:
    read = msgspec.convert(dict(line), GradeLine)
    orders = tuple(
        Order(each.draft, each.answer, each.equal, each.first == "draft") for each in read.orders
    )
    return Grade(read.verdict, read.score, orders)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("judging", total=total)
        yield lambda: bar.advance(task)


def _show(report: Mapping[str, Any], out: Path) -> None:
    console = Console()
    table = Table("", "", show_header=False)
    for verdict, count in report["verdicts"].items():
        table.add_row(f"verdict {verdict}", f"{count:,}")
    for name in ("position_consistency", "first_share", "mean_score"):
        table.add_row(name.replace("_", " "), _number(report[name]))
    for name in ("kappa_with_labels", "kappa_with_another"):
        table.add_row(name.replace("_", " "), _number(report[name]))
    table.add_row("left over", f"{report['left_over']:,}")
    console.print(table)
    about = "" if report["spent_is_exact"] else "; of some calls nobody knows what they cost"
    console.print(
        f"{report['grades']:,} grades in {out}; {report['requests']:,} calls, "
        f"{report['spent_usd']} USD{about}.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if report["unfinished"] is not None:
        console.print(f"Not finished: {report['unfinished']}.", highlight=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
