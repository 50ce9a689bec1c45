"""What a student learns from: the rows of data sets, read and checked, and where they came from."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from distill.recipe import CannotTrain
from distill.rows import Format

# Files of a data set: what pairs export writes, and nothing else that lies in its folder.
TRAIN, HOLDOUT = f"{Format.SFT}-train.jsonl", f"{Format.SFT}-holdout.jsonl"
PREFERENCES = f"{Format.DPO}-train.jsonl"
_HOLDOUT_ENDING = "-holdout.jsonl"


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt and how to answer it; ``rejected`` is how not to, in a preference."""

    prompt: Sequence[Mapping[str, Any]]
    answer: Mapping[str, Any]
    rejected: Mapping[str, Any] | None
    tools: Sequence[Any] | None


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file that was read."""

    name: str
    rows: int
    sha256: str


@dataclass(slots=True)
class Lessons:
    """All rows, by what they are for; ``left_out`` counts rows by cause."""

    train: list[Lesson] = field(default_factory=list)
    holdout: list[Lesson] = field(default_factory=list)
    preferences: list[Lesson] = field(default_factory=list)
    files: list[DataFile] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    synthetic: int = 0

    @property
    def sha256(self) -> str:
        """Of all files, in their order."""
        digests = "\n".join(f"{each.sha256}  {Path(each.name).name}" for each in self.files)
        return hashlib.sha256(digests.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Row:
    id: str | None
    lesson: Lesson
    is_synthetic: bool


@dataclass(slots=True)
class _Sorting:
    """Puts rows where they belong, each id once on each side."""

    lessons: Lessons
    has_preferences: bool
    seen: dict[str, set[str]] = field(
        default_factory=lambda: {"train": set(), "holdout": set(), "preferences": set()}
    )

    def put(self, row: _Row, *, is_holdout: bool) -> None:
        is_preference = row.lesson.rejected is not None
        if is_preference and (is_holdout or not self.has_preferences):
            return
        side = "holdout" if is_holdout else "preferences" if is_preference else "train"
        left_out = self.lessons.left_out
        if not _says_something(row.lesson.answer):
            left_out["no_answer"] += 1
        elif row.id is not None and row.id in self.seen[side]:
            left_out["duplicate_id"] += 1
        elif row.id is not None and row.id in self.seen["holdout"]:
            left_out["held_out"] += 1
        else:
            getattr(self.lessons, side).append(row.lesson)
            self.lessons.synthetic += row.is_synthetic and not is_holdout
        if row.id is not None:
            self.seen[side].add(row.id)


def read_lessons(places: Sequence[Path], *, has_preferences: bool) -> Lessons:
    """The rows of folders of data sets and of single files.

    A row whose id is on the holdout's side of any of them is not learnt from.  A single file is
    held out where its name ends in ``-holdout.jsonl``.  Preferences are read where they are
    wanted.  Raises CannotTrain.
    """
    files = [file for place in places for file in _files_of(place, has_preferences=has_preferences)]
    sorting = _Sorting(Lessons(), has_preferences)
    # What is held out anywhere is known before anything is learnt.
    for path in sorted(files, key=lambda file: not _is_holdout(file)):
        rows = 0
        digest = hashlib.sha256()
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                digest.update(line)
                if line.strip():
                    rows += 1
                    sorting.put(_row(line, f"{path}:{number}"), is_holdout=_is_holdout(path))
        sorting.lessons.files.append(DataFile(str(path), rows, digest.hexdigest()))
    lessons = sorting.lessons
    if not lessons.train:
        why = listed(lessons.left_out) or "the files are empty"
        raise CannotTrain(f"{', '.join(map(str, places))}: there is nothing to learn from ({why})")
    if has_preferences and not lessons.preferences:
        raise CannotTrain(
            f"--dpo: there is no {PREFERENCES} with rows: pairs export --format sft --format dpo "
            "makes one, of the drafts that differ from the answer"
        )
    return lessons


def listed(counts: Mapping[str, int]) -> str:
    """Counts by cause, in words."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if count)


def _is_holdout(path: Path) -> bool:
    return path.name.endswith(_HOLDOUT_ENDING)


def _files_of(place: Path, *, has_preferences: bool) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise CannotTrain(f"{place}: there is no such file or folder")
    if not (place / TRAIN).is_file():
        raise CannotTrain(
            f"{place}: there is no {TRAIN} in it; pairs export and pairs consolidate make one"
        )
    names = [TRAIN, HOLDOUT, *([PREFERENCES] if has_preferences else [])]
    return [place / name for name in names if (place / name).is_file()]


def _row(line: bytes, place: str) -> _Row:
    """One line.  Raises CannotTrain: a file that is not of this form is not trained on in part."""
    try:
        row = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise CannotTrain(f"{place}: this is no JSON: {error}") from None
    if not isinstance(row, dict):
        raise CannotTrain(f"{place}: a row is an object with prompt and completion")
    rejected = None
    if "chosen" in row:
        answer = _answer(row, "chosen", place)
        rejected = _answer(row, "rejected", place)
    else:
        answer = _answer(row, "completion", place)
    return _Row(
        id=str(row["id"]) if row.get("id") is not None else None,
        lesson=Lesson(_prompt(row, place), answer, rejected, _tools(row, place)),
        is_synthetic=row.get("synthetic") is True,
    )


def _prompt(row: Mapping[str, Any], place: str) -> list[Mapping[str, Any]]:
    prompt = row.get("prompt")
    if not isinstance(prompt, list) or not prompt or not all(map(_is_message, prompt)):
        raise CannotTrain(f"{place}: prompt is a list of messages with role and content")
    return [_without_nothing(message) for message in prompt]


def _answer(row: Mapping[str, Any], name: str, place: str) -> Mapping[str, Any]:
    answer = row.get(name)
    if not isinstance(answer, list) or len(answer) != 1 or not _is_message(answer[0]):
        raise CannotTrain(f"{place}: {name} is a list of one message of the assistant")
    if answer[0]["role"] != "assistant":
        raise CannotTrain(f"{place}: {name} is said by the {answer[0]['role']}, not the assistant")
    return _without_nothing(answer[0])


def _tools(row: Mapping[str, Any], place: str) -> list[Any] | None:
    """A list, or its JSON text, as TRL takes it."""
    tools = row.get("tools")
    if isinstance(tools, str):
        try:
            tools = msgspec.json.decode(tools)
        except msgspec.DecodeError:
            tools = ()
    if tools is not None and not isinstance(tools, list):
        raise CannotTrain(f"{place}: tools is a list of functions, or its JSON text")
    return tools or None


def _is_message(message: object) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str | None)
    )


def _without_nothing(message: Mapping[str, Any]) -> dict[str, Any]:
    """Columns that other rows have read as null here; a chat template would print them."""
    kept = {name: value for name, value in message.items() if value is not None}
    return kept | {"content": kept.get("content", "")}


def _says_something(answer: Mapping[str, Any]) -> bool:
    return bool(answer["content"].strip() or answer.get("tool_calls"))
