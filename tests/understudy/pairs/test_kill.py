"""Real exporters, killed while they work: nothing is lost, and nothing is there twice."""

import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.fakes.pair_log import fill
from tests.fakes.pairs import pair
from tests.fakes.serving import wait_until
from tests.understudy.pairs.making import consolidated, ids_of
from understudy.pairs.choice import Choice
from understudy.pairs.parts import part_paths
from understudy.pairs.places import place_at
from understudy.pairs.store import Log, Source

# Small parts, so that there are many moments to be killed at.
EXPORTER = """
import sys
from understudy.pairs import drain, parts
parts.PART_ROWS, drain.READ_ENTRIES = 25, 10
from understudy.__main__ import app
sys.exit(app())
"""
PAIRS = 2000
RECLAIM_SECONDS = 0.1


def exporter(out: Path, url: str, *options: str) -> subprocess.Popen[bytes]:
    arguments = ["pairs", "export", str(out), "--redis-url", url, "--no-consolidate", *options]
    arguments += ["--reclaim-seconds", str(RECLAIM_SECONDS)]
    return subprocess.Popen(
        [sys.executable, "-c", EXPORTER, *arguments], stdout=subprocess.DEVNULL, stderr=sys.stderr
    )


def pending(log: Log) -> int:
    found: Any = log.client.xpending(log.key("pairs"), "export")
    return int(found["pending"])


def kill_amid(exporters: Sequence[subprocess.Popen[bytes]], out: Path, more: int) -> bool:
    """Kill them once there are so many more parts; whether they were still at work."""
    before = len(list(out.rglob("part-*.parquet")))

    def is_time() -> bool:
        is_over = all(each.poll() is not None for each in exporters)
        return is_over or len(list(out.rglob("part-*.parquet"))) >= before + more

    wait_until(is_time, seconds=50)
    was_working = any(each.poll() is None for each in exporters)
    for each in exporters:
        each.kill()
        each.wait(10)
    return was_working


@pytest.mark.parametrize("options", [pytest.param((), marks=pytest.mark.full), ("--trim",)])
@pytest.mark.parametrize(
    "seed",
    [1, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(2, 12))],
)
@pytest.mark.timeout(300)
def test_killed_exporters_lose_nothing_and_double_nothing(
    seed: int, options: tuple[str, ...], log: Log, source: Source, tmp_path: Path
) -> None:
    rng, out, url = random.Random(seed), tmp_path / "out", str(source.redis_url)
    fill(log, [pair(number) for number in range(PAIRS)])
    left_in_hand = 0
    for more in (1, rng.randint(2, 20), rng.randint(2, 20)):
        working = [exporter(out, url, *options) for _ in range(rng.randint(1, 2))]
        assert kill_amid(working, out, more)
        left_in_hand += pending(log)
    assert left_in_hand  # else nobody was killed in the middle of anything

    def is_done() -> bool:
        assert exporter(out, url, *options).wait(60) == 0
        return pending(log) == 0

    wait_until(is_done, seconds=200)
    place = place_at(str(out))
    exported = [
        row["id"]
        for path in part_paths(place)
        for row in pq.ParquetFile(place.path(path)).read(columns=["id"]).to_pylist()
    ]
    assert len(set(exported)) == PAIRS
    consolidated(place, Choice(deduplicate="id"))
    assert ids_of(place) == list(range(PAIRS))
    if options:
        assert log.client.xlen(log.key("pairs")) == 0


@pytest.mark.full
@pytest.mark.timeout(120)
def test_a_consolidation_that_is_killed_can_be_run_again(
    log: Log, source: Source, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    fill(log, [pair(number) for number in range(500)])
    assert exporter(out, str(source.redis_url)).wait(60) == 0
    command = [sys.executable, "-m", "understudy", "pairs", "consolidate", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: list(out.glob(".understudy-consolidating-*")), seconds=50)
    process.kill()
    process.wait(10)
    assert not (out / "dataset" / "card.json").exists()
    assert list(out.glob(".understudy-consolidating-*"))
    started = time.time()
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert not list(out.glob(".understudy-consolidating-*"))  # the killed one's neither
    place = place_at(str(out))
    assert ids_of(place) == list(range(500))
    assert (out / "dataset" / "card.json").stat().st_mtime >= started - 1
