"""The whole loop as its user starts it: a real student is trained, and let in under traffic."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from tests.fakes.serving import wait_until
from understudy.demo.flywheel.command import NEEDED_PACKAGES
from understudy.demo.flywheel.figures import Fate, Result, all_of, learnable, unlearnable

pytestmark = [pytest.mark.full, pytest.mark.distill, pytest.mark.timeout(1800)]


@pytest.fixture(autouse=True)
def _needs_what_trains() -> None:
    missing = [name for name in NEEDED_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: ./dev flywheel --help installs them")


def command(state: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "understudy", "flywheel", "--state-dir", str(state), *options]


def environment() -> dict[str, str]:
    return os.environ | {"COLUMNS": "120", "NO_COLOR": "1"}


def running_below(folder: Path) -> list[str]:
    """Command lines of processes that name the folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and "pytest" not in line:
            found.append(line)
    return found


def test_a_student_is_trained_let_in_and_asked_and_nothing_is_left_running(tmp_path: Path) -> None:
    """One generation, which does not learn enough for all that a whole run has to show.

    With fewer questions than the default a policy promises so much less that the gate refuses it.
    """
    page = tmp_path / "docs" / "flywheel.md"
    told = subprocess.run(
        command(tmp_path / "state", "--generations", "1", "--page", str(page)),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert told.returncode in (0, 1), told.stdout + told.stderr
    assert running_below(tmp_path) == []
    result = msgspec.json.decode((tmp_path / "state" / "flywheel.json").read_bytes(), type=Result)
    first, second = result.turns
    assert first.fate is Fate.FIRST
    assert second.fate is Fate.PROMOTED, second.why
    assert re.fullmatch(r"smollm2-135m-instruct-g1-[0-9a-f]{12}", second.version)
    assert all_of(first.cascade).escalation.part == 200
    assert all_of(second.student).right > all_of(first.student).right
    assert learnable(second.cascade).escalated < learnable(first.cascade).escalated
    assert unlearnable(second.cascade).escalated >= 19
    assert all_of(second.cascade).usd_per_request < all_of(first.cascade).usd_per_request
    assert second.under_way.requests > 200
    assert second.under_way.unanswered == 0
    assert "1 promoted" in page.read_text()
    assert (page.parent / "pictures" / "flywheel.svg").exists()


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(tmp_path),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    wait_until(lambda: list(tmp_path.glob("generations/g0/*.jsonl")), seconds=60)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output.decode()
    assert b"Traceback" not in output
    wait_until(lambda: running_below(tmp_path) == [])
