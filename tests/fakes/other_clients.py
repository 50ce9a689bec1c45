"""Clients of other makers, which `./dev test --full` installs apart: each asks in a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = Path(sys.prefix) / "clients"
# LiteLLM would fetch prices as it is imported, LangChain tell a service of what it does.
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false"}
PROGRAMS = ("langchain_calls", "litellm_calls")


def ask_by(program: str, *arguments: str) -> None:
    """Run one of the programs; skips where the clients are not installed."""
    if not INSTALLED.is_dir():
        pytest.skip(f"{INSTALLED} is not there: ./dev test --full installs it")
    done = subprocess.run(
        [sys.executable, str(ROOT / f"tests/contract/{program}.py"), *arguments],
        env=os.environ | QUIET | {"PYTHONPATH": str(INSTALLED)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
