"""What a student is called: its base, its generation, its parent, and a hash of its weights."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.recipe import CannotTrain

ADAPTER, MERGED, CARD = "adapter", "merged", "card.json"
# How GGUF files are named after their quantisation: model.Q4_1.gguf, model-q8_0.gguf.
_QUANTISED = re.compile(r"[.-](?:I?Q[0-9]\w*|BF16|F16|F32)$", re.IGNORECASE)
_HUB_SNAPSHOT = re.compile(r"models--(?:.*--)?(?P<name>[^/]+)/snapshots/[0-9a-f]+$")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+")
_HASH_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a student comes from.  ``parent`` is the parent's version, where it has one."""

    name: str
    generation: int
    parent: str | None

    def version(self, sha256: str) -> str:
        """The student's version, by the hash of its weights."""
        return f"{self.name}-g{self.generation}-{sha256[:_HASH_DIGITS]}"


def lineage_of(
    base: Path, parent: Path | None, *, name: str | None, generation: int | None
) -> Lineage:
    """What is known before training.

    The card beside the parent's adapter, or beside a merged base, tells name and generation; what
    the caller says goes first.  Raises CannotTrain.
    """
    card = _card_of(parent if parent is not None else base)
    if parent is not None and card is None and generation is None:
        raise CannotTrain(
            f"{parent}: there is no {CARD} beside it that tells its generation: say --generation"
        )
    told = card or {}
    before = int(told.get("generation", 0))
    chosen = before + 1 if generation is None else generation
    if card is not None and chosen <= before:
        raise CannotTrain(f"--generation {chosen}: the parent is generation {before} already")
    named = tidied(name) if name is not None else told.get("name") or base_name(base)
    return Lineage(named, chosen, told.get("version"))


def base_name(base: Path) -> str:
    """A name by a path: of ``SmolLM2-135M-Instruct.Q4_1.gguf`` it is smollm2-135m-instruct."""
    found = _HUB_SNAPSHOT.search(base.as_posix())
    if found:
        return tidied(found["name"])
    if base.suffix == ".gguf":
        return tidied(_QUANTISED.sub("", base.stem))
    return tidied(base.resolve().name)


def tidied(name: str) -> str:
    """A name that goes into versions, file names and URLs.  Raises CannotTrain."""
    tidy = _NOT_IN_NAMES.sub("-", name.lower()).strip("-.")
    if not tidy:
        raise CannotTrain(f"--name {name!r}: a name has letters or digits")
    return tidy


def sha256_of(files: Iterable[Path]) -> str:
    """Of one file its hash, as sha256sum tells it; of several the hash of theirs, by name."""
    digests = []
    for path in sorted(files):
        with path.open("rb") as file:
            digests.append((path.name, hashlib.file_digest(file, "sha256").hexdigest()))
    if len(digests) == 1:
        return digests[0][1]
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests)
    return hashlib.sha256(lines.encode()).hexdigest()


def _card_of(weights: Path) -> dict[str, Any] | None:
    """The card of the training that made these weights."""
    if weights.name not in {ADAPTER, MERGED}:
        return None
    try:
        card = json.loads((weights.resolve().parent / CARD).read_bytes())
    except (OSError, ValueError):
        return None
    return card if isinstance(card, dict) and "generation" in card else None
