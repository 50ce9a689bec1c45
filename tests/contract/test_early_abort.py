"""A client that does not stream gains as well: a hopeless draft does not delay the teacher."""

from typing import Any

import openai
import pytest

from tests.fakes.script import (
    ROLE,
    BreakOff,
    Pause,
    Until,
    Words,
    finish,
    steps_of,
    tool_call,
    used,
    whole,
)
from tests.fakes.trial import AT_ONCE, HOPELESS, MIDDLING, UNSURE, Trial, joined, text_of, words
from tests.fakes.upstream import SURE, Reply, completion

TAUGHT = words(5, "t")
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def test_a_kept_draft_is_what_it_would_have_been(trial: Trial) -> None:
    """The answer put together from a stream is the one that the server would have sent whole."""
    body = completion("Paris, of course.", SURE)
    trial.stage.student.reply = Reply(body=body, steps=steps_of(body))
    streamed, buffered = trial.answer("aborting"), trial.answer("assistant")
    assert [each.get("stream", False) for each in trial.stage.student.requests] == [True, False]
    assert streamed.model == "aborting"
    for answer in (streamed, buffered):
        (choice,) = answer.choices
        assert choice.message.role == "assistant"
        assert choice.message.content == "Paris, of course."
        assert choice.finish_reason == "stop"
        assert choice.logprobs is None
        assert answer.object == "chat.completion"
        assert answer.id == "chatcmpl-1"
        assert answer.usage is not None
        assert answer.usage.total_tokens == 110
    assert trial.stage.teacher.requests == []


def test_headers_and_facts_are_those_of_a_whole_answer(lone_trial: Trial) -> None:
    trial = lone_trial
    trial.student_says(*whole(words(20)))
    response = trial.stage.ask(model="aborting")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-understudy-served-by"] == "student"
    assert response.headers["x-understudy-reason"] == "confident"
    assert response.headers["x-understudy-cost-usd"] == "0.0000026"
    assert text_of(response.json()) == joined(words(20))
    assert trial.fact.ending == "kept"
    assert not trial.fact.is_stream
    assert trial.fact.first_byte_seconds is None
    first_byte = "understudy_first_byte_seconds_count"
    assert trial.counted(first_byte, cascade="aborting", outcome="kept") == 0


def test_a_hopeless_draft_is_given_up_at_once(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(8), UNSURE, is_counted=True), Until(trial.event()))
    trial.stage.teacher.reply = Reply(body=completion("Rome."), steps=whole(["Rome."]))
    assert trial.answer("aborting").choices[0].message.content == "Rome."
    deferred_at = trial.drafted.sent_at[-1]
    trial.wait_for_left(trial.drafted, deferred_at)
    assert trial.taught.began - deferred_at < AT_ONCE
    assert trial.legs == [("student", "aborted", 8), ("teacher", None, 10)]
    (pair,) = trial.pairs()
    assert pair["draft_complete"] is False
    assert text_of(pair["content"]["draft"]) == joined(words(8))
    assert text_of(pair["content"]["answer"]) == "Rome."
    assert trial.counted("understudy_drafts_aborted_total", cascade="aborting") == 1


def test_a_late_collapse_is_given_up_too(trial: Trial) -> None:
    """Nothing is out before the end, and so there is no late doubt."""
    sure, collapsed = Words(words(16), is_counted=True), Words(words(16), HOPELESS, is_counted=True)
    trial.student_says(ROLE, sure, collapsed, Until(trial.event()))
    trial.teacher_says(*whole(TAUGHT))
    assert trial.answer("aborting").choices[0].message.content == joined(TAUGHT)
    assert trial.legs[0] == ("student", "aborted", 32)
    assert trial.fact.reason == "low_confidence"
    assert trial.fact.handover is None


def test_a_middling_draft_is_judged_in_the_end_alone(trial: Trial) -> None:
    """Where a stream would be deferred at its window, this one may recover."""
    trial.student_says(*whole([*words(20)], MIDDLING))
    trial.teacher_says(*whole(TAUGHT))
    assert trial.answer("aborting").choices[0].message.content == joined(TAUGHT)
    assert trial.drafted.is_over
    (pair,) = trial.pairs()
    assert pair["draft_complete"] is True
    assert text_of(pair["content"]["draft"]) == joined(words(20))


