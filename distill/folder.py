"""The folder of a training: what lies where, and how a half-written thing is never taken for whole.

A folder or file is written under another name and renamed; a checkpoint counts once its mark is
in it; the card comes last, and a folder with a card is a finished training.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.lineage import ADAPTER, CARD, MERGED
from distill.recipe import CannotTrain

BASE, CHECKPOINTS, TRAIL = "base", "checkpoints", "training.jsonl"
READABLE_CARD = "card.md"
_RUN, _MARK, _RESULT, _PARTIAL = "run.json", "whole", "result", ".partial"
_CHECKPOINT = "checkpoint-"


@dataclass(frozen=True, slots=True)
class Folder:
    """``root`` is what ``--out`` names."""

    root: Path

    @property
    def adapter(self) -> Path:
        """The adapter, as PEFT writes it."""
        return self.root / ADAPTER

    @property
    def merged(self) -> Path:
        """Base and adapter in one, or all that full training made."""
        return self.root / MERGED

    @property
    def base(self) -> Path:
        """The base as a model folder, where it came as GGUF."""
        return self.root / BASE

    @property
    def trail(self) -> Path:
        """The log of steps."""
        return self.root / TRAIL

    @property
    def gguf(self) -> Path:
        """Weights for llama.cpp."""
        return self.root / "student-q8_0.gguf"

    def stage(self, name: str) -> Path:
        """Where the checkpoints of a part of the training go."""
        return self.root / CHECKPOINTS / name

    def result(self, stage: str) -> Path:
        """The weights at the end of a part, kept until the whole training is done."""
        return self.stage(stage) / _RESULT

    def card(self) -> dict[str, Any] | None:
        """The card of a finished training; None where it is not finished."""
        try:
            card = json.loads((self.root / CARD).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            raise CannotTrain(f"{self.root / CARD} is no JSON") from None
        if not isinstance(card, dict):
            raise CannotTrain(f"{self.root / CARD} is no card of a training")
        return card

    def take(self, identity: Mapping[str, Any]) -> bool:
        """Whether this training was begun here before; else it begins.

        ``identity`` is all that its result depends on.  Raises CannotTrain where something else
        lies here.
        """
        note = self.root / CHECKPOINTS / _RUN
        wanted = json.loads(json.dumps(identity))
        if note.is_file():
            differing = _differing(json.loads(note.read_bytes()), wanted)
            if differing:
                raise CannotTrain(
                    f"{self.root} holds a training with another {', another '.join(differing)}: "
                    "choose another --out, or remove it"
                )
            return True
        if self.root.is_dir() and any(self.root.iterdir()) and not _is_begun(self.root):
            raise CannotTrain(f"{self.root} is not empty: choose another --out")
        note.parent.mkdir(parents=True, exist_ok=True)
        write_file(note, json.dumps(wanted, indent=1).encode())
        return False

    def last_checkpoint(self, stage: str) -> Path | None:
        """The newest whole checkpoint; those after it are cleared away."""
        found = sorted(self.stage(stage).glob(f"{_CHECKPOINT}*"), key=_step, reverse=True)
        for path in found:
            if (path / _MARK).is_file():
                return path
            shutil.rmtree(path)
        return None

    def tidy(self) -> None:
        """Clear away what only going on would have needed."""
        for path in (self.root / CHECKPOINTS).iterdir():
            if path.is_dir():
                shutil.rmtree(path)


def mark_whole(stage: Path, step: int) -> None:
    """Say that a checkpoint is complete."""
    write_file(stage / f"{_CHECKPOINT}{step}" / _MARK, b"")


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A path to write a file or folder to, which is at ``path`` once the block is left well."""
    beside = path.with_name(f".{path.name}{_PARTIAL}")
    _remove(beside)
    path.parent.mkdir(parents=True, exist_ok=True)
    yield beside
    _share(beside)
    _sync(beside)
    _remove(path)
    beside.rename(path)
    _sync_one(path.parent)


def write_file(path: Path, content: bytes) -> None:
    """A small file, there whole or not at all."""
    with written(path) as beside:
        beside.write_bytes(content)


def _is_begun(root: Path) -> bool:
    """Whether all there is comes from a training that was killed before it noted what it was."""
    inside = [path for path in root.rglob("*") if path.is_file()]
    return all(path.name == f".{_RUN}{_PARTIAL}" for path in inside)


def _differing(before: Any, wanted: Mapping[str, Any]) -> list[str]:
    if not isinstance(before, dict):
        return ["identity"]
    flat_before, flat_wanted = _flat(before), _flat(wanted)
    names = {**flat_before, **flat_wanted}
    return [name for name in names if flat_before.get(name) != flat_wanted.get(name)]


def _flat(told: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in told.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inside}": each for inside, each in _flat(value).items()}
        else:
            flat[name] = value
    return flat


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.removeprefix(_CHECKPOINT)
    return int(number) if number.isdecimal() else -1


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _share(path: Path) -> None:
    """What the umask grants: the libraries write weights for their owner alone, and who serves
    them is often another."""
    mask = os.umask(0o077)
    os.umask(mask)
    for each in path.rglob("*") if path.is_dir() else [path]:
        if each.is_file():
            each.chmod(0o666 & ~mask)


def _sync(path: Path) -> None:
    for each in [path, *path.rglob("*")] if path.is_dir() else [path]:
        _sync_one(each)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
