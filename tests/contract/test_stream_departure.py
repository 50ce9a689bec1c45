"""A client that leaves stops both models at once, and pays for what they had written."""

import contextlib
import json
import socket
from collections.abc import Iterator

import httpx
import openai
import pytest

from routing.vocabulary import Role
from tests.fakes.chunks import chunk
from tests.fakes.listener import Listener
from tests.fakes.script import (
    ROLE,
    Played,
    Queued,
    Raw,
    Step,
    Until,
    Words,
    entry,
    finish,
    tool_call,
    whole,
)
from tests.fakes.serving import wait_until
from tests.fakes.trial import AT_ONCE, HOPELESS, SURE, UNSURE, Trial, joined, words
from tests.fakes.upstream import Reply, completion

PATIENCE_SECONDS = 0.2
RESTART = {"x-understudy-handover": "restart"}


def leave(listener: Listener) -> float:
    """Wait until the client has had enough; when that was."""
    listener.wait_for_end()
    assert isinstance(listener.error, openai.APITimeoutError)
    assert listener.ended_at is not None
    return listener.ended_at


def is_stopped(trial: Trial, played: Played, left_at: float) -> None:
    """The model's reader left as soon as the client did, and not before."""
    trial.wait_for_left(played, left_at)
    assert played.left is not None
    assert played.left > left_at - PATIENCE_SECONDS


def is_cancelled(trial: Trial, cascade: str = "assistant") -> None:
    assert trial.fact.ending == "cancelled"
    assert trial.fact.status == 499
    labels = {"cascade": cascade, "outcome": "cancelled"}
    assert trial.counted("understudy_requests_total", **labels) == 1
    assert trial.pairs() == []


def test_while_the_student_is_queued(trial: Trial) -> None:
    trial.student_says(Queued(trial.event()), *whole(words(20)))
    left_at = leave(trial.ask(patience=PATIENCE_SECONDS))
    is_stopped(trial, trial.drafted, left_at)
    is_cancelled(trial)
    assert trial.legs == [("student", "cancelled", None)]


def test_while_the_draft_is_held(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(5), is_counted=True), Until(trial.event()))
    listener = trial.ask(patience=PATIENCE_SECONDS)
    left_at = leave(listener)
    assert listener.heard == []
    is_stopped(trial, trial.drafted, left_at)
    is_cancelled(trial)
    assert trial.legs == [("student", "cancelled", 5)]
    cost = trial.fact.cost_pico
    assert cost == 2_000_000 + 5 * 60_000
    name = "understudy_cost_usd_total"
    wasted = trial.counted(name, cascade="assistant", role="student", kind="wasted")
    assert wasted == pytest.approx(cost / 10**12)
    assert trial.counted("understudy_tokens_total", cascade="assistant", role="student",
                         type="output") == 5  # fmt: skip


def test_while_the_draft_flows(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(20), is_counted=True), Until(trial.event()))
    listener = trial.ask(patience=PATIENCE_SECONDS)
    left_at = leave(listener)
    assert listener.text == joined(words(20))
    is_stopped(trial, trial.drafted, left_at)
    is_cancelled(trial)
    assert trial.legs == [("student", "cancelled", 20)]
    assert trial.fact.first_byte_seconds is not None
    bill = {"cascade": "assistant", "role": "student"}  # the client has read the words
    cost = trial.counted("understudy_cost_usd_total", **bill, kind="served")
    assert cost == pytest.approx(100 * 0.02e-6 + 20 * 0.06e-6)


def test_while_a_tool_call_is_held(trial: Trial) -> None:
    trial.student_says(ROLE, *tool_call("f", ["{"]), Until(trial.event()))
    left_at = leave(trial.ask(patience=PATIENCE_SECONDS))
    is_stopped(trial, trial.drafted, left_at)
    is_cancelled(trial)


def test_while_the_teacher_is_awaited(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(8), UNSURE, is_counted=True), Until(trial.event()))
    trial.teacher_says(Queued(trial.event()), *whole(words(5)))
    listener = trial.ask(patience=PATIENCE_SECONDS)
    left_at = leave(listener)
    assert listener.heard == []
    is_stopped(trial, trial.taught, left_at)
    is_cancelled(trial)
    assert trial.legs == [("student", "aborted", 8), ("teacher", "cancelled", None)]
    assert trial.fact.reason == "low_confidence"


