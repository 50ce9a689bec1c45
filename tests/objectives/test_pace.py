"""Rate, spend and hard cap as their operator sees them: three gateways, a real store, real money
but for the models, which are scripted.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.objectives.fleet import Answer, Fleet, fleet

SPREAD = 2.7  # from a confidence of 5% to one of 74%
CAP_USD = 21.6
SPEND = {"objective": {"kind": "spend", "usd_per_hour": 18.0, "cap_usd_per_hour": CAP_USD}}
RATE = {"objective": {"kind": "escalation_rate", "at_most": 0.15}}
SETTLES_SECONDS = 20.0
HELD_SECONDS = 20.0
# A second in which none came, or the luck of so few seconds.
OFF_AT_MOST = 0.02
KILLED_AFTER_SECONDS = 10.0

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]


def seconds_of(answers: Sequence[Answer]) -> float:
    return answers[-1].at - answers[0].at if answers else 0.0


def bill(running: Fleet) -> float:
    """What both models cost so far, in USD, of all replicas."""
    return sum(each.total("cost_usd_total") for each in running.replicas)


def test_a_rate_is_reached_in_seconds_of_traffic(tmp_path: Path) -> None:
    with fleet(tmp_path, RATE) as running:
        running.student.spread = SPREAD
        running.wait_for_controller()
        with running.under_load() as answers:
            running.wait(lambda: seconds_of(answers) > SETTLES_SECONDS)
            before = counted(running)
            running.wait(lambda: seconds_of(answers) > SETTLES_SECONDS + HELD_SECONDS)
            after = counted(running)
        assert len({each.metric("threshold") for each in running.replicas}) == 1
    requests, escalated = after[0] - before[0], after[1] - before[1]
    assert escalated / requests == pytest.approx(0.15, abs=OFF_AT_MOST)


def counted(running: Fleet) -> tuple[float, float]:
    """Requests and escalations, of all replicas."""
    return (
        sum(each.total("requests_total") for each in running.replicas),
        sum(each.total("requests_total", "escalated") for each in running.replicas),
    )


def test_a_hard_cap_is_never_exceeded_though_a_replica_dies(tmp_path: Path) -> None:
    with fleet(tmp_path, SPEND) as running:
        running.student.spread = SPREAD
        running.wait_for_controller()
        running.wait(
            lambda: all(each.metric("objective_cap_left_usd") > 0 for each in running.replicas)
        )
        began = time.monotonic()
        stored = sum(each.metric("objective_cap_left_usd") for each in running.replicas)

        def check() -> None:
            spent, seconds = bill(running), time.monotonic() - began
            assert spent <= stored + CAP_USD * seconds / 3600

        def passes(seconds: float) -> None:
            end = time.monotonic() + seconds

            def is_over() -> bool:
                check()
                return time.monotonic() > end

            running.wait(is_over, seconds + 10)

        with running.under_load():
            passes(KILLED_AFTER_SECONDS)
            running.wait_for_controller().kill()
            passes(2 * KILLED_AFTER_SECONDS)
        check()
        denied = sum(each.total("degraded_total") for each in running.replicas)
        spent = bill(running)
    assert denied > 0, "nothing was sent back, so the cap was never near"
    assert spent > 0.5 * CAP_USD * 3 * KILLED_AFTER_SECONDS / 3600
