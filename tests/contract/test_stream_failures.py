"""What fails, and when: before the first byte it is an answer or a status, after it one event."""

import json
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import openai
import pytest

from gateway.app import create_app
from gateway.facts import Denial
from routing.vocabulary import NotAsked, Role
from tests.fakes.listener import Listener
from tests.fakes.script import (
    ROLE,
    BreakOff,
    Queued,
    Raw,
    Step,
    Stop,
    Until,
    Words,
    content_of,
    finish,
    payloads,
    used,
    whole,
)
from tests.fakes.serving import cascade_document, load_gateway, serving, wait_until
from tests.fakes.trial import MIDDLING, UNSURE, Trial, joined, text_of, words
from tests.fakes.upstream import Reply, ScriptedModel, completion

FOUR_KEYS = {"message", "type", "param", "code"}
QUESTION = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}
TAUGHT = words(5, "t")
ERROR = Raw(b'{"error": {"message": "EngineCore died", "code": 500}}')
SILENT_FAILURES = {
    "500": Reply(status=500, body={"error": {"message": "EngineCore encountered an issue"}}),
    "503": Reply(status=503, body=b"loading"),
    "429": Reply(status=429, body=b""),
    "401": Reply(status=401, body={"error": "Unauthorized"}),
    "no events": Reply(body=b"<html>"),
    "nothing but its end": Reply(steps=[]),
    "no JSON": Reply(steps=[Raw(b"{")]),
    "no chunk": Reply(steps=[Raw(b'{"object": "list"}')]),
    "an error event": Reply(steps=[ERROR]),
    "breaks off at once": Reply(steps=[BreakOff()]),
}
FAILURES_ON_THE_WAY: Mapping[str, tuple[Step, str]] = {
    "breaks off": (BreakOff(), "upstream_unavailable"),
    "stops": (Stop(), "upstream_unavailable"),
    "an error event": (ERROR, "upstream_failed"),
    "no JSON": (Raw(b"{"), "upstream_malformed"),
}


def the_error(body: str) -> dict[str, Any]:
    """The one error event of a stream, which ends with it."""
    *_, error, end = [event for event in body.split("\n\n") if event]
    assert end == "data: [DONE]"
    assert body.count('"error"') == 1
    told: dict[str, Any] = json.loads(error.removeprefix("data: "))["error"]
    assert set(told) == FOUR_KEYS
    return told


@pytest.mark.parametrize("failure", SILENT_FAILURES.values(), ids=SILENT_FAILURES.keys())
def test_where_the_student_fails_at_once_the_teacher_streams(
    lone_trial: Trial, failure: Reply
) -> None:
    trial = lone_trial
    end = trial.event()
    trial.stage.student.reply = failure
    trial.teacher_says(ROLE, Words(TAUGHT), Until(end), *finish())
    listener = trial.ask()
    listener.wait_for(joined(TAUGHT))
    end.set()
    assert listener.whole().headers["x-understudy-reason"] == "student_failed"
    assert listener.headers["x-understudy-served-by"] == "teacher"
    (pair,) = trial.pairs()
    assert pair["content"]["draft"] is None
    assert pair["draft_complete"] is False


@pytest.mark.parametrize(
    ("step", "code"), FAILURES_ON_THE_WAY.values(), ids=FAILURES_ON_THE_WAY.keys()
)
def test_where_the_student_fails_before_anything_is_out_the_teacher_streams(
    lone_trial: Trial, step: Step, code: str
) -> None:
    trial = lone_trial
    trial.student_says(ROLE, Words(words(10), is_counted=True), step)
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask().whole()
    assert listener.text == joined(TAUGHT)
    assert listener.headers["x-understudy-reason"] == "student_failed"
    assert trial.legs == [("student", code, 10), ("teacher", None, 10)]
    (pair,) = trial.pairs()
    assert pair["content"]["draft"] is None  # what is broken off teaches nothing


def test_a_student_that_is_not_there_is_passed_over(trial: Trial) -> None:
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask("unreachable-student").whole()
    assert listener.text == joined(TAUGHT)
    assert listener.headers["x-understudy-reason"] == "student_failed"


