"""A client that can throw away what it has may get the teacher's whole answer in its place."""

import time
from typing import Any

import pytest

from tests.fakes.listener import Listener
from tests.fakes.script import (
    ROLE,
    BreakOff,
    Queued,
    Step,
    Until,
    Words,
    finish,
    tool_call,
    used,
    whole,
)
from tests.fakes.trial import AT_ONCE, HOPELESS, UNSURE, Trial, joined, text_of, words
from tests.fakes.upstream import Reply

WANTED = {"x-understudy-handover": "restart"}
OUT = joined(words(16), words(16, "d"))
TAUGHT = words(5, "t")


def falling_into_doubt(*after: Step) -> tuple[Step, ...]:
    doubted = Words(words(16, "d"), HOPELESS, is_counted=True)
    return (ROLE, Words(words(16), is_counted=True), doubted, *after)


def event_of(listener: Listener) -> tuple[int, dict[str, Any]]:
    """Where the restart stands among the chunks, and what it says."""
    events = [
        (place, said)
        for place, each in enumerate(listener.heard)
        if "event" in (said := (each.model_extra or {}).get("understudy", {}))
    ]
    (found,) = events
    return found


def test_the_teachers_whole_answer_follows_an_event(trial: Trial) -> None:
    trial.student_says(*falling_into_doubt(Until(trial.event())))
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask(
        "restarting", headers=WANTED, stream_options={"include_usage": True}
    ).whole()
    place, said = event_of(listener)
    assert said == {"event": "restart", "discarded_characters": len(OUT)}
    texts = [each.choices[0].delta.content or "" if each.choices else "" for each in listener.heard]
    assert joined(texts[:place]) == OUT
    assert texts[place] == ""
    assert joined(texts[place:]) == joined(TAUGHT)
    assert len({(each.id, each.created) for each in listener.heard}) == 1
    trial.wait_for_left(trial.drafted, trial.taught.began)
    handover = {"kind": "restart", "after_tokens": 32, "after_characters": len(OUT)}
    assert listener.said["handover"] == handover
    assert listener.said["served_by"] == "teacher"
    usage = listener.heard[-1].usage
    assert usage is not None
    assert usage.completion_tokens == 32 + 10  # it received both
    assert "continue_final_message" not in trial.taught.request
    (pair,) = trial.pairs()
    assert pair["splice"]["handover"] == "restart"
    assert text_of(pair["content"]["answer"]) == joined(TAUGHT)
    assert trial.legs == [("student", "aborted", 32), ("teacher", None, 10)]
    labels = {"cascade": "restarting"}
    assert trial.counted("understudy_late_doubts_total", **labels, handover="restart") == 1
    # The teacher alone would have written its own answer, and none of the student's words.
    baseline = trial.counted("understudy_baseline_usd_total", **labels, basis="measured")
    assert baseline == pytest.approx(100 * 0.6e-6 + 10 * 2.4e-6)


def test_the_event_comes_with_the_teachers_first_word(trial: Trial) -> None:
    """Until then the client keeps what it has, for the draft goes on where the teacher fails."""
    begin, more = trial.event(), trial.event()
    trial.student_says(*falling_into_doubt(Until(trial.event())))
    trial.teacher_says(
        Queued(begin), ROLE, Words(TAUGHT[:2]), Until(more), Words(TAUGHT[2:]), *finish()
    )
    listener = trial.ask("restarting", headers=WANTED)
    listener.wait_for(OUT)
    trial.wait_for_events(trial.stage.teacher, 0)
    assert trial.taught.began - trial.drafted.sent_at[-1] < AT_ONCE
    assert listener.text == OUT
    begun_at = time.monotonic()
    begin.set()
    assert listener.wait_for(OUT + joined(TAUGHT[:2])) - begun_at < AT_ONCE
    event_of(listener)
    trial.wait_for_left(trial.drafted, begun_at)
    more.set()
    assert listener.whole().text == OUT + joined(TAUGHT)


@pytest.mark.parametrize(
    ("cascade", "headers"),
    [
        ("restarting", {}),
        ("restarting", {"x-understudy-handover": "continue"}),
        ("assistant", WANTED),
        ("continuing", WANTED),
    ],
)
def test_both_the_cascade_and_the_client_have_to_want_it(
    lone_trial: Trial, cascade: str, headers: dict[str, str]
) -> None:
    trial = lone_trial
    trial.student_says(*falling_into_doubt(*finish(usage=used(32))))
    trial.stage.teacher.reply = Reply(status=500)
    listener = trial.ask(cascade, headers=headers).whole()
    assert listener.text == OUT
    assert trial.fact.reason == "late_doubt"
    assert trial.fact.handover == "never"
    is_wished = {"restarting": "client_cannot", "continuing": "teacher_failed"}
    assert trial.fact.obstacle == is_wished.get(cascade)
    restarts = [each for each in trial.stage.teacher.requests if len(each["messages"]) == 1]
    assert restarts == []


def test_an_answer_that_is_over_can_be_started_again(trial: Trial) -> None:
    """The last word of the draft is out, and its finish is not: the teacher's is the only one."""
    trial.student_says(ROLE, Words(words(16)), Words(words(4, "d"), HOPELESS), *finish("length"))
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask("restarting", headers=WANTED).whole()
    place, said = event_of(listener)
    assert said["discarded_characters"] == len(joined(words(16), words(4, "d")))
    finishes = [each.choices[0].finish_reason for each in listener.heard]
    assert [each for each in finishes if each] == ["stop"]
    assert finishes.index("stop") > place
    (pair,) = trial.pairs()
    assert pair["draft_complete"] is True


def test_a_bad_tool_call_after_text_starts_again_too(trial: Trial) -> None:
    """The text is out already; the call, which was held to its end, never is."""
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    trial.student_says(
        ROLE, Words(words(16)), *tool_call("look", ["{", '"a"']), *finish("tool_calls")
    )
    trial.teacher_says(ROLE, *tool_call("look", ["{", "}"]), *finish("tool_calls"))
    listener = trial.ask("restarting", headers=WANTED, tools=[tool]).whole()
    place, _ = event_of(listener)
    calls = [
        call.function.arguments or ""
        for each in listener.heard
        for call in each.choices[0].delta.tool_calls or ()
        if call.function is not None
    ]
    assert joined(calls) == "{}"
    assert not any(each.choices[0].delta.tool_calls for each in listener.heard[:place])


def test_where_the_student_breaks_off_the_teacher_starts_again(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(20)), BreakOff())
    trial.teacher_says(*whole(TAUGHT))
    usage: dict[str, Any] = {"stream_options": {"include_usage": True}}
    listener = trial.ask("restarting", headers=WANTED, **usage).whole()
    place, _ = event_of(listener)
    texts = [each.choices[0].delta.content or "" for each in listener.heard if each.choices]
    assert joined(texts[:place]) == joined(words(20))
    assert joined(texts[place:]) == joined(TAUGHT)
    assert listener.said["reason"] == "student_failed"
    told = listener.heard[-1].usage
    assert told is not None  # the teacher read the prompt alone, so that is known
    assert (told.prompt_tokens, told.completion_tokens) == (100, 20 + 10)


def test_nothing_is_restarted_of_which_nothing_is_out(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(8), UNSURE), Until(trial.event()))
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask("restarting", headers=WANTED).whole()
    assert listener.text == joined(TAUGHT)
    assert "handover" not in listener.said
