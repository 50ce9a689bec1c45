import json
from typing import Any

import pytest

from routing.errors import PolicyError
from routing.rollout import Action, Stage
from routing.rollout_file import generations_document, generations_from_document, policy_version

GENERATION: dict[str, Any] = {
    "number": 1,
    "version": "student-g1",
    "base_url": "http://student:8000/v1",
    "model": "student-g1",
    "policy": {"student_version": "student-g1", "threshold": 0.7},
}
CANDIDATE = GENERATION | {
    "number": 2,
    "version": "student-g2",
    "policy": {"student_version": "student-g2"},
}
ROLLOUT: dict[str, Any] = {
    "id": "r-1",
    "candidate": CANDIDATE,
    "stage": "canary",
    "share": 0.25,
    "holdout": 0.1,
    "until": 1_795_000_000.5,
}
STEP = {
    "action": "canaried",
    "version": "student-g2",
    "at": 1.5,
    "who": "ann",
    "why": "5% went well",
}
STATE: dict[str, Any] = {
    "schema_version": 1,
    "revision": 7,
    "incumbent": GENERATION,
    "previous": None,
    "rollout": ROLLOUT,
    "last": STEP,
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The state with one value changed, or removed where it is ``...``."""
    document: dict[str, Any] = json.loads(json.dumps(STATE))
    *parents, last = path.split(".")
    part = document
    for name in parents:
        part = part[name]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return document


def test_a_state_is_read_and_written_as_it_was() -> None:
    state = generations_from_document(STATE)
    assert state.revision == 7
    assert state.incumbent is not None
    assert state.incumbent.version == "student-g1"
    assert state.rollout is not None
    assert (state.rollout.stage, state.rollout.share) == (Stage.CANARY, 0.25)
    assert state.rollout.candidate.number == 2
    assert state.last.action is Action.CANARIED
    assert generations_document(state) == STATE


def test_the_first_state_has_no_generation_and_nothing_that_is_tried() -> None:
    bare = STATE | {"incumbent": None, "previous": GENERATION, "rollout": None}
    state = generations_from_document(bare)
    assert state.incumbent is None
    assert state.rollout is None
    assert state.previous is not None
    assert generations_document(state) == bare


@pytest.mark.parametrize("document", [None, [], {}, STATE | {"schema_version": 2}])
def test_another_release_s_state_is_refused(document: object) -> None:
    with pytest.raises(PolicyError, match="schema_version: must be 1"):
        generations_from_document(document)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("revision", 0, "revision: must be a whole number of at least 1"),
        ("revision", True, "revision: must be"),
        ("revision", 2**53 + 1, "revision: must be at most 9007199254740992"),
        ("incumbent", ..., "generations: lacks incumbent"),
        ("more", 1, "generations: has unknown keys: more"),
        ("incumbent", [], "incumbent: must be an object"),
        ("incumbent.number", -1, "incumbent.number: must be"),
        ("incumbent.number", 10**400, "incumbent.number: must be at most 9007199254740992"),
        ("incumbent.version", "", "incumbent.version: must be a text"),
        ("incumbent.version", "g\n1", "incumbent.version: must be printable"),
        ("incumbent.base_url", None, "incumbent.base_url: must be a text"),
        ("incumbent.model", "\ud800", "incumbent.model: has half a character"),
        ("incumbent.policy", [], "incumbent.policy: must be an object"),
        ("incumbent.policy.student_version", "student-g2", "incumbent.policy: it is for the stud"),
        ("previous", 1, "previous: must be an object"),
        ("rollout", [], "rollout: must be an object"),
        ("rollout.id", "\x00", "rollout.id: must be printable"),
        ("rollout.candidate", None, "rollout.candidate: must be an object"),
        ("rollout.candidate.policy.student_version", "x", "rollout.candidate.policy: it is for"),
        ("rollout.stage", "served", "rollout.stage: must be shadow or canary, got 'served'"),
        ("rollout.share", 1.01, "rollout.share: must"),
        ("rollout.share", -0.01, "rollout.share: must be at least 0"),
        ("rollout.share", "0.1", "rollout.share: must"),
        ("rollout.holdout", 0.51, "rollout.holdout: must"),
        ("rollout.until", float("nan"), "rollout.until: must"),
        ("rollout.until", 1e12, "rollout.until: must be at most"),
        ("last.at", -1, "last.at: must be at least 0"),
        ("last.who", "a\udfff", "last.who: has half a character"),
        ("last.action", "tried", "last.action: is none that this release knows, got 'tried'"),
        ("last.at", None, "last.at: must"),
        ("last.who", 5, "last.who: must be a text"),
        ("last.why", "", "last.why: must be a text"),
    ],
)
def test_what_is_no_state_is_refused_by_its_path(path: str, value: object, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        generations_from_document(changed(path, value))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("path", "value"), [("rollout.holdout", 0.5), ("rollout.share", 1.0)])
def test_the_edges_are_allowed(path: str, value: float) -> None:
    assert generations_document(generations_from_document(changed(path, value)))


def test_a_policy_s_version_is_that_of_its_content_and_not_of_its_form() -> None:
    policy = {"student_version": "é", "n": 1200, "threshold": 0.7}
    # printf '{"n":1200,"student_version":"é","threshold":0.7}' | sha256sum
    assert policy_version(policy) == "a078a1358fa4"
    reordered = json.loads(json.dumps(dict(reversed(policy.items())), indent=2))
    assert policy_version(reordered) == policy_version(policy)
    assert policy_version(policy | {"n": 1201}) != policy_version(policy)
