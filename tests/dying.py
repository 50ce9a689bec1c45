"""What is known of a worker that died amid the tests: how it ended, its size, its last words.

xdist says which test it ran, and no more.  What Python says of a crash goes to the stderr of all of
the run, far above the summary or nowhere; of a signal that ends a process it says nothing.
"""

import faulthandler
import os
import resource
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

LAST_WORDS = "last_words"  # of a worker's input: the file for them
MOST_CHARACTERS = 20_000
WAIT_SECONDS = 10.0


def remember_last_words(path: str) -> None:
    """Have this process say there what its threads did when it crashed, or was told to end."""
    file = open(path, "w")  # noqa: SIM115  # as long as the process lasts
    faulthandler.enable(file=file)
    faulthandler.register(signal.SIGTERM, file=file, chain=True)


class Mourner:
    """A plugin of the process that has the workers."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="understudy-workers-")
        self._obituaries: list[str] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[LAST_WORDS] = str(Path(self._folder.name) / node.gateway.id)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        if error is None:
            return
        words = Path(node.workerinput[LAST_WORDS])
        said = words.read_text(errors="replace") if words.exists() else ""
        obituary = told(_status_of(node), _largest_child_mib(), said)
        self._obituaries.append(f"{node.gateway.id}: {obituary}")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._obituaries:
            terminalreporter.section("workers that died")
        for each in self._obituaries:
            terminalreporter.write_line(each)

    def pytest_unconfigure(self) -> None:
        self._folder.cleanup()


def told(status: int | None, largest_mib: int, said: str) -> str:
    """A worker's end, for people."""
    if status is None:
        how = "does not answer any more, and has not ended"
    elif status >= 0:
        how = f"left with status {status}: by os._exit, or from another thread"
    else:
        how = f"ended by {signal.Signals(-status).name}"
    if status == -signal.SIGKILL:
        how += ", as the kernel does where memory is out (`dmesg` says so)"
    if status == -signal.SIGSEGV and not said:
        how += ", without a word: a thread's stack that overflowed has none left to speak"
    memory = f"no process of this run was larger than {largest_mib:,} MiB"
    return "\n".join(filter(None, [f"{how}; {memory}", said[:MOST_CHARACTERS]]))


def _status_of(node: Any) -> int | None:
    """As subprocess has it: negative for a signal."""
    process: subprocess.Popen[bytes] = node.gateway._io.popen
    try:
        return process.wait(WAIT_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _largest_child_mib() -> int:
    per_mib = 2**20 if os.uname().sysname == "Darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // per_mib
