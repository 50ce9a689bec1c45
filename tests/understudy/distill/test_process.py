"""The command as a process of its own that is told to end, or killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from routing.rollout import Action
from routing.rollout_file import policy_version
from tests.distill.made_generations import policy
from tests.fakes.serving import wait_until
from tests.understudy.distill.proposal import Proposal
from tests.understudy.distill.running import QUICK
from tests.understudy.distill.streets import G1, PATHS, Street
from understudy.distill.registry import Registry

# So much is never seen, so that the candidate is tried until somebody ends that.
ENDLESS = ("--least-held-out", "1000000")
LEASE_SECONDS = 3.0

pytestmark = [pytest.mark.full, pytest.mark.timeout(120)]


@pytest.fixture
def promoting(here: Street, proposal: Proposal) -> Iterator["subprocess.Popen[str]"]:
    """A promotion under way: sessions are served by the candidate."""
    quick = [part for part in QUICK if part not in ("--least-held-out", "10")]
    command = [
        sys.executable, "-m", "understudy", "distill", "promote",
        "--config", str(here.config), "--redis-url", here.store.url,
        *proposal.options, "--load-adapter", PATHS[G1], *quick, *ENDLESS,
        "--lease-seconds", str(LEASE_SECONDS),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def is_candidate_serving(street: Street) -> bool:
    return street.answers[-1].policy == policy_version(policy(G1))


def test_whoever_is_told_to_end_rolls_back_first(
    here: Street, promoting: "subprocess.Popen[str]", registry: Registry
) -> None:
    with here.traffic():
        wait_until(lambda: here.answers and is_candidate_serving(here), seconds=60)
        promoting.send_signal(signal.SIGTERM)
        assert promoting.wait(30) == 130
        until = len(here.answers) + 8
        here.wait_for_answers(60)
    state = registry.state()
    assert state is not None
    assert (state.last.action, state.rollout) == (Action.ROLLED_BACK, None)
    assert {answer.policy for answer in here.answers[until:]} == {"uncalibrated"}
    assert {answer.status for answer in here.answers} == {200}
    assert here.student.unloaded == [G1]


def test_after_a_kill_the_candidate_gets_nothing_once_its_lease_is_over(
    here: Street, promoting: "subprocess.Popen[str]", registry: Registry
) -> None:
    with here.traffic():
        wait_until(lambda: here.answers and is_candidate_serving(here), seconds=60)
        promoting.kill()
        promoting.wait(10)
        state = registry.state()
        assert state is not None
        assert state.rollout is not None
        until = state.rollout.until
        assert until - time.time() <= LEASE_SECONDS
        wait_until(lambda: time.time() > until, seconds=10)
        over = len(here.answers) + 8
        here.wait_for_answers(100)
    assert registry.state() == state  # nobody is there to end it
    assert {answer.policy for answer in here.answers[over:]} == {"uncalibrated"}
    assert {answer.status for answer in here.answers} == {200}