@pytest.mark.parametrize("is_counted", [False, True], ids=["no bill", "running bill"])
def test_while_the_teacher_streams(trial: Trial, is_counted: bool) -> None:
    trial.student_says(*whole(words(5), UNSURE))
    trial.teacher_says(ROLE, Words(words(7, "t"), is_counted=is_counted), Until(trial.event()))
    listener = trial.ask(patience=PATIENCE_SECONDS)
    left_at = leave(listener)
    assert listener.text == joined(words(7, "t"))
    is_stopped(trial, trial.taught, left_at)
    is_cancelled(trial)
    output = 7 if is_counted else None
    assert trial.legs == [("student", None, 10), ("teacher", "cancelled", output)]
    unknown = trial.counted("understudy_cost_unknown_total", cascade="assistant", role="teacher",
                            cause="usage")  # fmt: skip
    assert unknown == (0 if is_counted else 1)


def falling_into_doubt(trial: Trial) -> list[Step]:
    doubted = Words(words(16, "d"), HOPELESS, is_counted=True)
    return [ROLE, Words(words(16), is_counted=True), doubted, Until(trial.event())]


def test_while_a_teacher_is_to_take_over(trial: Trial) -> None:
    """Both models have a call open then, and both are stopped."""
    trial.student_says(*falling_into_doubt(trial))
    trial.teacher_says(Queued(trial.event()), *whole(words(5)))
    listener = trial.ask("continuing", patience=PATIENCE_SECONDS)
    left_at = leave(listener)
    assert listener.text == joined(words(16), words(16, "d"))
    is_stopped(trial, trial.drafted, left_at)
    is_stopped(trial, trial.taught, left_at)
    is_cancelled(trial, "continuing")
    assert trial.legs == [("teacher", "cancelled", None), ("student", "cancelled", 32)]


def test_while_a_teacher_goes_on_with_the_answer(trial: Trial) -> None:
    trial.student_says(*falling_into_doubt(trial))
    trial.teacher_says(ROLE, Words(["t "], is_counted=True), Until(trial.event()))
    listener = trial.ask("continuing", patience=PATIENCE_SECONDS)
    left_at = leave(listener)
    assert listener.text.endswith("t ")
    is_stopped(trial, trial.taught, left_at)
    is_cancelled(trial, "continuing")
    assert trial.legs == [("student", None, 32), ("teacher", "cancelled", 1)]


def test_while_a_teacher_is_to_start_again(trial: Trial) -> None:
    trial.student_says(*falling_into_doubt(trial))
    trial.teacher_says(Queued(trial.event()), *whole(words(5)))
    left_at = leave(trial.ask("restarting", headers=RESTART, patience=PATIENCE_SECONDS))
    is_stopped(trial, trial.drafted, left_at)
    is_stopped(trial, trial.taught, left_at)
    is_cancelled(trial, "restarting")
    assert trial.legs == [("teacher", "cancelled", None), ("student", "cancelled", 32)]


def test_while_a_teacher_writes_an_answer_that_was_started_again(trial: Trial) -> None:
    trial.student_says(*falling_into_doubt(trial))
    trial.teacher_says(ROLE, Words(["t "], is_counted=True), Until(trial.event()))
    listener = trial.ask("restarting", headers=RESTART, patience=PATIENCE_SECONDS)
    left_at = leave(listener)
    assert listener.text.endswith("t ")
    is_stopped(trial, trial.taught, left_at)
    is_cancelled(trial, "restarting")
    assert trial.legs == [("student", "aborted", 32), ("teacher", "cancelled", 1)]


def test_while_a_draft_that_was_given_up_is_written_anew(trial: Trial) -> None:
    given_up: list[Step] = [ROLE, Words(words(8), UNSURE, is_counted=True), Until(trial.event())]
    anew: list[Step] = [ROLE, Words(words(3), UNSURE, is_counted=True), Until(trial.event())]
    replies = iter([Reply(steps=given_up), Reply(steps=anew)])
    trial.stage.student.reply = lambda _: next(replies)
    trial.stage.teacher.reply = Reply(status=500)
    listener = trial.ask(patience=PATIENCE_SECONDS)
    left_at = leave(listener)
    assert listener.text == joined(words(3))
    is_stopped(trial, trial.stage.student.played[-1], left_at)
    is_cancelled(trial)
    assert [leg[::2] for leg in trial.legs] == [("student", 8), ("teacher", 0), ("student", 3)]


def test_while_a_degraded_draft_flows(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial.upstream("crowded", Role.TEACHER), "open_calls", 1)
    trial.student_says(ROLE, Words(words(9), UNSURE, is_counted=True), Until(trial.event()))
    listener = trial.ask("crowded", patience=PATIENCE_SECONDS)
    left_at = leave(listener)
    assert listener.text == joined(words(9))
    is_stopped(trial, trial.drafted, left_at)
    is_cancelled(trial, "crowded")
    assert trial.legs == [("student", "cancelled", 9)]


