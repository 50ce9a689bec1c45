"""The commands of `understudy distill` against the demo's stand-in teacher, and scripted ones."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tests.fakes.serving import cascade_document
from tests.fakes.upstream import Reply, completion
from tests.understudy.commands import Command
from understudy.__main__ import app

Answer = Callable[[Mapping[str, Any]], Reply]


class Distill(Command):
    """Runs `understudy distill …` in this process."""

    name = "distill"


@dataclass
class Bench:
    """A folder, the command, and a configuration whose teacher can be another one."""

    folder: Path
    command: Distill
    teacher_url: str

    def config(self, **teacher: Any) -> Path:
        """A configuration; ``teacher`` changes keys of the teacher's."""
        path = self.folder / "cascades.yaml"
        document = cascade_document(
            "http://127.0.0.1:1", self.teacher_url, teacher={"model": "stand-in"} | teacher
        )
        path.write_text(yaml.safe_dump({"cascades": {"demo": document}}))
        return path

    def status(self, *arguments: object) -> int:
        """Run a command of `understudy distill`."""
        return self.command.status(*map(str, arguments))

    def told(self, *arguments: object) -> dict[str, Any]:
        """What a command says as JSON, whatever its status."""
        assert self.status(*arguments, "--json") in (0, 1), self.command.error
        found: dict[str, Any] = msgspec.json.decode(self.command.output)
        return found


def curated(folder: Path, raw: Path, *options: object) -> Path:
    """A data set, curated by the command; for fixtures that several tests share."""
    out = folder / "curated"
    command = ["distill", "curate", "--data", raw, "--out", out, "--most-clusters", 5, *options]
    assert app([str(each) for each in command], result_action="return_value") == 0
    return out


def copied(folder: Path, bench: Bench) -> Path:
    """The same for one test alone."""
    return Path(shutil.copytree(folder, bench.folder / "data"))


def saying(text: str, **changes: Any) -> Reply:
    """A reply without log-probabilities."""
    return Reply(completion(text, choice={"logprobs": None, **changes}))