def test_a_slow_draft_has_all_the_time_it_needs(trial: Trial) -> None:
    """There is no window, and so no time bound: the teacher's turn comes once there is no hope."""
    trial.student_says(ROLE, Pause(0.4), Words(words(10)), *finish())
    assert trial.answer("hasty").choices[0].message.content == joined(words(10))


def test_where_the_teacher_fails_the_draft_is_written_anew(lone_trial: Trial) -> None:
    trial = lone_trial
    replies = iter([
        Reply(steps=[ROLE, Words(words(8), UNSURE), Until(trial.event())]),
        Reply(steps=whole(words(10, "a"), UNSURE)),
    ])  # fmt: skip
    trial.stage.student.reply = lambda _: next(replies)
    trial.stage.teacher.reply = Reply(status=500)
    response = trial.stage.ask(model="aborting")
    assert response.status_code == 200
    assert text_of(response.json()) == joined(words(10, "a"))
    assert response.headers["x-understudy-degraded"] == "teacher_failed"
    assert response.headers["x-understudy-reason"] == "low_confidence"
    assert "x-understudy-cost-usd" not in response.headers  # of the first nobody knows
    assert trial.fact.ending == "degraded"


@pytest.mark.parametrize("breaks_off_after", [0, 5, 20])
def test_where_the_student_breaks_off_the_teacher_answers(
    lone_trial: Trial, breaks_off_after: int
) -> None:
    trial = lone_trial
    trial.student_says(ROLE, Words(words(breaks_off_after)), BreakOff())
    trial.teacher_says(*whole(TAUGHT))
    assert trial.answer("aborting").choices[0].message.content == joined(TAUGHT)
    assert trial.fact.reason == "student_failed"


def test_where_the_teacher_breaks_off_there_is_no_answer(trial: Trial) -> None:
    """Nothing is out, so this is an ordinary error."""
    trial.student_says(ROLE, Words(words(8), UNSURE), Until(trial.event()))
    trial.teacher_says(ROLE, Words(TAUGHT), BreakOff())
    with pytest.raises(openai.InternalServerError) as caught:
        trial.answer("aborting")
    assert caught.value.status_code == 503
    assert caught.value.code == "upstream_unavailable"
    assert trial.fact.ending == "failed"


def test_where_both_fail_there_is_no_answer(trial: Trial) -> None:
    trial.stage.student.reply = trial.stage.teacher.reply = Reply(status=500)
    with pytest.raises(openai.InternalServerError) as caught:
        trial.answer("aborting")
    assert caught.value.code == "teacher_unavailable"


@pytest.mark.parametrize(
    ("pieces", "logprob", "reason"),
    [
        (["{", "}"], SURE, "confident"),
        (["{", "}"], None, "valid_structure"),
        (["{", "}"], MIDDLING, "low_confidence"),
        (["["], SURE, "invalid_structure"),
    ],
)
def test_tool_calls_are_judged_as_in_a_stream(
    lone_trial: Trial, pieces: list[str], logprob: float | None, reason: str
) -> None:
    trial = lone_trial
    trial.student_says(ROLE, *tool_call("f", pieces, logprob), *finish("tool_calls"))
    trial.teacher_says(ROLE, *tool_call("f", ['{"a": 1}']), *finish("tool_calls"))
    answer = trial.answer("aborting", tools=[TOOL])
    assert trial.fact.reason == reason
    calls = answer.choices[0].message.tool_calls or []
    is_kept = reason in ("confident", "valid_structure")
    arguments = [call.function.arguments for call in calls if call.type == "function"]
    assert arguments == ["{}" if is_kept else '{"a": 1}']
    assert answer.choices[0].finish_reason == "tool_calls"


def test_log_probabilities_are_put_together_too(trial: Trial) -> None:
    trial.student_says(*whole(words(20)))
    answer = trial.answer("aborting", logprobs=True, top_logprobs=1)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    entries = logprobs.content or []
    assert [each.token for each in entries] == words(20)
    assert {len(each.top_logprobs) for each in entries} == {1}


def test_several_choices_are_asked_for_whole(trial: Trial) -> None:
    two: list[Any] = [completion("Paris.")["choices"][0] | {"index": place} for place in (0, 1)]
    trial.stage.student.reply = Reply(body=completion() | {"choices": two})
    assert len(trial.answer("aborting", n=2).choices) == 2
    assert "stream" not in trial.stage.student.requests[0]


def test_the_running_bill_of_a_draft_does_not_reach_the_client_twice(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(20), is_counted=True), *finish(usage=used(20)))
    answer = trial.answer("aborting")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 20
