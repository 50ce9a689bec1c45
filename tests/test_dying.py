"""A worker that dies says more than which test it ran."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dying import told

ROOT = Path(__file__).parents[1]
DIES = """
import os, signal, threading
import pytest

def test_it_is_alive():
    pass

def test_dies():
    {end}
"""


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-signal.SIGTERM, "ended by SIGTERM; no process of this run was larger than 1,700 MiB"),
        (-signal.SIGKILL, "ended by SIGKILL, as the kernel does where memory is out"),
        (-signal.SIGSEGV, "ended by SIGSEGV, without a word: a thread's stack"),
        (0, "left with status 0: by os._exit"),
        (None, "does not answer any more"),
    ],
)
def test_its_end_is_told(status: int | None, words: str) -> None:
    assert told(status, 1_700, "").startswith(words)


def test_its_last_words_are_told() -> None:
    found = told(-signal.SIGSEGV, 1, "Fatal Python error: Segmentation fault\n")
    assert found.splitlines()[1] == "Fatal Python error: Segmentation fault"
    assert "without a word" not in found


@pytest.mark.full
@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", ("SIGSEGV", "Fatal Python error", "in test_dies")),
        ("os.kill(os.getpid(), signal.SIGTERM)", ("SIGTERM", "in test_dies")),
        ("os.kill(os.getpid(), signal.SIGKILL)", ("SIGKILL, as the kernel does",)),
        ("threading.Timer(0, os._exit, (3,)).run()", ("left with status 3",)),
    ],
)
def test_a_run_ends_with_what_is_known_of_it(
    tmp_path: Path, end: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "test_death.py").write_text(DIES.format(end=end))
    options = ["-p", "no:cacheprovider", "-p", "tests.conftest", "--numprocesses=1", "-q"]
    command = [sys.executable, "-m", "pytest", *options, f"--rootdir={tmp_path}", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    _, _, end_of_it = ran.stdout.partition("workers that died")
    for each in ("gw0: ", *words):
        assert each in end_of_it, ran.stdout + ran.stderr
