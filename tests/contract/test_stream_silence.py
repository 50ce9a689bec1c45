"""A student that takes a stream and says nothing has failed; one that is merely slow has not."""

from collections.abc import Sequence

import httpx
import pytest

from gateway.facts import Denial
from gateway.upstream.openai import OpenAIModel
from routing.breaker import FAILURES_TO_OPEN
from routing.vocabulary import NotAsked, Role
from tests.contract.test_stream_failures import the_error
from tests.fakes.script import (
    ROLE,
    BreakOff,
    Pause,
    Queued,
    Step,
    Until,
    Words,
    finish,
    thoughts,
    whole,
)
from tests.fakes.serving import wait_until
from tests.fakes.trial import UNSURE, Trial, joined, words
from tests.fakes.upstream import Reply

TAUGHT = words(5, "t")
COUNTED = {"cascade": "hasty"}


@pytest.fixture(params=["no headers", "headers alone", "a role"])
def silent(lone_trial: Trial, request: pytest.FixtureRequest) -> Trial:
    """A trial whose student takes each call, and then says nothing."""
    trial = lone_trial
    never = trial.event()
    begun: dict[str, Sequence[Step]] = {
        "no headers": [Queued(never)],
        "headers alone": [Until(never)],
        "a role": [ROLE, Until(never)],
    }
    trial.student_says(*begun[request.param])
    return trial


def student_of(trial: Trial, cascade: str = "hasty") -> OpenAIModel:
    return trial.upstream(cascade, Role.STUDENT)


def test_a_student_that_says_nothing_within_the_window_has_failed(silent: Trial) -> None:
    silent.teacher_says(*whole(TAUGHT))
    listener = silent.ask("hasty").whole()
    assert listener.text == joined(TAUGHT)
    assert listener.headers["x-understudy-reason"] == "student_failed"
    assert 0.25 < silent.taught.began - silent.drafted.began < 2
    silent.wait_for_left(silent.drafted, silent.taught.began)
    assert silent.legs == [("student", "upstream_timeout", None), ("teacher", None, 10)]
    code = {"role": "student", "code": "upstream_timeout"}
    assert silent.counted("understudy_upstream_errors_total", **COUNTED, **code) == 1
    assert silent.counted("understudy_drafts_aborted_total", **COUNTED) == 0
    assert student_of(silent).breaker.failures == 1
    (pair,) = silent.pairs()
    assert pair["content"]["draft"] is None


def test_after_five_of_these_it_is_left_alone(silent: Trial) -> None:
    silent.teacher_says(*whole(TAUGHT))
    for _ in range(FAILURES_TO_OPEN):
        silent.ask("hasty").whole()
    assert student_of(silent).breaker.opened_at is not None
    assert silent.ask("hasty").whole().headers["x-understudy-reason"] == "student_failed"
    assert len(silent.stage.student.requests) == FAILURES_TO_OPEN
    last = silent.observer.settled_facts[-1]
    assert last.denials == [Denial(Role.STUDENT, NotAsked.LEFT_ALONE)]


def test_a_probe_that_finds_it_silent_begins_another_rest(silent: Trial) -> None:
    silent.teacher_says(*whole(TAUGHT))
    breaker = student_of(silent).breaker
    breaker.failures, breaker.opened_at = FAILURES_TO_OPEN, 0.0
    silent.ask("hasty").whole()
    assert len(silent.stage.student.requests) == 1
    silent.ask("hasty").whole()
    assert len(silent.stage.student.requests) == 1


def leave_alone(trial: Trial) -> None:
    """Have the student's breaker open, and its rest be over."""
    breaker = student_of(trial, "assistant").breaker
    breaker.failures, breaker.opened_at = FAILURES_TO_OPEN, 0.0


def test_a_probe_that_speaks_lets_all_others_through(trial: Trial) -> None:
    """They do not wait until its answer is whole."""
    end = trial.event()
    trial.student_says(ROLE, Words(words(20)), Until(end), *finish())
    leave_alone(trial)
    for _ in range(2):
        trial.ask().wait_for(joined(words(20)))
    assert student_of(trial, "assistant").breaker.opened_at is None
    end.set()
    assert trial.stage.teacher.requests == []


def test_a_probe_that_is_given_up_has_spoken_too(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(8), UNSURE), Until(trial.event()))
    trial.teacher_says(*whole(TAUGHT))
    leave_alone(trial)
    assert trial.ask().whole().text == joined(TAUGHT)
    assert student_of(trial, "assistant").breaker.opened_at is None