def test_while_an_abandoned_draft_waits_to_be_finished(trial: Trial) -> None:
    """Nobody learns from a request that came to nothing: the draft is dropped with it."""
    trial.stage.gateway.context.dice = lambda: 0.0
    trial.student_says(ROLE, Words(words(8), UNSURE, is_counted=True), Until(trial.event()))
    trial.teacher_says(ROLE, Words(words(2, "t")), Until(trial.event()))
    listener = trial.ask("learning", patience=PATIENCE_SECONDS)
    left_at = leave(listener)
    assert listener.text == joined(words(2, "t"))
    is_stopped(trial, trial.drafted, left_at)
    is_stopped(trial, trial.taught, left_at)
    is_cancelled(trial, "learning")
    assert trial.legs == [("teacher", "cancelled", None), ("student", "aborted", 8)]
    assert trial.observer.completed_facts == []


def test_a_client_without_a_stream_leaves_too(trial: Trial) -> None:
    """Its draft is streamed all the same, so that it can be given up early, and is stopped."""
    trial.student_says(ROLE, Words(words(20), is_counted=True), Until(trial.event()))
    with pytest.raises(openai.APITimeoutError):
        trial.answer("aborting", timeout=PATIENCE_SECONDS)
    trial.wait_for_left(trial.drafted, trial.drafted.began + PATIENCE_SECONDS)
    is_cancelled(trial, "aborting")
    assert trial.legs == [("student", "cancelled", 20)]


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_a_client_of_a_whole_answer_leaves_too(trial: Trial, who: str) -> None:
    """What a model has written by then that does not stream, nobody knows, and that is counted."""
    student, teacher = trial.stage.student, trial.stage.teacher
    hanging = Reply(delay_seconds=20)
    student.reply = hanging if who == "student" else Reply(body=completion(logprob=UNSURE))
    teacher.reply = hanging
    model = student if who == "student" else teacher
    before = model.disconnects
    with pytest.raises(openai.APITimeoutError):
        trial.answer(timeout=PATIENCE_SECONDS)
    wait_until(lambda: model.disconnects == before + 1, seconds=AT_ONCE)
    is_cancelled(trial)
    assert trial.legs[-1] == (who, "cancelled", None)
    labels = {"cascade": "assistant", "role": who, "cause": "usage"}
    assert trial.counted("understudy_cost_unknown_total", **labels) == 1


def test_a_client_that_takes_what_it_has_and_goes(trial: Trial) -> None:
    """It closes its end amid the flow, without a timeout."""
    trial.student_says(ROLE, Words(words(500), seconds_each=0.002), *finish())
    question = trial.stage.question | {"stream": True}
    with trial.stage.client.stream("POST", "/v1/chat/completions", json=question) as response:
        next(response.iter_text())
    assert trial.fact.ending == "cancelled"
    assert trial.drafted.left is not None or not trial.drafted.is_over


@contextlib.contextmanager
def silent_client(trial: Trial, model: str) -> Iterator[None]:
    """A client that asks for a stream and reads nothing of it."""
    url = httpx.URL(trial.stage.url)
    body = json.dumps(trial.stage.question | {"model": model, "stream": True}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((url.host, url.port))
        client.sendall(head.encode() + body)
        yield


def test_a_client_that_stops_reading_has_left_after_a_while(
    lone_trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not hang up, and must not hold both models for ever."""
    monkeypatch.setattr("gateway.api.live.STALL_SECONDS", 0.5)
    trial = lone_trial
    trial.stage.gateway.context.dice = lambda: 0.0  # the draft goes on beside the answer
    trial.student_says(ROLE, Words(words(8), UNSURE, is_counted=True), Until(trial.event()))
    trial.teacher_says(ROLE, Words(["t" * 2**16] * 400, logprob=None))
    with silent_client(trial, "stalling"):
        wait_until(lambda: trial.observer.settled_facts, seconds=5)
        is_cancelled(trial, "stalling")
        wait_until(lambda: trial.drafted.left)
        wait_until(lambda: trial.taught.left)
        student, teacher = Role.STUDENT, Role.TEACHER
        for role in (student, teacher):
            assert trial.upstream("stalling", role).open_calls == 0
            assert trial.upstream("stalling", role).breaker.failures == 0
    assert {leg[:2] for leg in trial.legs} == {("student", "aborted"), ("teacher", "cancelled")}
    assert trial.observer.completed_facts == []


def test_an_error_waits_no_longer_for_a_client_that_reads_nothing(
    lone_trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a large window goes out at once, and then there is only the error left to send."""
    monkeypatch.setattr("gateway.api.live.STALL_SECONDS", 0.5)
    trial = lone_trial
    large = Raw(chunk({"content": "w" * 900_000}, [entry("w", SURE)]))
    trial.student_says(ROLE, *[large] * 16, Raw(b'{"error": {"message": "died"}}'))
    with silent_client(trial, "assistant"):
        assert trial.fact.ending == "failed"
        wait_until(lambda: trial.stage.gateway.context.open_requests == 0, seconds=3)