@pytest.mark.parametrize(
    ("step", "code"), FAILURES_ON_THE_WAY.values(), ids=FAILURES_ON_THE_WAY.keys()
)
def test_where_the_student_fails_amid_its_answer_the_stream_ends_with_one_error(
    trial: Trial, step: Step, code: str
) -> None:
    trial.student_says(ROLE, Words(words(20), is_counted=True), step)
    listener = trial.ask().wait_for_end()
    assert listener.text == joined(words(20))
    assert isinstance(listener.error, openai.APIError)
    assert isinstance(listener.error.body, dict)
    assert set(listener.error.body) == FOUR_KEYS
    assert listener.error.body["code"] == code
    assert trial.stage.teacher.requests == []
    assert trial.fact.ending == "failed"
    assert trial.fact.error_code == code
    assert trial.fact.status == 200  # which is what the client saw of it
    assert (trial.fact.reason, trial.fact.handover) == ("confident", None)  # that is no doubt
    assert trial.counted("understudy_late_doubts_total", cascade="assistant", handover="never") == 0
    assert trial.legs == [("student", code, 20)]
    bill = {"cascade": "assistant", "role": "student"}  # the client has the words
    cost = trial.counted("understudy_cost_usd_total", **bill, kind="served")
    assert cost == pytest.approx(100 * 0.02e-6 + 20 * 0.06e-6)
    assert trial.counted("understudy_cost_usd_total", **bill, kind="wasted") == 0
    labels = {"cascade": "assistant", "outcome": "failed"}
    assert trial.counted("understudy_requests_total", **labels) == 1
    body = trial.read()
    assert content_of(_chunks(body)) == joined(words(20))
    assert the_error(body)["code"] == code


def _chunks(body: str) -> list[dict[str, Any]]:
    return [each for each in payloads(body) if "choices" in each]


def test_a_server_that_forgets_its_last_event_has_said_all(trial: Trial) -> None:
    trial.student_says(*whole(words(20)), Stop())
    assert trial.ask().whole().text == joined(words(20))
    assert trial.fact.ending == "kept"


def test_a_student_that_is_busy_is_passed_over(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial.upstream("assistant", Role.STUDENT), "open_calls", 256)
    trial.teacher_says(*whole(TAUGHT))
    assert trial.ask().whole().headers["x-understudy-reason"] == "student_failed"
    assert trial.stage.student.requests == []
    assert trial.fact.denials == [Denial(Role.STUDENT, NotAsked.NO_ROOM)]


def test_whole_answers_tell_too_which_model_was_not_asked(trial: Trial) -> None:
    breaker = trial.upstream("assistant", Role.TEACHER).breaker
    breaker.opened_at, breaker.probing = 0.0, True
    trial.stage.student.reply = Reply(body=completion(logprob=UNSURE))
    trial.answer("assistant")
    assert trial.fact.degraded == "teacher_failed"
    assert trial.fact.denials == [Denial(Role.TEACHER, NotAsked.LEFT_ALONE)]


def test_a_mistake_that_the_student_finds_goes_back_with_its_status(trial: Trial) -> None:
    body = {"error": {"message": "temperature must be ...", "param": "temperature"}}
    trial.stage.student.reply = Reply(status=400, body=body)
    listener = trial.ask().wait_for_end()
    assert isinstance(listener.error, openai.BadRequestError)
    assert listener.error.param == "temperature"
    assert trial.stage.teacher.requests == []
    assert trial.fact.ending == "rejected"


def test_a_prompt_too_long_for_the_student_goes_to_the_teacher(trial: Trial) -> None:
    body = {"error": {"message": "maximum context length is 2048", "param": "input_tokens"}}
    trial.stage.student.reply = Reply(status=400, body=body)
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask().whole()
    assert listener.text == joined(TAUGHT)
    assert listener.headers["x-understudy-reason"] == "student_cannot"


TEACHER_FAILURES = {**SILENT_FAILURES, "400": Reply(status=400, body={"error": "no such field"})}


