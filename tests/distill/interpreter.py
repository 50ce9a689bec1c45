"""Which interpreter trains in tests: the one that is named, or the tests' own."""

import functools
import importlib.util
import os
import subprocess
import sys

import pytest

PYTHON = "UNDERSTUDY_TEST_DISTILL_PYTHON"
# The trainers alone, and the whole command.
TRAINERS, COMMAND = ("trl",), ("trl", "peft", "gguf", "cyclopts", "msgspec", "redis")


def distill_python(needed: tuple[str, ...] = TRAINERS) -> str:
    """An interpreter that has the modules; skips where the tests' own lacks some."""
    named = os.environ.get(PYTHON)
    missing = _missing(named, needed)
    if "trl" in missing and named:
        pytest.fail(f"{PYTHON}={named} has no TRL")
    if missing:
        pytest.skip(
            f"{', '.join(missing)} not installed: ./dev distill train --help installs what trains, "
            f"or {PYTHON} names an interpreter that has it"
        )
    return named or sys.executable


@functools.cache
def _missing(named: str | None, needed: tuple[str, ...]) -> list[str]:
    if named is None:
        return [name for name in needed if importlib.util.find_spec(name) is None]
    asking = (
        "import importlib.util; "
        f"print(*(name for name in {needed!r} if importlib.util.find_spec(name) is None))"
    )
    found = subprocess.run([named, "-c", asking], check=True, capture_output=True, text=True)
    return found.stdout.split()
