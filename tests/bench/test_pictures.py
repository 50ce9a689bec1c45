import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None,
    reason="prometheus is not installed (Debian: apt install prometheus): no picture was drawn",
)


def pictures(*options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "bench.pictures", *options],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.full
@pytest.mark.timeout(300)
@needs_prometheus
def test_a_short_play_is_drawn(tmp_path: Path) -> None:
    done = pictures("--minutes", "0.5", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("dashboard-*.png"))) == 5


def test_without_prometheus_it_says_what_to_install(tmp_path: Path) -> None:
    done = pictures("--out", str(tmp_path), PATH=str(tmp_path))
    assert done.returncode == 1
    assert "apt install prometheus" in done.stderr
    assert not list(tmp_path.iterdir())
