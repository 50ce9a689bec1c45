"""A process that trains as it is told: tests/distill/training_process.py is what it runs."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.source import ROOT
from tests.distill.interpreter import COMMAND, distill_python


def environment() -> dict[str, str]:
    path = os.environ.get("PYTHONPATH")
    return os.environ | {
        "PYTHONPATH": str(ROOT) if path is None else f"{ROOT}{os.pathsep}{path}",
        "OMP_NUM_THREADS": "1",
    }


class Trainer:
    """A process that trains as it is told."""

    def __init__(self, folder: Path) -> None:
        python = distill_python(COMMAND)  # or it skips, and nothing is open
        self.folder = folder
        self._errors = (folder / "errors").open("w+")
        self._process = subprocess.Popen(
            [python, "-m", "tests.distill.training_process"],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.base = folder / "tiny"
        self.data = folder / "data"
        self.does("base", str(self.base))

    def does(self, *task: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(task), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            errors = (self.folder / "errors").read_text()[-4000:]
            pytest.fail(f"it ended with {self._process.wait()}: {errors}")
        return json.loads(line)

    def options(self, out: str, *options: str, data: Path | None = None) -> list[str]:
        """Steps of 4 rows, two at once, measured at every other step, unless said otherwise."""
        usual = {
            "--base": str(self.base),
            "--batch-size": "4",
            "--micro-batch-size": "2",
            "--learning-rate": "0.01",
            "--precision": "fp32",
            "--measure-every": "2",
        }
        rest = [
            each for name, value in usual.items() if name not in options for each in (name, value)
        ]
        where = ("--data", str(data or self.data), "--out", str(self.folder / out))
        return ["distill", "train", *where, *rest, *options]

    def trains(self, out: str, *options: str, data: Path | None = None) -> dict[str, Any]:
        """The card."""
        done = self.does("command", *self.options(out, *options, data=data))
        assert done["status"] == 0, done["error"]
        card: dict[str, Any] = json.loads((self.folder / out / "card.json").read_bytes())
        return card

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._errors.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
