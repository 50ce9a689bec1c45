"""Reads the Dockerfiles of deploy/images: stages, instructions, and what the image says of itself.

It knows the forms that they use and refuses others: no heredocs, no flags of RUN, no ONBUILD.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "deploy/images"
BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"  # the base image's

_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_KEYWORD = re.compile(r"([A-Z]+)\s+(.+)", re.DOTALL)


@dataclass(frozen=True)
class Instruction:
    """A line of a Dockerfile, continued lines joined."""

    keyword: str
    value: str

    @property
    def words(self) -> list[str]:
        """The value's words, of either form, ``["a", "b"]`` or ``a b``."""
        if self.value.startswith("["):
            words: list[str] = json.loads(self.value)
            return words
        return shlex.split(self.value)

    @property
    def pairs(self) -> dict[str, str]:
        """``NAME=value …`` of ENV, LABEL and ARG; an ARG without a value is not there."""
        split = (word.partition("=") for word in self.words)
        return {name: value for name, equals, value in split if equals}


@dataclass(frozen=True)
class Stage:
    """What follows a FROM; ``known`` are the arguments from before the first one."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]

    def all(self, keyword: str) -> list[Instruction]:
        return [one for one in self.instructions if one.keyword == keyword]

    def last(self, keyword: str) -> Instruction:
        return self.all(keyword)[-1]

    def variables(self) -> dict[str, str]:
        """ENV over ARG as a stage has them in the end, with the defaults of arguments."""
        found = {"PATH": BASE_PATH}
        for one in self.instructions:
            if one.keyword in ("ARG", "ENV"):
                found |= {name: expanded(value, found) for name, value in one.pairs.items()}
        return found


@dataclass(frozen=True)
class Image:
    """What an engine knows of an image."""

    entrypoint: list[str]
    command: list[str]
    environment: dict[str, str]
    user: str
    folder: str
    ports: set[int]
    volumes: list[str]
    labels: dict[str, str] = field(default_factory=dict)
    health: list[str] | None = None


def stages_of(path: Path) -> tuple[Stage, ...]:
    """The stages of a Dockerfile, the last of which is the image."""
    known: dict[str, str] = {}
    stages: list[tuple[str, str, list[Instruction]]] = []
    for one in _instructions(path.read_text()):
        if one.keyword == "FROM":
            base, *alias = one.value.split()
            assert alias[:1] in ([], ["AS"]), one
            stages.append((expanded(base, known), alias[1] if alias else "", []))
        elif stages:
            stages[-1][2].append(one)
        else:
            assert one.keyword == "ARG", one
            known |= one.pairs
    return tuple(Stage(base, name, tuple(found)) for base, name, found in stages)


def image_of(path: Path) -> Image:
    """What the last stage says of the image."""
    stage = stages_of(path)[-1]
    variables = stage.variables()
    names = {name for one in stage.all("ENV") for name in one.pairs}
    health = stage.last("HEALTHCHECK").value
    return Image(
        entrypoint=stage.last("ENTRYPOINT").words,
        command=stage.last("CMD").words,
        environment={name: variables[name] for name in sorted(names)},
        user=stage.last("USER").value,
        folder=stage.last("WORKDIR").value if stage.all("WORKDIR") else "/",
        ports={int(port) for one in stage.all("EXPOSE") for port in one.words},
        volumes=[word for one in stage.all("VOLUME") for word in one.words],
        labels={
            name: expanded(value, variables)
            for one in stage.all("LABEL")
            for name, value in one.pairs.items()
        },
        health=None if health == "NONE" else json.loads(health.partition("CMD ")[2]),
    )


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """``text`` with ``$NAME`` and ``${NAME}`` replaced; KeyError where one is not known."""
    return _VARIABLE.sub(lambda found: variables[found[1] or found[2]], text)


def context_of(path: Path) -> Sequence[Path]:
    """The files, relative to the root, that are sent to the builder: Dockerfile.dockerignore is a
    list of what is let in."""
    first, *others = [
        line
        for line in path.with_name("Dockerfile.dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert (first, others.pop()) == ("*", "**/__pycache__")
    files: list[Path] = []
    for line in others:
        assert line.startswith("!"), line
        source = ROOT / line[1:]
        assert source.exists(), line
        found = source.rglob("*") if source.is_dir() else (source,)
        files += (one for one in found if one.is_file() and "__pycache__" not in one.parts)
    return [one.relative_to(ROOT) for one in files]


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in re.split(r"(?<!\\)\n", "\n".join(lines)):
        found = _KEYWORD.fullmatch(re.sub(r"\\\n\s*", "", line))
        assert found is not None, line
        yield Instruction(found[1], found[2].strip())