@pytest.mark.parametrize(
    "said",
    [[Words(["w "])], thoughts(["Hm. "])],
    ids=["a word", "a thought"],
)
def test_a_student_that_is_merely_slow_has_not_failed(
    lone_trial: Trial, said: Sequence[Step]
) -> None:
    trial = lone_trial
    trial.student_says(ROLE, *said, Until(trial.event()))
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask("hasty").whole()
    assert listener.headers["x-understudy-reason"] == "no_signal"
    assert trial.legs == [("student", "aborted", None), ("teacher", None, 10)]
    assert student_of(trial).breaker.failures == 0


@pytest.mark.parametrize("failure", [Reply(status=500), Reply(steps=[ROLE, BreakOff()])])
def test_where_the_teacher_fails_then_nobody_is_asked_again(silent: Trial, failure: Reply) -> None:
    """What it did not say in the window it would hardly say in a second one."""
    silent.stage.teacher.reply = failure
    listener = silent.ask("hasty").wait_for_end()
    assert getattr(listener.error, "status_code", None) == 503
    assert getattr(listener.error, "code", None) == "teacher_unavailable"
    assert len(silent.stage.student.requests) == 1
    assert silent.fact.ending == "failed"
    assert silent.fact.reason == "student_failed"
    assert student_of(silent).breaker.failures == 1


def test_where_the_teacher_has_no_room_there_is_nothing_to_serve(
    silent: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silent.upstream("crowded", Role.TEACHER), "open_calls", 1)
    listener = silent.ask("crowded").wait_for_end()
    assert getattr(listener.error, "code", None) == "teacher_unavailable"
    assert len(silent.stage.student.requests) == 1
    assert silent.fact.denials == [Denial(Role.TEACHER, NotAsked.NO_ROOM)]


def test_once_a_comment_is_out_that_is_an_event(silent: Trial) -> None:
    fail = silent.event()
    silent.teacher_says(Queued(fail), BreakOff())
    question = silent.stage.question | {"model": "waking", "stream": True}
    client: httpx.Client = silent.stage.client
    with client.stream("POST", "/v1/chat/completions", json=question) as response:
        assert response.status_code == 200
        parts = response.iter_text()
        assert next(parts).startswith(":")
        fail.set()
        assert the_error("".join(parts))["code"] == "teacher_unavailable"
    assert len(silent.stage.student.requests) == 1


def test_a_draft_that_we_gave_up_is_written_anew_however_slowly(trial: Trial) -> None:
    """No window is kept for what is served anyway."""
    given_up: list[Step] = [ROLE, Words(words(8), UNSURE), Until(trial.event())]
    again: list[Step] = [ROLE, Pause(0.4), *whole(words(3, "a"), UNSURE)[1:]]
    replies = iter([Reply(steps=given_up), Reply(steps=again)])
    trial.stage.student.reply = lambda _: next(replies)
    trial.stage.teacher.reply = Reply(status=500)
    listener = trial.ask("hasty").whole()
    assert listener.text == joined(words(3, "a"))
    assert listener.headers["x-understudy-degraded"] == "teacher_failed"


def test_drafts_given_up_and_clients_that_stop_do_not_shut_the_student_out(
    lone_trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the call took: a server that has just spoken keeps nobody waiting."""
    monkeypatch.setattr("gateway.upstream.openai.PATIENCE_SECONDS", 0.2)
    trial = lone_trial
    trial.teacher_says(*whole(TAUGHT))
    trial.student_says(ROLE, Words(words(8), UNSURE, seconds_each=0.05), Until(trial.event()))
    assert trial.ask().whole().text == joined(TAUGHT)
    assert trial.upstream("assistant", Role.STUDENT).breaker.failures == 0
    trial.student_says(ROLE, Words(words(400), seconds_each=0.02))
    question = trial.stage.question | {"stream": True}
    client: httpx.Client = trial.stage.client
    with client.stream("POST", "/v1/chat/completions", json=question) as response:
        next(response.iter_text())
    wait_until(lambda: trial.observer.settled_facts[-1].ending == "cancelled")
    assert trial.upstream("assistant", Role.STUDENT).breaker.failures == 0


def test_a_client_that_leaves_a_stream_that_stands_still_counts(
    lone_trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.upstream.openai.PATIENCE_SECONDS", 0.1)
    trial = lone_trial
    trial.student_says(ROLE, Words(words(20)), Until(trial.event()))
    assert trial.ask(patience=0.3).wait_for_end().text == joined(words(20))
    assert trial.fact.ending == "cancelled"
    assert trial.upstream("assistant", Role.STUDENT).breaker.failures == 1
