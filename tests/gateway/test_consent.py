"""What a tenant's key allows: may pairs be kept, may a student learn, may the teacher be asked."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from routing.vocabulary import NotAsked, Obstacle, Role
from tests.fakes.observer import RememberingObserver
from tests.fakes.pair_schema import valid_pair
from tests.fakes.script import ROLE, Words, content_of, finish, payloads, used
from tests.fakes.serving import Stage, stage
from tests.fakes.trial import HOPELESS, UNSURE, joined, words
from tests.fakes.upstream import Reply, saying

DRAFT = words(20)
DEFERRED = saying(DRAFT, UNSURE)
SAMPLED = {
    "schema_version": 2,
    "cascade": "assistant",
    "student_version": "student-1",
    "sampling": {"temperature": 0},
    "rule": {
        "score": {"signals": ["mean_probability"], "weights": [1.0], "intercept": 0.0},
        "calibration": {"kind": "logistic", "slope": 2.0, "intercept": -1.0},
    },
    "threshold": 0.7,
    "target": {"kind": "disagreement", "value": 0.05, "with_probability": 0.95},
    "bound": 0.049,
    "n": 1200,
    "date": "2026-11-20",
    "data_sha256": "0" * 64,
}


@contextmanager
def asked_by(
    folder: Path, *, cascade: dict[str, Any] | None = None, **may: bool
) -> Iterator[tuple[Stage, RememberingObserver]]:
    """A stage whose client has a key of which this was agreed, and a student that is unsure."""
    path = folder / "keys.yaml"
    digest = hashlib.sha256(b"key-of-ann").hexdigest()
    path.write_text(yaml.safe_dump({"keys": [{"name": "ann", "sha256": digest, **may}]}))
    with stage(folder, cascade=cascade, settings={"keys_file": path}) as scene:
        scene.client.headers["authorization"] = "Bearer key-of-ann"
        scene.student.reply = DEFERRED
        scene.teacher.reply = saying(words(3, "t"))
        context = scene.gateway.context
        observer = context.observer = RememberingObserver(context.observer)
        yield scene, observer


EARLY = {"streaming": {"early_abort": True}, "audit": {"complete_drafts": 0}}


@pytest.mark.parametrize("cascade", [{}, EARLY], ids=["whole", "early abort"])
@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_a_tenant_that_may_not_escalate_gets_the_draft_marked(
    tmp_path: Path, cascade: dict[str, Any], is_stream: bool
) -> None:
    with asked_by(tmp_path, cascade=dict(cascade), may_escalate=False) as (scene, observer):
        response = scene.ask(stream=is_stream)
        assert response.status_code == 200
        assert response.headers["x-understudy-served-by"] == "student"
        assert response.headers["x-understudy-degraded"] == "not_allowed"
        assert response.headers["x-understudy-reason"] == "low_confidence"
        if is_stream:
            *_, last = chunks = payloads(response.text)
            assert content_of(chunks) == joined(DRAFT)
            assert last["understudy"]["degraded"] == "not_allowed"
        else:
            assert response.json()["choices"][0]["message"]["content"] == joined(DRAFT)
        assert scene.teacher.requests == []
        assert scene.pairs() == []
        (fact,) = observer.settled_facts
        assert fact.ending == "degraded"
        assert [(each.role, each.cause) for each in fact.denials] == [
            (Role.TEACHER, NotAsked.NOT_ALLOWED)
        ]
        labels = {"cascade": "assistant", "degraded": "not_allowed"}
        assert observer.metrics.registry.get_sample_value("understudy_degraded_total", labels) == 1


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("why", ["degraded: refuse", "no draft", "the student cannot"])
def test_without_a_draft_that_may_be_served_it_gets_503(
    tmp_path: Path, is_stream: bool, why: str
) -> None:
    cascade: dict[str, Any] = {"degraded: refuse": {"degraded": "refuse"}}.get(why, {})
    if why == "the student cannot":
        cascade["student"] = {"cannot": ["tools"]}
    with asked_by(tmp_path, cascade=cascade, may_escalate=False) as (scene, _):
        if why == "no draft":
            scene.student.reply = Reply(status=500, body={"error": {"message": "no"}})
        tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
        tools = {"tools": [tool]} if why == "the student cannot" else {}
        response = scene.ask(stream=is_stream, **tools)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "teacher_unavailable"
        assert scene.teacher.requests == []


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_a_draft_that_was_to_be_spared_is_written_after_all(
    tmp_path: Path, is_stream: bool
) -> None:
    (tmp_path / "policy.json").write_text(json.dumps(SAMPLED))
    cascade = {"policy": "policy.json"}
    with asked_by(tmp_path, cascade=cascade, may_escalate=False) as (scene, _):
        response = scene.ask(stream=is_stream)
        assert response.status_code == 200
        assert response.headers["x-understudy-reason"] == "no_signal"
        assert response.headers["x-understudy-degraded"] == "not_allowed"
        assert scene.teacher.requests == []


@pytest.mark.parametrize("handover", ["continue", "restart"])
def test_nothing_of_its_is_handed_over(tmp_path: Path, handover: str) -> None:
    cascade = {"streaming": {"handover": handover}}
    with asked_by(tmp_path, cascade=cascade, may_escalate=False) as (scene, observer):
        scene.gateway.models[1].can_continue = True
        draft = [*words(16), *words(16, "d")]
        doubted = [Words(words(16)), Words(words(16, "d"), HOPELESS), Words(["end."])]
        scene.student.reply = Reply(steps=[ROLE, *doubted, *finish(usage=used(33))])
        scene.teacher.requests.clear()  # it was probed
        headers = {"x-understudy-handover": "restart"}
        question = scene.question | {"stream": True}
        response = scene.client.post("/v1/chat/completions", json=question, headers=headers)
        chunks = payloads(response.text)
        assert content_of(chunks) == joined(draft) + "end."
        assert chunks[-1]["understudy"]["reason"] == "late_doubt"
        assert scene.teacher.requests == []
        (fact,) = observer.settled_facts
        assert fact.obstacle is Obstacle.NOT_ALLOWED
        assert fact.ending == "kept"


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
def test_a_tenant_that_may_not_store_leaves_no_pair(tmp_path: Path, is_stream: bool) -> None:
    with asked_by(tmp_path, may_store=False) as (scene, observer):
        scene.gateway.context.dice = lambda: 0.0
        response = scene.ask(stream=is_stream)
        assert response.headers["x-understudy-served-by"] == "teacher"
        assert scene.pairs() == []
        assert observer.completed_facts == []


@pytest.mark.parametrize("may_train", [False, True])
def test_a_pair_says_whether_its_tenant_lets_a_student_learn_from_it(
    tmp_path: Path, may_train: bool
) -> None:
    with asked_by(tmp_path, may_train=may_train) as (scene, _):
        scene.ask()
        pair = valid_pair(scene.pairs()[0])
        assert pair["tenant"] == "ann"
        assert pair["consent"]["tenant_may_train"] is may_train


def test_a_kept_draft_is_every_tenants(tmp_path: Path) -> None:
    with asked_by(tmp_path, may_escalate=False, may_store=False, may_train=False) as (scene, _):
        scene.student.reply = saying(DRAFT)
        response = scene.ask()
        assert response.headers["x-understudy-served-by"] == "student"
        assert "x-understudy-degraded" not in response.headers
