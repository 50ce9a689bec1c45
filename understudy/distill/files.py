"""Files of data sets: read with the card that vouches for them, written whole or not at all."""

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from distill.card import CARD_NAME, READABLE_NAME, Written, readable_card
from distill.dataset import (
    HOLDOUT,
    READABLE_FORMATS,
    TRAIN,
    DataError,
    Example,
    read_examples,
)
from distill.rows import Format
from understudy.telling import CommandError

PARTIAL = ".partial"
# Prompts and answers are for their owner.
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one format; ``holdout_bytes`` is its file as it is, None where there is none."""

    form: Format
    train: Sequence[Example]
    holdout: Sequence[Example]
    holdout_bytes: bytes | None


@dataclass(frozen=True, slots=True)
class DataSet:
    """A folder that its card vouches for.  ``sha256`` is the card's, and so tells sets apart."""

    folder: Path
    card: Mapping[str, Any]
    sha256: str
    parts: Sequence[Part]

    def part(self, form: Format) -> Part | None:
        """The rows of a format, where there are some."""
        return next((part for part in self.parts if part.form is form), None)

    @property
    def holdout(self) -> list[Example]:
        """The held-out rows of all formats."""
        return [example for part in self.parts for example in part.holdout]


def read_data_set(folder: Path) -> DataSet:
    """All rows that can be read back.  Raises CommandError, also where a file is not the card's."""
    try:
        told = (folder / CARD_NAME).read_bytes()
        card = msgspec.json.decode(told)
        files = {each["name"]: each for made in card["formats"].values() for each in made["files"]}
    except FileNotFoundError:
        raise CommandError(
            f"{folder}: has no {CARD_NAME}, so it holds no whole data set: name a folder that "
            "`understudy pairs export` or `understudy distill curate` has written"
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise CommandError(f"{folder / CARD_NAME}: is no data card") from None
    try:
        parts = [
            _part(folder, form, files) for form in READABLE_FORMATS if form.value in card["formats"]
        ]
    except DataError as error:
        raise CommandError(str(error)) from None
    if not parts:
        raise CommandError(
            f"{folder}: has neither sft nor dpo rows, which alone can be read back: export them"
        )
    return DataSet(folder, card, hashlib.sha256(told).hexdigest(), parts)


def _part(folder: Path, form: Format, files: Mapping[str, Mapping[str, Any]]) -> Part:
    read = {}
    for side in (TRAIN, HOLDOUT):
        name = file_name(form, side)
        read[side] = _vouched(folder / name, files[name]["sha256"]) if name in files else None
    train, holdout = (
        tuple(read_examples((content or b"").splitlines(), str(folder / file_name(form, side))))
        for side, content in read.items()
    )
    return Part(form, train, holdout, read[HOLDOUT])


def file_name(form: Format, side: str) -> str:
    """The name of a format's file."""
    return f"{form.value}-{side}.jsonl"


def _vouched(path: Path, sha256: str) -> bytes:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CommandError(
            f"{path}: is not the file that its card tells of: make the data set again"
        )
    return content


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which is there once the block is left well, and not before."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def write_lines(path: Path, lines: Sequence[bytes]) -> Written:
    """A file of lines, and what a card says of it."""
    content = b"".join(line + b"\n" for line in lines)
    return write_content(path, content, len(lines))


def write_content(path: Path, content: bytes, rows: int) -> Written:
    """A file as it is, and what a card says of it."""
    with written(path) as file:
        file.write(content)
    return Written(path.name, rows, len(content), hashlib.sha256(content).hexdigest())


def forget_card(folder: Path) -> None:
    """Take an older card and what it vouched for away: a folder without one holds no whole set."""
    try:
        card = msgspec.json.decode((folder / CARD_NAME).read_bytes())
        names = [each["name"] for made in card["formats"].values() for each in made["files"]]
    except (OSError, msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        names = []
    for name in (CARD_NAME, READABLE_NAME, *(Path(str(each)).name for each in names)):
        (folder / name).unlink(missing_ok=True)


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Both forms of a card; the one that vouches comes last."""
    with written(folder / READABLE_NAME) as file:
        file.write(readable_card(card).encode())
    with written(folder / CARD_NAME) as file:
        file.write(msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n")
