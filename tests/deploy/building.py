"""Builds an image as its Dockerfile says, line by line, without an engine: see ``containers``."""

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.containers import Host, Manner, Root
from tests.deploy.dockerfiles import (
    ROOT,
    Image,
    Instruction,
    Stage,
    context_of,
    expanded,
    image_of,
    stages_of,
)

# Where packages come from here, and by which certificate: a builder on this machine is told so too.
_OF_THIS_MACHINE = {
    name: value
    for name, value in os.environ.items()
    if name.upper().endswith("_PROXY") or name in {"PIP_CERT", "PIP_INDEX_URL", "PIP_FIND_LINKS"}
}
# Says what the image is, or how a container of it is run.
_SAYS = {"CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "LABEL", "STOPSIGNAL", "USER", "VOLUME"}
# What the official image leaves out of an installation of Python.
_LEFT_OUT = r"""
cd "$1/usr/local"
find . -depth \( -type d \( -name test -o -name tests -o -name idle_test \) \
    -o -type f -name '*.py[co]' \) -exec rm -rf '{}' +
"""


@dataclass(frozen=True)
class Built:
    """An image whose layers are there."""

    root: Root
    image: Image

    def manner(self, **variables: str) -> Manner:
        """How a container of it runs."""
        environment = self.image.environment | variables
        return Manner(environment, self.image.user, self.image.folder)


def build(host: Host, dockerfile: Path, arguments: Mapping[str, str] | None = None) -> Built:
    """Run every instruction of every stage; what the last one is."""
    python = _python()
    roots: dict[str, Root] = {}
    stages = stages_of(dockerfile)
    with tempfile.TemporaryDirectory() as context:
        for path in context_of(dockerfile):
            copy = Path(context) / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, copy)
        for number, stage in enumerate(stages):
            root = host.root(f"{dockerfile.parent.name}-{number}", python)
            host.do(_LEFT_OUT, root.path)
            _Stage(stage, root, Path(context), roots, dict(arguments or {})).run()
            roots[stage.name] = root
    return Built(roots[stages[-1].name], image_of(dockerfile))


class _Stage:
    """The state of a build between two instructions."""

    def __init__(
        self,
        stage: Stage,
        root: Root,
        context: Path,
        others: Mapping[str, Root],
        arguments: Mapping[str, str],
    ) -> None:
        self._stage = stage
        self._root = root
        self._context = context
        self._others = others
        self._arguments = arguments
        self._variables = Stage("", "", ()).variables()
        self._folder = "/"

    def run(self) -> None:
        for one in self._stage.instructions:
            match one.keyword:
                case "ARG" | "ENV":
                    self._set(one)
                case "WORKDIR":
                    self._folder = one.value
                    self._root.run(["mkdir", "-p", one.value])
                case "COPY":
                    self._copy(one)
                case "RUN":
                    environment = {"HOME": "/root"} | _OF_THIS_MACHINE | self._variables
                    manner = Manner(environment, folder=self._folder, is_building=True)
                    self._root.run(["/bin/sh", "-c", one.value], manner)
                case keyword:
                    assert keyword in _SAYS, keyword

    def _set(self, one: Instruction) -> None:
        asked = {word.partition("=")[0] for word in one.words}
        given = {name: value for name, value in self._arguments.items() if name in asked}
        for name, value in (one.pairs | (given if one.keyword == "ARG" else {})).items():
            self._variables[name] = expanded(value, self._variables)

    def _copy(self, one: Instruction) -> None:
        words = [expanded(word, self._variables) for word in one.words]
        origin = self._context
        if words[0].startswith("--from="):
            origin = self._others[words.pop(0).removeprefix("--from=")].path
        *sources, target = words
        is_folder = target.endswith("/")
        place = os.path.normpath(os.path.join(self._folder, target))
        for source in sources:
            name = f"{place}/{Path(source).name}" if is_folder else place
            self._root.bring(origin / source.lstrip("/"), name)


def _python() -> Path:
    """The installation of a Python that stands in for the base image's: of its minor version where
    there is one, else the one that runs the tests."""
    here = Path(sys.base_prefix)
    for prefix in (*sorted(here.parent.glob("3.13.*")), here):
        if (prefix / "bin/python").exists() and any(prefix.glob("lib/python3.*/ensurepip")):
            return prefix
    pytest.skip(f"{here} is no installation of Python like the base image's: no image was built")
