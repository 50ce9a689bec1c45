"""UNDERSTUDY_JOURNAL_WHEN_FULL: what becomes of escalations whose pair cannot be written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from routing.vocabulary import NotAsked, Obstacle
from tests.fakes.observer import RememberingObserver
from tests.fakes.script import ROLE, Until, Words, content_of, finish, payloads, used
from tests.fakes.scripted_log import ScriptedLog
from tests.fakes.serving import Stage, stage, wait_until
from tests.fakes.trial import HOPELESS, UNSURE, joined, words
from tests.fakes.upstream import Reply, saying

DRAFT, TAUGHT = words(5), words(4, "t")
EARLY: dict[str, Any] = {"streaming": {"early_abort": True}}
REFUSING: dict[str, Any] = {"degraded": "refuse"}


@contextmanager
def writing_to(
    log: ScriptedLog, folder: Path, *, when_full: str = "refuse", **cascade: Any
) -> Iterator[tuple[Stage, RememberingObserver]]:
    """A stage with a student that is unsure, and this log."""
    cascade = {"audit": {"complete_drafts": 0}} | cascade
    settings = {"journal_when_full": when_full}
    with stage(folder, cascade=cascade, settings=settings) as scene:
        context = scene.gateway.context
        wait_until(lambda: not context.background)  # the teacher has been probed
        scene.student.reply = saying(DRAFT, UNSURE)
        scene.teacher.reply = saying(TAUGHT)
        scene.teacher.requests.clear()
        context.pairs = log
        observer = context.observer = RememberingObserver(context.observer)
        yield scene, observer


def full() -> ScriptedLog:
    return ScriptedLog(has_room=False, is_taking=False)


def filling() -> ScriptedLog:
    """It has room when it is asked, and none when the pair comes."""
    return ScriptedLog(has_room=True, is_taking=False)


WAYS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"stream": True}),
    (EARLY, {}),
]
IDS = ["plain", "stream", "early abort"]


@pytest.mark.parametrize(("cascade", "request_"), WAYS, ids=IDS)
def test_by_default_the_answer_is_delivered_and_the_loss_is_only_counted(
    tmp_path: Path, cascade: dict[str, Any], request_: dict[str, Any]
) -> None:
    log = full()
    with writing_to(log, tmp_path, when_full="count", **cascade) as (scene, observer):
        response = scene.ask(**request_)
        assert response.headers["x-understudy-served-by"] == "teacher"
        assert joined(TAUGHT).split()[-1] in response.text
        assert observer.settled_facts[0].ending == "escalated"
        assert log.lost == 1


@pytest.mark.parametrize(("cascade", "request_"), WAYS, ids=IDS)
def test_while_there_is_no_room_no_escalation_is_granted(
    tmp_path: Path, cascade: dict[str, Any], request_: dict[str, Any]
) -> None:
    log = full()
    with writing_to(log, tmp_path, **cascade) as (scene, observer):
        response = scene.ask(**request_)
        assert response.status_code == 200
        assert response.headers["x-understudy-served-by"] == "student"
        assert response.headers["x-understudy-degraded"] == "journal_full"
        assert scene.teacher.requests == []
        assert log.lost == 0
        (denial,) = observer.settled_facts[0].denials
        assert denial.cause is NotAsked.JOURNAL_FULL
        log.has_room = log.is_taking = True
        assert scene.ask(**request_).headers["x-understudy-served-by"] == "teacher"
        assert len(log.records) == 1


@pytest.mark.parametrize(("cascade", "request_"), WAYS, ids=IDS)
def test_where_degraded_answers_are_refused_that_is_a_503(
    tmp_path: Path, cascade: dict[str, Any], request_: dict[str, Any]
) -> None:
    with writing_to(full(), tmp_path, **cascade | REFUSING) as (scene, _):
        response = scene.ask(**request_)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "teacher_unavailable"
        assert scene.teacher.requests == []


@pytest.mark.parametrize(
    ("cascade", "request_"),
    [({}, {}), (EARLY, {}), ({}, {"n": 2, "stream": True})],
    ids=["plain", "early abort", "stream of several choices"],
)
def test_an_answer_whose_pair_is_lost_gives_way_to_the_draft(
    tmp_path: Path, cascade: dict[str, Any], request_: dict[str, Any]
) -> None:
    log = filling()
    with writing_to(log, tmp_path, **cascade) as (scene, observer):
        response = scene.ask(**request_)
        assert response.status_code == 200
        assert response.headers["x-understudy-served-by"] == "student"
        assert response.headers["x-understudy-degraded"] == "journal_full"
        for word in TAUGHT:
            assert word.strip() not in response.text
        (fact,) = observer.settled_facts
        assert fact.ending == "degraded"
        assert [(leg.role, fact.kind_of(leg)) for leg in fact.legs] == [
            ("student", "served"),
            ("teacher", "wasted"),
        ]
        assert log.lost == 1


@pytest.mark.parametrize(
    ("cascade", "why"),
    [
        (REFUSING, "refused"),
        (EARLY | REFUSING, "refused"),
        ({}, "no draft"),
        (EARLY, "no draft"),
        (EARLY, "cut short"),
    ],
)
def test_without_a_draft_to_serve_the_client_is_told(
    tmp_path: Path, cascade: dict[str, Any], why: str
) -> None:
    with writing_to(filling(), tmp_path, **cascade) as (scene, observer):
        if why == "no draft":
            scene.student.reply = Reply(status=500, body={"error": {"message": "no"}})
        if why == "cut short":
            scene.student.reply = saying(words(70), HOPELESS)
        response = scene.ask()
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        assert response.json()["error"]["code"] == "journal_full"
        (fact,) = observer.settled_facts
        assert (fact.ending, fact.error_code) == ("failed", "journal_full")


def test_a_stream_whose_pair_is_lost_ends_with_one_error(tmp_path: Path) -> None:
    """What is out cannot be taken back; its end, by which clients know a whole answer, is kept."""
    with writing_to(filling(), tmp_path) as (scene, observer):
        response = scene.ask(stream=True)
        assert response.status_code == 200
        *heard, last = payloads(response.text)
        assert last["error"]["code"] == "journal_full"
        assert content_of(heard) == joined(TAUGHT)
        assert [each["choices"][0]["finish_reason"] for each in heard] == [None] * len(heard)
        assert response.text.endswith("data: [DONE]\n\n")
        (fact,) = observer.settled_facts
        assert (fact.ending, fact.status) == ("failed", 200)


def test_a_stream_of_which_nothing_is_out_yet_is_a_503(tmp_path: Path) -> None:
    with writing_to(filling(), tmp_path) as (scene, _):
        scene.teacher.reply = Reply(steps=finish())
        response = scene.ask(stream=True)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "journal_full"


def test_a_stream_in_doubt_is_not_handed_over_while_there_is_no_room(tmp_path: Path) -> None:
    cascade: dict[str, Any] = {"streaming": {"handover": "continue"}}
    with writing_to(full(), tmp_path, **cascade) as (scene, observer):
        scene.gateway.models[1].can_continue = True
        doubted = [Words(words(16)), Words(words(16, "d"), HOPELESS), Words(["end."])]
        scene.student.reply = Reply(steps=[ROLE, *doubted, *finish(usage=used(33))])
        response = scene.ask(stream=True)
        assert content_of(payloads(response.text)).endswith("end.")
        assert observer.settled_facts[0].obstacle is Obstacle.JOURNAL_FULL
        assert scene.teacher.requests == []


@pytest.mark.parametrize("opt_out", ["cascade", "request"])
@pytest.mark.parametrize("log", [full(), filling()], ids=["full", "filling"])
def test_who_stores_no_pairs_is_not_concerned(
    tmp_path: Path, opt_out: str, log: ScriptedLog
) -> None:
    cascade: dict[str, Any] = {"pairs": {"store": opt_out != "cascade"}}
    with writing_to(log, tmp_path, **cascade) as (scene, _):
        response = scene.ask(**({"store": False} if opt_out == "request" else {}))
        assert response.headers["x-understudy-served-by"] == "teacher"
        assert log.lost == 0


COMPLETING: dict[str, Any] = {"audit": {"complete_drafts": 1.0}}


def test_a_draft_completed_later_that_cannot_be_written_is_only_counted(tmp_path: Path) -> None:
    log, more = ScriptedLog(), Event()
    with writing_to(log, tmp_path, **COMPLETING) as (scene, observer):
        steps = [ROLE, Words(words(8), UNSURE), Until(more), Words(words(4)), *finish()]
        scene.student.reply = Reply(steps=steps)
        response = scene.ask(stream=True)
        assert payloads(response.text)[-1]["understudy"]["served_by"] == "teacher"
        log.is_taking = False
        more.set()
        wait_until(lambda: observer.completed_facts)
        assert (len(log.records), log.lost) == (1, 1)
        assert [fact.ending for fact in observer.settled_facts] == ["escalated"]


@pytest.mark.parametrize("when_full", ["count", "refuse"])
def test_a_draft_whose_first_pair_is_lost_is_not_finished(tmp_path: Path, when_full: str) -> None:
    log, more = filling(), Event()
    with writing_to(log, tmp_path, when_full=when_full, **COMPLETING) as (scene, observer):
        steps = [ROLE, Words(words(8), UNSURE, is_counted=True), Until(more), *finish()]
        scene.student.reply = Reply(steps=steps)
        scene.ask(stream=True)
        wait_until(lambda: scene.student.played[-1].left is not None)
        more.set()
        wait_until(lambda: observer.completed_facts)
        assert not scene.gateway.context.background
        assert scene.gateway.models[0].open_calls == 0
        assert log.lost == 1