@pytest.mark.parametrize("failure", TEACHER_FAILURES.values(), ids=TEACHER_FAILURES.keys())
def test_where_the_teacher_fails_an_aborted_draft_is_written_anew(
    lone_trial: Trial, failure: Reply
) -> None:
    """And it flows: what is served all the same need not be held."""
    trial = lone_trial
    end = trial.event()
    again = [ROLE, Words(words(10, "a"), UNSURE), Until(end), *finish(usage=used(10))]
    replies = iter([
        Reply(steps=[ROLE, Words(words(8), UNSURE, is_counted=True), Until(trial.event())]),
        Reply(steps=again),
    ])  # fmt: skip
    trial.stage.student.reply = lambda _: next(replies)
    trial.stage.teacher.reply = failure
    listener = trial.ask()
    listener.wait_for(joined(words(10, "a")))
    end.set()
    assert listener.whole().text == joined(words(10, "a"))
    why = "teacher_busy" if failure.status == 429 else "teacher_failed"
    assert listener.headers["x-understudy-degraded"] == why
    assert listener.headers["x-understudy-reason"] == "low_confidence"
    assert listener.said["served_by"] == "student"
    assert listener.said["degraded"] == why
    assert [each.left is None for each in trial.stage.student.played] == [False, True]
    assert trial.fact.ending == "degraded"
    told = [(leg.role.value, leg.error is None) for leg in trial.fact.legs]
    (draft, *taught, anew) = told
    assert (draft, anew) == (("student", False), ("student", True))
    # A server that is away, or breaks off before it said anything, is asked once more.
    assert taught == [("teacher", False)] * len(trial.stage.teacher.requests)
    assert trial.pairs() == []


def test_where_the_teacher_fails_a_draft_that_is_over_is_served(trial: Trial) -> None:
    trial.student_says(*whole(words(10), MIDDLING))
    listener = trial.ask("unreachable-teacher", stream_options={"include_usage": True}).whole()
    assert listener.text == joined(words(10))
    assert listener.headers["x-understudy-degraded"] == "teacher_failed"
    assert listener.heard[-1].usage is not None
    assert len(trial.stage.student.requests) == 1
    labels = {"cascade": "unreachable-teacher", "reason": "low_confidence"}
    assert trial.counted("understudy_deferrals_total", **labels) == 1
    assert trial.counted("understudy_escalations_total", **labels) == 0


def test_where_the_student_then_fails_too_there_is_nothing_to_serve(trial: Trial) -> None:
    draft = Reply(steps=[ROLE, Words(words(8), UNSURE), Until(trial.event())])
    for failure in (Reply(status=500), Reply(status=400)):
        replies = iter([draft, failure])
        trial.stage.student.reply = lambda _, rest=replies: next(rest)
        trial.stage.teacher.reply = Reply(status=500)
        listener = trial.ask().wait_for_end()
        assert isinstance(listener.error, openai.InternalServerError)
        assert listener.error.status_code == 503
        assert listener.error.code == "teacher_unavailable"
        assert listener.heard == []


@pytest.mark.parametrize("step", [BreakOff(), ERROR], ids=["breaks off", "an error event"])
def test_where_all_that_it_then_says_is_its_role_there_is_nothing_to_serve(
    trial: Trial, step: Step
) -> None:
    replies = iter([
        Reply(steps=[ROLE, Words(words(8), UNSURE), Until(trial.event())]),
        Reply(steps=[ROLE, step]),
    ])  # fmt: skip
    trial.stage.student.reply = lambda _: next(replies)
    trial.stage.teacher.reply = Reply(status=500)
    listener = trial.ask().wait_for_end()
    assert getattr(listener.error, "status_code", None) == 503
    assert getattr(listener.error, "code", None) == "teacher_unavailable"


def test_where_it_breaks_off_anew_the_stream_ends_with_an_error(trial: Trial) -> None:
    replies = iter([
        Reply(steps=[ROLE, Words(words(8), UNSURE), Until(trial.event())]),
        Reply(steps=[ROLE, Words(words(5, "a")), BreakOff()]),
    ])  # fmt: skip
    trial.stage.student.reply = lambda _: next(replies)
    trial.stage.teacher.reply = Reply(status=500)
    listener = trial.ask().wait_for_end()
    assert listener.text == joined(words(5, "a"))
    assert isinstance(listener.error, openai.APIError)
    assert trial.fact.ending == "failed"


def test_where_both_fail_the_client_gets_503_and_when_to_come_back(trial: Trial) -> None:
    trial.stage.student.reply = trial.stage.teacher.reply = Reply(status=500)
    listener = trial.ask().wait_for_end()
    assert isinstance(listener.error, openai.InternalServerError)
    assert listener.error.response.headers["retry-after"] == "5"
    assert trial.fact.ending == "failed"


