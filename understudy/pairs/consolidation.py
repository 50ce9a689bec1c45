"""Parts become a data set: the second half of an export.

Nothing is ever in memory as a whole: marks are in a DuckDB file, lines in a Parquet file beside it,
both in a folder for work that goes at the end.  The card is written last and taken away first: a
folder without a card holds no whole data set.
"""

import fcntl
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from distill.card import CARD_NAME, READABLE_NAME, Card, Content, Made, Step
from distill.deletions import Deletions
from distill.prompts import NORMALISATION
from distill.rows import Format, Manner
from understudy.pairs.choice import Choice
from understudy.pairs.converting import Converted, Parts, convert
from understudy.pairs.files import write_lines, write_records
from understudy.pairs.index import Index, opened_index
from understudy.pairs.parts import COMPRESSION, cascade_of, opened_part, part_paths
from understudy.pairs.places import Place
from understudy.pairs.sealed import Seals
from understudy.pairs.selecting import Selected, select
from understudy.pairs.unreadable import purge_unreadable
from understudy.telling import CommandError

_FILTERS = (
    "other_cascade", "other_reason", "other_time", "other_student_version", "other_confidence",
)  # fmt: skip
_CONSENT = (
    "tenant_may_not_train", "teacher_outputs_may_not_train", "content_dropped", "seal_broken",
)  # fmt: skip

_WORK = ".understudy-consolidating-"

