"""What one training is to make, of what; checked before a training library is loaded."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.folder import Folder
from distill.lessons import Lessons
from distill.lineage import Lineage, sha256_of
from distill.recipe import CannotTrain, Recipe


@dataclass(frozen=True, slots=True)
class Source:
    """The weights that a training begins with.

    ``base`` is a model folder or a GGUF file; ``parent`` the adapter of the generation before;
    ``template`` the GGUF file after which one is written, None where none is.
    """

    base: Path
    parent: Path | None
    template: Path | None


@dataclass(frozen=True, slots=True)
class Task:
    """All of it.  ``must_merge``: base and adapter are written as one model too."""

    source: Source
    lessons: Lessons
    recipe: Recipe
    lineage: Lineage
    folder: Folder
    must_merge: bool
    made_at: str

    def identity(self) -> dict[str, Any]:
        """All that the trained weights depend on: another of these is another training."""
        parent = self.source.parent
        return {
            "base": _fingerprint(self.source.base),
            "parent": sha256_of(_weights_in(parent)) if parent is not None else None,
            "data": self.lessons.sha256,
            "options": self.recipe.document(),
            "lineage": {"name": self.lineage.name, "generation": self.lineage.generation},
        }

    def missing(self) -> list[str]:
        """What of the wanted is not in the folder yet."""
        wanted = {
            "adapter": not self.recipe.full and self.folder.adapter,
            "merged": (self.recipe.full or self.must_merge) and self.folder.merged,
            "gguf": self.source.template is not None and self.folder.gguf,
        }
        return [name for name, path in wanted.items() if path and not path.exists()]


def checked(source: Source, recipe: Recipe) -> Source:
    """The same, where it can be trained from.  Raises CannotTrain."""
    base, parent = source.base, source.parent
    if not base.exists():
        raise CannotTrain(
            f"--base {base}: there is no such folder or file, and nothing is ever downloaded; "
            f"fetch a model first, such as by: hf download {base} --local-dir {base.name}"
        )
    if base.is_file() and base.suffix != ".gguf":
        raise CannotTrain(f"--base {base}: a folder of a model, or a .gguf file")
    if base.is_dir() and not (base / "config.json").is_file():
        raise CannotTrain(f"--base {base}: there is no config.json in it, so it is no model")
    if parent is not None:
        _check_parent(parent, recipe)
    if source.template is not None and not source.template.is_file():
        raise CannotTrain(f"{source.template}: there is no such file")
    return replace(source, base=base.resolve())


def _check_parent(parent: Path, recipe: Recipe) -> None:
    if recipe.full:
        raise CannotTrain("--full trains no adapter: go on from the parent's merged/ as --base")
    if recipe.rank is not None or recipe.alpha is not None:
        raise CannotTrain("--parent: --rank and --alpha are the parent's: leave them out")
    if not (parent / "adapter_config.json").is_file():
        raise CannotTrain(f"--parent {parent}: there is no adapter_config.json in it")


def _fingerprint(base: Path) -> dict[str, int]:
    """Names and sizes of what matters: a hash over a large model would take minutes."""
    files = [base] if base.is_file() else _weights_in(base) + sorted(base.glob("*.json"))
    return {path.name: path.stat().st_size for path in files}


def _weights_in(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
