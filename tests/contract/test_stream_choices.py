"""Several choices are judged by the weakest, which is known in the end only, and are sent then."""

from typing import Any

import openai

from tests.contract.test_stream_failures import the_error
from tests.fakes.listener import Listener
from tests.fakes.script import content_of, entry, payloads
from tests.fakes.serving import wait_until
from tests.fakes.trial import AT_ONCE, SURE, UNSURE, Trial
from tests.fakes.upstream import Reply, completion

PATIENCE_SECONDS = 0.2
# Longer than the cascade `wakeful` keeps silent.
LONG_SECONDS = 1.2
QUESTION: dict[str, Any] = {"model": "wakeful", "stream": True, "n": 2}


def two(first: str, second: str, second_logprob: float = SURE) -> dict[str, Any]:
    """A completion of two choices."""
    logprobs = {first: SURE, second: second_logprob}
    choices = [
        {
            "index": place,
            "message": {"role": "assistant", "content": text},
            "logprobs": {"content": [entry(text, logprobs[text])]},
            "finish_reason": "stop",
        }
        for place, text in enumerate((first, second))
    ]
    return completion() | {"choices": choices}


def texts_of(listener: Listener) -> list[str]:
    """What each of the two choices says."""
    texts = ["", ""]
    for each in listener.heard:
        for choice in each.choices:
            texts[choice.index] += choice.delta.content or ""
    return texts


def test_a_kept_draft_is_sent_once_it_is_judged(trial: Trial) -> None:
    trial.stage.student.reply = Reply(body=two("Paris.", "Paris!"))
    listener = trial.ask(n=2).whole()
    assert texts_of(listener) == ["Paris.", "Paris!"]
    assert "stream" not in trial.stage.student.requests[0]
    assert listener.headers["x-understudy-served-by"] == "student"
    assert listener.headers["x-understudy-cost-usd"] == listener.said["cost_usd"]
    assert listener.said["served_by"] == "student"
    assert listener.said["reason"] == "confident"
    assert trial.fact.ending == "kept"
    assert trial.fact.is_stream


def test_the_weakest_choice_sends_all_to_the_teacher(trial: Trial) -> None:
    trial.stage.student.reply = Reply(body=two("Paris.", "Lyon!", UNSURE))
    trial.stage.teacher.reply = Reply(body=two("Paris.", "Paris!"))
    listener = trial.ask(n=2, stream_options={"include_usage": True}).whole()
    assert texts_of(listener) == ["Paris.", "Paris!"]
    assert listener.headers["x-understudy-served-by"] == "teacher"
    assert listener.heard[-1].usage is not None
    assert listener.said["served_by"] == "teacher"
    assert len(trial.pairs()) == 1


def test_a_comment_keeps_the_connection_while_they_are_written(lone_trial: Trial) -> None:
    """Then the headers cannot tell who answered, and the last chunk does."""
    trial = lone_trial
    trial.stage.student.reply = Reply(body=two("Paris.", "Paris!"), delay_seconds=LONG_SECONDS)
    question = trial.stage.question | QUESTION
    with trial.stage.client.stream("POST", "/v1/chat/completions", json=question) as response:
        assert response.status_code == 200
        assert "x-understudy-served-by" not in response.headers
        assert "x-understudy-cost-usd" not in response.headers
        lines = response.iter_lines()
        assert next(lines).startswith(":")
        text = "\n".join(lines)
    assert content_of(payloads(text)) == "Paris.Paris!"
    assert payloads(text)[-1]["understudy"]["served_by"] == "student"
    assert text.rstrip().endswith("data: [DONE]")


def test_after_a_comment_a_failure_is_one_event(lone_trial: Trial) -> None:
    trial = lone_trial
    trial.stage.student.reply = Reply(status=500, delay_seconds=LONG_SECONDS)
    trial.stage.teacher.reply = Reply(status=500)
    body = trial.read(**QUESTION)
    assert body.startswith(":")
    assert the_error(body)["code"] == "teacher_unavailable"
    assert trial.fact.status == 200
    assert trial.fact.ending == "failed"


def test_before_a_comment_a_failure_is_a_status(trial: Trial) -> None:
    trial.stage.student.reply = trial.stage.teacher.reply = Reply(status=500)
    listener = trial.ask(n=2).wait_for_end()
    assert isinstance(listener.error, openai.InternalServerError)
    assert listener.error.code == "teacher_unavailable"


def test_a_client_that_leaves_stops_the_model(trial: Trial) -> None:
    trial.stage.student.reply = Reply(body=two("Paris.", "Paris!"), delay_seconds=20)
    before = trial.stage.student.disconnects
    listener = trial.ask(n=2, patience=PATIENCE_SECONDS).wait_for_end()
    assert isinstance(listener.error, openai.APITimeoutError)
    wait_until(lambda: trial.stage.student.disconnects == before + 1, seconds=AT_ONCE)
    assert trial.fact.ending == "cancelled"
    assert trial.legs == [("student", "cancelled", None)]
