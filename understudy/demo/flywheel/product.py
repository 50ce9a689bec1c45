"""The product's own commands, run as its users run them, each with a log of its own."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.demo.processes import Processes, ProcessFailedError, Program

REFUSED = 1  # the status of a command that did all it could, and says no


@dataclass(frozen=True, slots=True)
class Product:
    """Runs ``understudy COMMAND …`` and waits for its end; ``watch`` is called meanwhile."""

    processes: Processes
    logs: Path

    def run(self, name: str, *words: str, watch: Callable[[], None] = lambda: None) -> None:
        """Run it to the end; NAME.log has what it said.  Raises ProcessFailedError."""
        command = (sys.executable, "-m", "understudy", *words)
        self.processes.run(Program(name, command, lambda: True), watch)

    def is_granted(self, name: str, *words: str, watch: Callable[[], None] = lambda: None) -> bool:
        """Run it to the end, and False where it says no.  Raises ProcessFailedError."""
        try:
            self.run(name, *words, watch=watch)
        except ProcessFailedError as error:
            if error.status != REFUSED:
                raise
            return False
        return True

    def told(self, name: str) -> list[Mapping[str, Any]]:
        """The objects that a command with ``--json`` told, one a line, in their order."""
        lines = (self.logs / f"{name}.log").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]