@pytest.mark.parametrize(
    ("step", "code"), FAILURES_ON_THE_WAY.values(), ids=FAILURES_ON_THE_WAY.keys()
)
def test_where_the_teacher_fails_amid_its_answer_the_stream_ends_with_one_error(
    trial: Trial, step: Step, code: str
) -> None:
    trial.student_says(ROLE, Words(words(8), UNSURE), Until(trial.event()))
    trial.teacher_says(ROLE, Words(TAUGHT, is_counted=True), step)
    listener = trial.ask().wait_for_end()
    assert listener.text == joined(TAUGHT)
    assert isinstance(listener.error, openai.APIError)
    assert isinstance(listener.error.body, dict)
    assert listener.error.body["code"] == code
    assert trial.fact.ending == "failed"
    assert trial.legs == [("student", "aborted", None), ("teacher", code, 5)]
    assert trial.pairs() == []  # half an answer is nothing to learn from
    assert the_error(trial.read())["code"] == code


def test_after_a_comment_an_error_is_an_event(lone_trial: Trial) -> None:
    """The status is out before anybody knows that there is nothing to serve."""
    trial, fail = lone_trial, lone_trial.event()
    trial.student_says(*whole(words(5), UNSURE))
    trial.teacher_says(Queued(fail), BreakOff())
    body = after_a_comment(trial, fail)
    assert the_error(body)["code"] == "teacher_unavailable"
    assert "choices" not in body
    assert trial.fact.ending == "failed"


def test_after_a_comment_a_mistake_is_an_event_too(lone_trial: Trial) -> None:
    trial = lone_trial
    refusal = {"error": {"message": "no such sampler", "param": "sampler"}}
    trial.stage.student.reply = Reply(status=400, body=refusal, delay_seconds=1.2)
    error = the_error(trial.read("wakeful"))
    assert error["message"] == "no such sampler"
    assert error["param"] == "sampler"
    assert trial.fact.ending == "rejected"


def after_a_comment(trial: Trial, go_on: Any) -> str:
    """The body of a stream that got a comment first, from there on."""
    question = trial.stage.question | {"model": "wakeful", "stream": True}
    client: httpx.Client = trial.stage.client
    with client.stream("POST", "/v1/chat/completions", json=question) as response:
        assert response.status_code == 200
        parts = response.iter_text()
        assert next(parts).startswith(":")
        go_on.set()
        return "".join(parts)


@pytest.mark.parametrize("is_out", [False, True], ids=["held", "flowing"])
def test_a_gateway_that_ends_says_so(tmp_path: Path, is_out: bool) -> None:
    """Not even then is a stream cut in silence."""
    model, nothing = ScriptedModel(), Event()
    model.reply = Reply(steps=[ROLE, Words(words(20 if is_out else 5)), Until(nothing)])
    with serving(model) as url:
        gateway = load_gateway(tmp_path, cascade_document(url, url))
        with serving(create_app(gateway)) as address:
            listener = Listener(address, QUESTION, is_async=False)
            wait_until(lambda: model.played and model.played[-1].events > 5)
            if is_out:
                listener.wait_for(joined(words(20)))
        listener.wait_for_end()
        wait_until(lambda: model.played[-1].left)
    assert isinstance(listener.error, openai.APIError)
    assert listener.error.code == "shutting_down"
    assert isinstance(listener.error, openai.InternalServerError) is not is_out
    assert listener.text == (joined(words(20)) if is_out else "")


def test_a_failing_teacher_is_left_alone_after_five_streams(lone_trial: Trial) -> None:
    trial = lone_trial
    trial.student_says(*whole(words(5), UNSURE))
    trial.stage.teacher.reply = Reply(steps=[ROLE, Words(TAUGHT), BreakOff()])
    for _ in range(5):
        assert trial.ask().wait_for_end().error is not None
    listener = trial.ask().whole()
    assert listener.headers["x-understudy-degraded"] == "teacher_failed"
    assert len(trial.stage.teacher.requests) == 5


def test_malformed_streams_shut_nobody_out(lone_trial: Trial) -> None:
    trial = lone_trial
    trial.stage.student.reply = Reply(body=b"<html>")
    trial.teacher_says(*whole(TAUGHT))
    for _ in range(6):
        assert trial.ask().whole().headers["x-understudy-reason"] == "student_failed"
    assert len(trial.stage.student.requests) == 6


def test_the_pair_of_a_prompt_without_a_draft_can_be_read(trial: Trial) -> None:
    trial.stage.student.reply = Reply(status=500)
    trial.teacher_says(*whole(TAUGHT))
    trial.ask(seed=7).whole()
    (pair,) = trial.pairs()
    assert pair["content"]["request"]["seed"] == 7
    assert text_of(pair["content"]["answer"]) == joined(TAUGHT)
    assert [leg["error"] for leg in pair["legs"]] == ["upstream_failed", None]