# Told of what goes on: the step, rows done, and of how many.
Watcher = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be consolidated, and where to.

    ``wishes`` are the deletions by cascade; ``manners`` say by cascade how rows are written.
    """

    parts: Place
    out: Place
    choice: Choice
    cascade: str | None
    wishes: Mapping[str, Deletions]
    manners: Callable[[Sequence[str]], Mapping[str, Manner]]
    seals: Seals


def consolidate_parts(task: Task, watcher: Watcher) -> Card:
    """Make the data set, and take what was deleted out of the parts.

    Raises CommandError and OSError.
    """
    with _alone(task.parts):
        return _consolidated(task, watcher)


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """Rows are told by their numbers, which change where another takes deleted ones out."""
    if not place.is_local or not os.path.isdir(place.root):
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(_locked(Path(place.root)))
        except BlockingIOError:
            raise CommandError(
                f"{place.root}: another consolidation is at work there: consolidate again after it"
            ) from None
        yield


def _consolidated(task: Task, watcher: Watcher) -> Card:
    purge_unreadable(task.parts, task.wishes)
    paths = part_paths(task.parts)
    if not paths:
        raise CommandError(f"{task.parts.root}: has no parts: export some first")
    cascades = sorted({cascade_of(path) for path in paths})
    if task.cascade not in (None, *cascades):
        told = ", ".join(cascades)
        raise CommandError(f"--cascade: there are no parts of {task.cascade!r}, but of {told}")
    task.parts.sweep()
    with (
        _work_folder(task.parts) as folder,
        opened_index(folder, task.choice.memory_limit) as index,
    ):
        return _Consolidation(task, index, Parts(task.parts, paths, task.seals), watcher).run()


@contextmanager
def _work_folder(place: Place) -> Iterator[Path]:
    """On the parts' own disk where that is this machine's: what lies there are prompts.

    It is locked as long as its process lives, so that one that was killed can be cleared away.
    """
    above = Path(place.root if place.is_local else tempfile.gettempdir())
    for left in above.glob(f"{_WORK}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_WORK, dir=above))
    with _locked(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder.  Raises BlockingIOError where another process does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Consolidation:
    task: Task
    index: Index
    parts: Parts
    watcher: Watcher

    def run(self) -> Card:
        choice, index = self.task.choice, self.index
        self.parts.index(index, choice.holdout, self._counter("reading", None))
        index.choose(choice, self.task.cascade, self.task.wishes)
        before = self._forget_old()
        forms = [form for form in choice.formats if form.is_training_set]
        converted = self._convert(forms)
        formats = [self._make(form, converted.get(form)) for form in choice.formats]
        card = self._card(formats)
        written = {each.name for made in formats for each in made.files}
        for name in before - written:
            self.task.out.remove(name)
        self._write_card(card)
        self._purge()
        return card

    def _counter(self, step: str, total: int | None) -> Callable[[int], None]:
        done = 0

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            self.watcher(step, done, total)

        self.watcher(step, 0, total)
        return advance

    def _convert(self, forms: Sequence[Format]) -> dict[Format, Converted]:
        if not forms:
            return {}
        cascades = self.index.rows("select distinct cascade from consented where obstacle is null")
        manners = self.task.manners([name for (name,) in cascades])
        total = self.index.value("select count(*) from consented where obstacle is null")
        advance = self._counter("converting", total)
        return convert(self.index, self.parts, forms, manners, advance)

    def _make(self, form: Format, converted: Converted | None) -> Made:
        lines = None if converted is None else converted.path
        selected = select(self.index, form, lines, self.task.choice)
        total = self.index.value(
            f"select count(*) from {selected.table} where cause is null"  # noqa: S608
        )
        advance = self._counter(f"writing {form.value}", total)
        out = self.task.out
        if converted is None:
            files = write_records(out, selected, self.parts, advance)
        else:
            files = write_lines(out, selected, form, advance)
        return Made(form.value, self._steps(selected, converted), files, _content(selected))

    def _steps(self, selected: Selected, converted: Converted | None) -> list[Step]:
        pairs = self.index.value("select count(*) from pairs where cause is null")
        steps = []
        if converted is not None:
            obstacles = self.index.causes("consented", "obstacle")
            consent = Step("consent", pairs, {cause: obstacles[cause] for cause in _CONSENT})
            form = Step("format", consent.came_out, converted.left_out)
            steps, pairs = [consent, form], form.came_out
        chosen = Step("choice", pairs, self.index.causes(selected.table, "cause"))
        return [*steps, chosen]

    def _card(self, formats: Sequence[Made]) -> Card:
        index, task = self.index, self.task
        causes = index.causes("pairs", "cause")
        records = Step(
            "records",
            index.count("marks"),
            {cause: causes[cause] for cause in ("deleted", "duplicate_id")},
        )
        filters = Step("filters", records.came_out, {cause: causes[cause] for cause in _FILTERS})
        finished = Step(
            "finished drafts", filters.came_out, {"completed_later": causes["completed_later"]}
        )
        oldest, newest = index.rows("select min(time), max(time) from pairs")[0]
        cascades = index.rows("select distinct cascade from marks order by all")
        trains = any(made.form != Format.PARQUET for made in formats)
        return Card(
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            source={
                "parts": len(self.parts.paths),
                "records": index.count("marks"),
                "cascades": [name for (name,) in cascades],
                "oldest": _time(oldest),
                "newest": _time(newest),
                "deletions": sum(map(len, task.wishes.values())),
            },
            options={"cascade": task.cascade, **task.choice.document()},
            versions={
                "understudy": version("understudy"),
                "prompt normalisation": NORMALISATION,
                **self._comparators(),
            },
            steps=[records, filters, finished],
            without_consent=index.without_consent() if trains else [],
            formats=formats,
            notes=_notes(formats),
        )

    def _comparators(self) -> dict[str, str]:
        if not {Format.DPO, Format.OPENAI_DPO} & set(self.task.choice.formats):
            return {}
        cascades = [name for (name,) in self.index.rows("select distinct cascade from marks")]
        manners = self.task.manners(cascades)
        return {f"comparator of {name}": manners[name].comparator.version for name in cascades}

    def _forget_old(self) -> set[str]:
        """Take an older card away, and say which files it vouched for."""
        out = self.task.out
        names: set[str] = set()
        no_card = (FileNotFoundError, msgspec.MsgspecError, KeyError, TypeError, AttributeError)
        with suppress(*no_card), out.reading(CARD_NAME) as file:
            for made in msgspec.json.decode(file.read())["formats"].values():
                names |= {Path(each["name"]).name for each in made["files"]}
        out.remove(CARD_NAME)
        out.remove(READABLE_NAME)
        return names

    def _write_card(self, card: Card) -> None:
        with self.task.out.writing(READABLE_NAME) as file:
            file.write(card.readable().encode())
        with self.task.out.writing(CARD_NAME) as file:
            file.write(card.encoded())

    def _purge(self) -> None:
        """Take what was deleted out of the parts themselves."""
        place = self.task.parts
        found = self.index.rows("select part, list(row) from pairs where is_deleted group by part")
        for number, rows in found:
            path = self.parts.paths[number]
            with opened_part(place, path) as part:
                table = part.read()
            gone = pa.array(rows, pa.int64())
            kept = table.filter(pc.invert(pc.is_in(pa.array(range(table.num_rows)), gone)))
            if kept.num_rows:
                with place.writing(path) as file:
                    pq.write_table(kept, file, compression=COMPRESSION)
            else:
                place.remove(path)


def _content(selected: Selected) -> Content:
    def counted(column: str) -> Counter[str]:
        return Counter({value or "(none)": count for value, count in selected.counted(column)})

    return Content(
        by_reason=counted("reason"),
        by_student_version=counted("student_version"),
        by_teacher_version=counted("teacher_version"),
        by_policy_version=counted("policy_version"),
        by_tenant=counted("tenant"),
        prompt_characters=Counter(dict(selected.buckets("prompt_characters"))),
        target_characters=Counter(dict(selected.buckets("target_characters"))),
    )


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _notes(formats: Sequence[Made]) -> list[str]:
    return [f"{made.form}: nothing is left to learn from" for made in formats if not made.files]
