"""The demo as its user starts it: a real model, a real store, real processes."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from routing.signals import SIGNAL_NAMES
from tests.fakes.serving import wait_until
from tests.fakes.valkey import store_server

pytestmark = pytest.mark.timeout(120)


def command(state: Path, *options: str) -> list[str]:
    uncalibrated = () if "--calibration" in options else ("--calibration", "0")
    demo = (sys.executable, "-m", "understudy", "demo", "--state-dir", str(state))
    # The tests have a core each; a student that wants them all would wait for the others.
    return [*demo, "--threads", "1", *uncalibrated, *options]


def environment(**variables: str) -> dict[str, str]:
    return os.environ | {"COLUMNS": "120", "NO_COLOR": "1"} | variables


def running_below(folder: Path) -> list[str]:
    """Command lines of processes that name the folder, this test's own apart."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and "pytest" not in line:
            found.append(line)
    return found


def test_the_demo_runs_agrees_with_itself_and_leaves_nothing_running(tmp_path: Path) -> None:
    result = subprocess.run(
        command(tmp_path, "--requests", "12", "--seed", "3"),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "agree to the unit" in result.stdout
    assert "net saving" in result.stdout
    assert running_below(tmp_path) == []
    # Real evidence from a real model is in the pairs.
    with store_server(tmp_path / "valkey") as store, store.client() as client:
        entries: Any = client.xrange("understudy:{demo}:pairs")
    pairs = [json.loads(fields[b"pair"]) for _, fields in entries]
    escalated = re.search(r"escalated to the teacher\W+(\d+)/12", result.stdout)
    assert escalated is not None
    assert len(pairs) == int(escalated[1]) > 0
    for pair in pairs:
        evidence = {"mean_probability", "min_probability", "low_probability", "min_margin"}
        assert evidence <= pair["signals"].keys() <= SIGNAL_NAMES
        assert 0 <= pair["confidence"] < 0.8


@pytest.mark.full
def test_a_promise_that_few_questions_cannot_carry_is_not_made(tmp_path: Path) -> None:
    """The phase itself, record, label and calibrate, ends in a refusal, and the demo goes on.

    It does so on a store that was there before, which it leaves as it is.
    """
    (tmp_path / "store").mkdir()
    state = tmp_path / "demo"
    with store_server(tmp_path / "store") as store:
        options = ("--requests", "4", "--calibration", "12", "--redis-url", store.url)
        result = subprocess.run(
            command(state, *options), env=environment(), capture_output=True, text=True, timeout=110
        )
        assert result.returncode == 0, result.stdout + result.stderr
        with redis.Redis.from_url(store.url) as client:
            assert client.ping()
            length: Any = client.xlen("understudy:{demo}:pairs")
        assert length > 0
    assert "cannot be promised on 12 questions" in result.stdout
    assert "uncalibrated" in result.stdout
    labelled = (state / "labelled.jsonl").read_text().splitlines()
    assert len(labelled) == 12
    assert all(json.loads(line)["ok_by"] == "checker" for line in labelled)


@pytest.mark.full
def test_ctrl_c_leaves_no_process_and_a_usable_state(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(tmp_path, "--requests", "200"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    journal = tmp_path / "gateway"
    wait_until(lambda: list(journal.glob("journals/*/*.seg")), seconds=60)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output.decode()
    assert b"Traceback" not in output
    wait_until(lambda: running_below(tmp_path) == [])
    again = subprocess.run(
        command(tmp_path, "--requests", "4"), env=environment(), capture_output=True, timeout=110
    )
    assert again.returncode == 0, again.stdout.decode() + again.stderr.decode()


def test_a_teacher_that_is_no_url_is_refused_at_once(tmp_path: Path) -> None:
    options = ("--teacher-url", "localhost:8000", "--teacher-model", "m")
    result = subprocess.run(
        command(tmp_path, *options), env=environment(), capture_output=True, text=True, timeout=30
    )
    assert result.returncode == 2
    assert "http://" in result.stdout
