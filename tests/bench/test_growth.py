"""Whether memory that grows is seen, and that of the gateway does not."""

import random
from pathlib import Path

import pytest

from bench.growth import measure_growth, trend_of
from bench.motley import visit
from bench.processes import cores

# A request's line in the log alone is a few hundred bytes: what kept any of it would be seen.
MOST_BYTES_PER_REQUEST = 20.0
MOST_IDLE_MIB = 90.0
REQUESTS = 100_000
# In the gateway's process a list keeps this much of each request that has ended.
LEAK_BYTES = 100
LEAKING_REQUESTS = 30_000
LEAKING = f"""
import sys
if "serve" in sys.orig_argv:
    from gateway.telemetry.observer import Observer
    kept, settled = [], Observer.settled
    def leak(self, fact):
        kept.append(bytes({LEAK_BYTES}))
        settled(self, fact)
    Observer.settled = leak
"""


def silent(_: str) -> None:
    """Progress that nobody reads."""


def test_a_line_has_its_slope() -> None:
    trend = trend_of([(x, 5.0 + 3.0 * x) for x in range(10)])
    assert trend.slope == trend.slope_at_most == pytest.approx(3.0)


def test_the_bound_holds_for_99_lines_in_100() -> None:
    dice = random.Random(1)
    held = sum(
        trend_of([(x, 2.0 * x + dice.gauss(0, 40)) for x in range(51)]).slope_at_most >= 2.0
        for _ in range(1000)
    )
    assert 980 <= held <= 998


def test_no_two_requests_of_the_crowd_are_alike() -> None:
    visits = [visit(number) for number in range(2000)]
    assert len({each.body for each in visits}) == len(visits)
    assert {each.statuses for each in visits} == {
        (200,),
        (502, 503),
        (200, 502, 503),
        (400,),
        (404,),
        (401,),
    }


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_memory_has_no_trend() -> None:
    report = measure_growth(REQUESTS, cores(), silent)
    assert report.idle_mib < MOST_IDLE_MIB
    assert report.bytes_per_request_at_most < MOST_BYTES_PER_REQUEST, report


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_leak_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(LEAKING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    report = measure_growth(LEAKING_REQUESTS, cores(), silent)
    assert report.bytes_per_request_at_most > MOST_BYTES_PER_REQUEST
    assert report.bytes_per_request > LEAK_BYTES / 2
