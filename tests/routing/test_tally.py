import json
from typing import Any

import pytest

from routing.errors import PolicyError
from routing.tally import (
    ArmTally,
    Compared,
    Drafted,
    Heartbeat,
    ShadowTally,
    Tallies,
    heartbeat_document,
    heartbeat_from_document,
    together,
)

ARM = ArmTally(drafts=10, deferred=3, failed=1, held_out=4, different=2, unknown=1)
SHADOW = ShadowTally(drafts=9, kept=5, incumbent_kept=6, both_kept=4, both_compared=3, changed=1)
OPEN = {"student-g1": 2, "student-g2": 0}


def heartbeat(**changes: Any) -> Heartbeat:
    tallies = Tallies(ARM, ArmTally(drafts=1), SHADOW)
    told: dict[str, Any] = {"at": 5.5, "revision": 7, "open": OPEN, "refused": None}
    return Heartbeat(**told | {"rollout": "r-1", "tallies": tallies} | changes)


def test_a_heartbeat_is_read_as_it_was_written() -> None:
    for sent in (heartbeat(), heartbeat(revision=0, refused="no policy", rollout=None, open={})):
        document = json.loads(json.dumps(heartbeat_document(sent)))
        assert heartbeat_from_document(document) == sent


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"at": "now"}, "at: must"),
        ({"revision": -1}, "revision: must"),
        ({"open": []}, "open: must be an object"),
        ({"open": {"s": -1}}, "open.s: must"),
        ({"refused": 1}, "refused: must be a text or null, got 1"),
        ({"rollout": True}, "rollout: must be a text or null"),
        ({"incumbent": {}}, "incumbent: lacks deferred, different, drafts"),
        ({"candidate": ARM.document() | {"failed": 0.5}}, "candidate.failed: must"),
        ({"shadow": 1}, "shadow: must be an object"),
    ],
)
def test_what_is_no_heartbeat_is_refused_by_its_path(changes: Any, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        heartbeat_from_document(heartbeat_document(heartbeat()) | changes)
    assert str(caught.value).startswith(message)


def test_what_a_later_release_says_beside_it_is_left_out() -> None:
    document = heartbeat_document(heartbeat())
    later = document | {"more": 1, "shadow": SHADOW.document() | {"more": 1}}
    assert heartbeat_from_document(later) == heartbeat()


def test_counts_of_one_rollout_add_up_over_replicas_and_others_are_left_out() -> None:
    told = [heartbeat(), heartbeat(), heartbeat(rollout="r-0"), heartbeat(rollout=None)]
    total = together(told, "r-1")
    assert total.incumbent == ArmTally(20, 6, 2, 8, 4, 2)
    assert total.candidate == ArmTally(drafts=2)
    assert (total.shadow.drafts, total.shadow.changed) == (18, 2)
    assert ARM.drafts == 10  # nothing was added to those that were read
    assert together([], "r-1") == Tallies.empty()


def test_an_arm_counts_what_came_of_its_requests() -> None:
    tally = ArmTally()
    for outcome in (Drafted.KEPT, Drafted.KEPT, Drafted.DEFERRED, Drafted.FAILED):
        tally.drafted(outcome)
    for compared in (Compared.SAME, Compared.SAME, Compared.DIFFERENT, Compared.UNKNOWN):
        tally.compared(compared)
    assert tally == ArmTally(drafts=3, deferred=1, failed=1, held_out=3, different=1, unknown=1)


def test_a_shadow_counts_both_students_verdicts_on_what_it_judged() -> None:
    tally = ShadowTally()
    for outcome in Drafted:
        for is_incumbents_kept in (True, False):
            tally.drafted(outcome, is_incumbents_kept=is_incumbents_kept)
    expected = ShadowTally(drafts=4, kept=2, incumbent_kept=2, both_kept=1, failed=2, skipped=2)
    assert tally == expected


def test_a_shadow_meets_the_teacher_or_the_incumbent() -> None:
    tally = ShadowTally()
    for compared in (Compared.SAME, Compared.DIFFERENT, Compared.UNKNOWN):
        tally.met_teacher(compared)
        tally.met_incumbent(compared)
        tally.met_incumbent(compared)
    expected = ShadowTally(compared=2, different=1, both_compared=4, changed=2, unknown=3)
    assert tally == expected
