from typing import Any

import pytest

from routing.errors import PolicyError
from routing.rollout import Arm, Generation, Rollout, Stage, place_of

SESSIONS = [f"session-{number}" for number in range(4000)]
UNTIL = 1000.0


def generation(version: str = "student-g2", **changes: Any) -> Generation:
    policy = {"student_version": version}
    told: dict[str, Any] = {"number": 2, "version": version, "base_url": "http://s/v1"}
    return Generation(**told | {"model": "g2", "policy": policy} | changes)


def rollout(share: float, stage: Stage = Stage.CANARY, salt: str = "rollout-1") -> Rollout:
    return Rollout(salt, generation(), stage, share, 0.1, UNTIL)


def let_in(share: float, salt: str = "rollout-1") -> set[str]:
    tried = rollout(share, salt=salt)
    return {each for each in SESSIONS if tried.arm_of(each, 0.0) is Arm.CANDIDATE}


def test_a_generation_cannot_hold_the_policy_of_another_student() -> None:
    with pytest.raises(PolicyError, match="'student-g1', and the generation is 'student-g2'"):
        generation(policy={"student_version": "student-g1"})
    with pytest.raises(PolicyError, match="None"):
        generation(policy={})


def test_a_session_stays_the_candidates_as_the_share_grows() -> None:
    assert let_in(0.05) < let_in(0.25) < let_in(0.5)


def test_the_share_of_the_sessions_is_the_one_that_was_asked_for() -> None:
    # Four standard deviations of a binomial count.
    assert len(let_in(0.25)) == pytest.approx(1000, abs=4 * (4000 * 0.25 * 0.75) ** 0.5)


def test_another_rollout_tries_other_sessions() -> None:
    both = let_in(0.25) & let_in(0.25, "rollout-2")
    assert len(both) == pytest.approx(250, abs=60)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1.0, len(SESSIONS))])
def test_no_share_is_nobody_and_all_of_it_everybody(share: float, expected: int) -> None:
    assert len(let_in(share)) == expected


def test_places_are_in_the_range_and_the_same_everywhere() -> None:
    assert all(0.0 <= place_of(each, "salt") < 1.0 for each in SESSIONS)
    # Two releases may serve side by side: whatever else changes, this must not.
    assert place_of("ann", "rollout-1") == pytest.approx(0.6845205705, abs=1e-10)


def test_a_salt_may_be_longer_than_a_key_of_the_hash() -> None:
    assert 0.0 <= place_of("ann", "é" * 100) < 1.0


@pytest.mark.parametrize(("now", "arm"), [(999.9, Arm.CANDIDATE), (1000.0, Arm.INCUMBENT)])
def test_who_is_not_watched_any_more_gets_nothing(now: float, arm: Arm) -> None:
    tried = rollout(1.0)
    assert tried.arm_of("ann", now) is arm
    assert tried.is_running(now) is (arm is Arm.CANDIDATE)
    assert tried.is_serving(now) is (arm is Arm.CANDIDATE)
    assert rollout(0.5, Stage.SHADOW).shadow_share(now) == (0.5 if now < UNTIL else 0.0)


def test_in_the_shadow_the_candidate_serves_nobody() -> None:
    tried = rollout(1.0, Stage.SHADOW)
    assert not tried.is_serving(0.0)
    assert tried.is_running(0.0)
    assert tried.arm_of("ann", 0.0) is Arm.INCUMBENT


def test_a_canary_casts_no_shadow() -> None:
    assert rollout(0.5).shadow_share(0.0) == 0.0
