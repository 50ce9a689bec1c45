"""What is owed is audited once the teacher answers again."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.audits.catching_up import CatchingUp
from routing.breaker import Breaker
from tests.fakes.serving import Stage, server_of, wait_until
from tests.fakes.upstream import Reply
from tests.gateway.audits.auditing import ALWAYS, LYON, UNSURE_REPLY, Scene, auditing


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("catching-up")
    with auditing(folder, {}, {"owing": {"audit": ALWAYS | {"catch_up": True}}}) as stage:
        yield stage


@pytest.fixture
def deferred(built: Stage) -> Iterator[Scene]:
    """A scene whose student is unsure, and whose teacher says something else."""
    made = Scene(built)
    made.begin()
    made.stage.student.reply = UNSURE_REPLY
    made.stage.teacher.reply = LYON
    yield made
    made.end()


def owe(scene: Scene, cascade: str = "owing", key: str = "open", **changes: Any) -> None:
    """Have the teacher be left alone while the student is unsure."""
    scene.leave_teacher_alone(cascade)
    response = scene.ask(key, model=cascade, **changes)
    assert response.headers["x-understudy-degraded"] == "teacher_failed"
    scene.settle()


def bring_back(scene: Scene) -> None:
    """Have the teacher's breaker close, and wait until what is owed is audited."""
    for upstream in scene.stage.gateway.models:
        upstream.breaker.succeeded()
    wait_until(scene.audits)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_what_was_served_degraded_is_audited_once_the_teacher_is_back(
    deferred: Scene, is_stream: bool
) -> None:
    steering = deferred.steer("owing")
    owe(deferred, stream=is_stream)
    assert deferred.stage.metric("understudy_audits_debt", cascade="owing") == 1
    assert deferred.audits() == []
    assert steering.grades == []
    steering.standing = replace(steering.standing, epoch=9)
    bring_back(deferred)
    (audit,) = deferred.audits()
    assert (audit["known"], audit["degraded"], audit["loss"]) == ("owed", "teacher_failed", 1)
    assert (audit["propensity"], audit["epoch"], audit["reason"]) == (1.0, 3, "low_confidence")
    (grade,) = steering.grades
    assert (grade.propensity, grade.epoch, grade.is_kept) == (1.0, 3, False)
    assert deferred.stage.metric("understudy_audits_debt", cascade="owing") == 0


def test_what_was_asked_in_vain_is_audited_too_and_graded_once(deferred: Scene) -> None:
    steering = deferred.steer("owing")
    steering.has_money = False
    deferred.stage.teacher.reply = Reply(status=500)
    deferred.ask(model="owing")
    deferred.stage.teacher.reply = LYON
    steering.has_money = True
    bring_back(deferred)
    (audit,) = deferred.audits()
    assert audit["degraded"] == "teacher_failed"
    assert [grade.loss for grade in steering.grades] == [1.0]


def test_nothing_is_owed_to_whom_no_record_may_be_kept_of(deferred: Scene) -> None:
    owe(deferred, key="private")
    owe(deferred, n=2)
    owe(deferred, cascade="assistant")
    debt = deferred.stage.gateway.context.served["owing"].audits.debt
    assert debt is not None
    assert len(debt) == 0


def test_a_teacher_that_is_tried_again_is_not_tried_with_what_is_owed(deferred: Scene) -> None:
    """Its failure would count against the drafts, and requests find out whether it is back."""
    owe(deferred)
    context = deferred.stage.gateway.context
    server = server_of(context.served["owing"].cascade.teacher)
    server.breaker = Breaker()
    for _ in range(5):
        server.breaker.failed(0.0)  # so long ago that it may be asked once
    CatchingUp(context).look()
    assert deferred.stage.metric("understudy_audits_debt", cascade="owing") == 1
    assert deferred.stage.teacher.requests == []


def test_what_is_owed_waits_for_money(deferred: Scene) -> None:
    steering = deferred.steer("owing")
    steering.has_money = False
    owe(deferred)
    context = deferred.stage.gateway.context
    debt = context.served["owing"].audits.debt
    for upstream in deferred.stage.gateway.models:
        upstream.breaker.succeeded()
    CatchingUp(context).look()
    assert debt is not None
    assert len(debt) == 1
    steering.has_money = True
    bring_back(deferred)
    assert len(deferred.audits()) == 1


def test_what_is_owed_stays_so_where_the_teacher_goes_away_again(deferred: Scene) -> None:
    owe(deferred)
    context = deferred.stage.gateway.context
    debt = context.served["owing"].audits.debt
    assert debt is not None
    owed = debt.take()

    async def begin() -> None:
        owed.begin()
        await asyncio.gather(*context.background)

    asyncio.run(begin())
    assert len(debt) == 1
    assert deferred.audits() == []
    assert deferred.skipped("owing") == []


def test_a_teacher_that_answers_nothing_but_500_is_tried_once_and_not_with_all_that_is_owed(
    deferred: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.audits.debt.PAUSE_SECONDS", 60.0)
    steering = deferred.steer("owing")
    for _ in range(3):
        owe(deferred)
    deferred.stage.teacher.reply = Reply(status=500)
    context = deferred.stage.gateway.context
    server_of(context.served["owing"].cascade.teacher).breaker.succeeded()
    wait_until(lambda: len(deferred.stage.teacher.requests) == 2)  # the second is the retry
    deferred.settle()
    assert deferred.stage.metric("understudy_audits_debt", cascade="owing") == 3
    assert deferred.audits() == []
    assert steering.grades == []


def test_what_the_teacher_fails_at_for_a_second_time_is_a_difference(deferred: Scene) -> None:
    steering = deferred.steer("owing")
    owe(deferred)
    deferred.stage.teacher.reply = Reply(status=500)
    bring_back(deferred)
    (audit,) = deferred.audits()
    assert (audit["loss"], audit["score"]) == (1.0, None)
    assert [(grade.loss, grade.is_answered) for grade in steering.grades] == [(1.0, False)]
    assert len(deferred.stage.teacher.requests) == 4
    assert deferred.stage.metric("understudy_audits_debt", cascade="owing") == 0


def test_a_teacher_that_refuses_what_is_owed_is_there_and_gets_the_rest(
    deferred: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.audits.debt.PAUSE_SECONDS", 60.0)
    steering = deferred.steer("owing")
    for _ in range(3):
        owe(deferred)
    deferred.stage.teacher.reply = Reply(status=400)
    bring_back(deferred)
    wait_until(lambda: len(deferred.audits()) == 3)
    assert {(audit["loss"], audit["score"]) for audit in deferred.audits()} == {(1.0, None)}
    assert [grade.is_answered for grade in steering.grades] == [False] * 3
    assert len(deferred.stage.teacher.requests) == 3


def test_what_is_forgotten_of_the_debt_is_counted(
    deferred: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.audits.debt.MOST_OWED", 1)
    owe(deferred)
    owe(deferred)
    assert deferred.stage.metric("understudy_audits_debt", cascade="owing") == 1
    assert deferred.counted("understudy_audits_debt_dropped_total", cascade="owing") == 1
