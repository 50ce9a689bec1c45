"""What deploy/'s pages promise: Secrets that the reader makes, and kustomizations that build."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import yaml

from tests.deploy.rendering import COMBINATIONS, LARGEST, ROOT, Combination

PAGES = tuple(sorted((ROOT / "deploy").rglob("*.md")))
_CREATED = re.compile(r"\bcreate (secret generic|configmap) ([a-z0-9-]+)([^\n|&;]*)")
_KEY = re.compile(r"--from-(?:literal|file)[= ]'?\"?(?:([\w.-]+)=|(?:[^\s'\"]*/)?([\w.-]+))")

_MORE = frozenset({"configMapGenerator", "images", "patches", "replicas"})
_SHOWN = _MORE | {"apiVersion", "components", "kind", "namespace", "resources"}


@cache
def created() -> Mapping[tuple[str, str], frozenset[str]]:
    """The Secrets and ConfigMaps that a page tells the reader to create, and their keys."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for page in PAGES:
        for kind, name, keys in created_in(page.read_text(encoding="utf-8")):
            found[kind, name] = found.get((kind, name), frozenset()) | keys
    return found


def created_in(page: str) -> Iterator[tuple[str, str, frozenset[str]]]:
    """The lines with ``kubectl create secret generic NAME --from-…`` of a page, and the like."""
    for kind, name, rest in _CREATED.findall(_unrolled(page)):
        keys = frozenset(named or file for named, file in _KEY.findall(rest))
        yield "ConfigMap" if kind == "configmap" else "Secret", name, keys


def _unrolled(page: str) -> str:
    """Lines that go on joined, and a shell's loops over words on one line written out."""
    lines = re.sub(r"\\\n\s*", " ", page)
    loop = re.compile(r"\bfor (\w+) in ([^;\n]+); do (.*?); done")
    return loop.sub(
        lambda found: "; ".join(found[3].replace(f"${found[1]}", e) for e in found[2].split()),
        lines,
    )


@cache
def combinations() -> tuple[Combination, ...]:
    """The kustomizations that the pages show."""
    shown = [each for page in PAGES for each in combinations_in(page.read_text(encoding="utf-8"))]
    return tuple(dict.fromkeys(shown))


def combinations_in(page: str) -> Iterator[Combination]:
    """The ``yaml`` blocks of a page that are kustomizations, or parts of one over the largest.

    The folders may be written as paths or as addresses of this repository; only their ends count.
    """
    for block in re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        for document in yaml.safe_load_all(block):
            if isinstance(document, dict) and set(document) <= _SHOWN:
                yield _combination(document)


def _combination(shown: Mapping[str, Any]) -> Combination:
    ends = [_end(each) for each in shown.get("resources") or ()]
    roots = [each for each in ends if each == "base" or each.startswith("overlays/")]
    components = (_end(each).removeprefix("components/") for each in shown.get("components") or ())
    more = {key: value for key, value in shown.items() if key in _MORE}
    if shown.get("kind") == "Kustomization" and "namespace" not in shown:
        more["namespace"] = ""  # whoever copies a whole one gets what it says, and no more
    return Combination(next(iter(roots), LARGEST), tuple(components), json.dumps(more))


def _end(folder: str) -> str:
    path = PurePosixPath(folder.partition("?")[0])
    return path.name if path.name == "base" else "/".join(path.parts[-2:])


# Ours, and those that the pages show.
EVERY = tuple(dict.fromkeys((*COMBINATIONS, *combinations())))
