"""What `kubectl kustomize` makes of deploy/kustomize: every overlay, and components over the base.

The manifests of a rendering are shared by all tests of a process, so nobody changes them.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.kubectl import kubectl

ROOT = Path(__file__).parents[2]
KUSTOMIZE = ROOT / "deploy/kustomize"
LARGEST = "overlays/gpu"
# All that is built lies here, so what is built stays right until one of these files changes.
SOURCES = (ROOT / "deploy", ROOT / "grafana/dashboards")
BUILT = Path(sys.prefix) / "cache/renderings"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Combination:
    """The base or an overlay, and components over it, as a user's own overlay names them.

    A component of deploy/kustomize/components goes by its name alone.  ``more`` is what else the
    overlay says, as JSON.  ``is_complete``: all is there that its parts speak of.
    """

    root: str
    components: tuple[str, ...] = ()
    more: str = "{}"
    is_complete: bool = field(default=True, compare=False)

    def __str__(self) -> str:
        return " + ".join((self.root, *self.components, *json.loads(self.more)))

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        return _combine(self)

    @property
    def folders(self) -> tuple[Path, ...]:
        """Of its components."""
        return tuple(
            KUSTOMIZE / (name if "/" in name else f"components/{name}") for name in self.components
        )

    @property
    def all_components(self) -> frozenset[str]:
        """Those of its root too."""
        found = {part for each in (KUSTOMIZE / self.root, *self.folders) for part in parts(each)}
        return frozenset(part.name for part in found if part.parent.name == "components")


@cache
def render(folder: Path) -> tuple[Manifest, ...]:
    """The manifests that a folder with a kustomization makes; built once per process."""
    return _read(_build(folder))


def names_of(kind: str) -> tuple[str, ...]:
    """The names of the ``overlays``, ``components`` or ``examples`` that there are."""
    found = (KUSTOMIZE / kind).glob("*/kustomization.yaml")
    return tuple(sorted(path.parent.name for path in found))


def _combinations() -> Iterator[Combination]:
    overlays = tuple(Combination(f"overlays/{name}") for name in names_of("overlays"))
    yield from overlays
    used = frozenset[str]().union(*(each.all_components for each in overlays))
    left_out = tuple(name for name in names_of("components") if name not in used)
    if left_out:
        yield Combination(LARGEST, left_out)
    yield Combination("base", is_complete=False)
    for name in names_of("components"):
        yield Combination("base", (name,), is_complete=False)
    for name in names_of("examples"):
        yield _with_example(f"examples/{name}")


def _with_example(name: str) -> Combination:
    """An example among the components of the largest overlay, in place of the one that it says.

    Without ``production``, which knows nothing of custom resources.
    """
    text = (KUSTOMIZE / name / "kustomization.yaml").read_text()
    replaced = set(re.findall(r"in place of components/([\w-]+)", text))
    others = sorted(Combination(LARGEST).all_components - replaced - {"production"})
    return Combination("base", (*others, name))


def parts(folder: Path) -> Iterator[Path]:
    """A folder with a kustomization, and those that it is made of."""
    yield folder.resolve()
    for each in _named_in(folder / "kustomization.yaml"):
        if (folder / each).is_dir():
            yield from parts(folder / each)


@cache
def _named_in(file: Path) -> tuple[str, ...]:
    kustomization = yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader)
    keys = ("resources", "components")
    return tuple(each for key in keys for each in kustomization.get(key) or ())


COMBINATIONS = tuple(_combinations())


@cache
def _combine(combination: Combination) -> tuple[Manifest, ...]:
    return _read(built(combination))


def _read(text: str) -> tuple[Manifest, ...]:
    return tuple(yaml.load_all(text, Loader=yaml.CSafeLoader))


def built(combination: Combination) -> str:
    """What kubectl makes of it, as YAML: what it made of the same sources before, where it did."""
    name = hashlib.sha256(repr(combination).encode()).hexdigest()
    kept = BUILT / _digest_of_sources() / f"{name}.yaml"
    if not kept.exists():
        text = build(combination)
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may come here at once: each writes beside, and the last one stays.
        with tempfile.TemporaryDirectory(dir=kept.parent) as beside:
            Path(beside, "text").write_text(text)
            Path(beside, "text").replace(kept)
    return kept.read_text()


def _digest_of_sources() -> str:
    """Of all that is built from, and of what builds; what was built of others is removed."""
    digest = hashlib.sha256(kubectl().encode())
    for source in SOURCES:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    if BUILT.is_dir():
        for other in BUILT.iterdir():
            if other.name != digest.hexdigest():
                shutil.rmtree(other, ignore_errors=True)
    return digest.hexdigest()


def build(combination: Combination) -> str:
    """What kubectl makes of it now, as YAML."""
    root = KUSTOMIZE / combination.root
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve()
        # kustomize takes folders outside its own by relative paths alone.
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "understudy",
            "resources": [os.path.relpath(root, folder)],
            "components": [os.path.relpath(each, folder) for each in combination.folders],
            **json.loads(combination.more),
        }
        (folder / "kustomization.yaml").write_text(json.dumps(kustomization))
        for generator in kustomization.get("configMapGenerator", ()):
            for name in generator.get("files", ()):
                _copy(root / name, folder / name)
        return _build(folder)


def _copy(original: Path, place: Path) -> None:
    """A file that an overlay has of its own: a copy of its root's, where that has one."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(original.read_text() if original.exists() else "{}")


def _build(folder: Path) -> str:
    command = [kubectl(), "kustomize", str(folder.resolve())]
    # A third of its time would go into collecting garbage of a process that ends at once.
    variables = {**os.environ, "GOGC": "400"}
    made = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env=variables
    )
    assert made.returncode == 0, f"{folder}: {made.stderr}"
    # Deprecated fields and the like: such an overlay stops building one day.
    assert not made.stderr, f"{folder}: {made.stderr}"
    return made.stdout
