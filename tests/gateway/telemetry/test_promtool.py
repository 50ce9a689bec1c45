"""Prometheus' own checker reads what the gateway shows."""

import shutil
import subprocess

import pytest

from tests.gateway.telemetry.test_series import worst_case

PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: the exposition went unchecked")
def test_promtool_finds_nothing_to_mend() -> None:
    text = worst_case().exposition()
    # python_info and python_gc_* are the Prometheus client's own, and not ours to name.
    result = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=text, capture_output=True, timeout=30
    )
    complaints = [
        line
        for line in result.stderr.decode().splitlines()
        if "understudy_" in line or "gen_ai" in line
    ]
    assert complaints == []
    assert b"error while linting" not in result.stderr
