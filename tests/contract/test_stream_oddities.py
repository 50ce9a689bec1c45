"""Streams that are not quite OpenAI's: what is odd is passed over, and what is missing is told."""

from typing import Any

import pytest

from tests.fakes.chunks import chunk, payload, usage_report
from tests.fakes.script import (
    ROLE,
    BreakOff,
    Pieces,
    Raw,
    Step,
    Until,
    Words,
    entry,
    finish,
    payloads,
    tool_call,
    whole,
)
from tests.fakes.trial import HOPELESS, UNSURE, Trial, joined, text_of, words
from tests.fakes.upstream import Reply, completion

TAUGHT = words(5, "t")
ASKED: dict[str, Any] = {"logprobs": True, "top_logprobs": 1}
USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}
# What Azure's content filter says of the prompt, before anything else.
FILTERED = Raw(
    payload(choices=[], prompt_filter_results=[{"prompt_index": 0}], id="", created=0, model="")
)
PING = Pieces([b'event: ping\ndata: {"type": "ping"}\n\n', b"data: {}\n\n",
               b'data: {"id": "x", "choices": null}\n\n'])  # fmt: skip


@pytest.mark.parametrize("usage", [{}, USAGE], ids=["", "with usage"])
def test_an_answer_without_a_finish_says_all_the_same_who_gave_it(
    trial: Trial, usage: dict[str, Any]
) -> None:
    """Its last word is out when its end is missed: that is a late doubt, and no whole draft."""
    trial.student_says(ROLE, Words(words(20)))
    listener = trial.ask(**usage).whole()
    assert listener.text == joined(words(20))
    assert listener.said["served_by"] == "student"
    assert listener.said["reason"] == "late_doubt"
    if not usage:
        assert listener.heard[-1].choices[0].finish_reason is None
        assert len({(each.id, each.created) for each in listener.heard}) == 1


def test_a_teachers_answer_without_a_finish_is_closed_too(trial: Trial) -> None:
    trial.student_says(*whole(words(5), UNSURE))
    trial.teacher_says(ROLE, Words(TAUGHT))
    listener = trial.ask().whole()
    assert listener.text == joined(TAUGHT)
    assert listener.said["served_by"] == "teacher"
    assert trial.pairs()[0]["draft_complete"] is True


def test_a_draft_without_a_finish_is_not_complete(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(5)))
    trial.teacher_says(*whole(TAUGHT))
    assert trial.ask().whole().text == joined(TAUGHT)
    assert trial.fact.reason == "invalid_structure"
    (pair,) = trial.pairs()
    assert pair["draft_complete"] is False
    assert pair["content"]["draft"]["choices"][0]["finish_reason"] is None


def test_a_server_that_breaks_off_after_the_finish_has_said_all(trial: Trial) -> None:
    """Only the bill is missing, and the running one says the same."""
    trial.student_says(ROLE, Words(words(20), is_counted=True), finish()[0], BreakOff())
    listener = trial.ask().whole()
    assert listener.text == joined(words(20))
    assert listener.finish_reason == "stop"
    assert trial.fact.ending == "kept"
    assert trial.legs == [("student", None, 20)]


def test_a_teacher_that_ends_with_its_role_has_not_answered(trial: Trial) -> None:
    trial.student_says(*whole(words(5), UNSURE))
    trial.teacher_says(ROLE)
    listener = trial.ask().whole()
    assert listener.text == joined(words(5))
    assert listener.headers["x-understudy-degraded"] == "teacher_failed"
    assert trial.legs == [("student", None, 10), ("teacher", "upstream_malformed", None)]
    assert trial.pairs() == []


def test_nor_has_one_that_was_to_take_over(trial: Trial) -> None:
    rest = words(3, "r")
    doubted = Words(words(16, "d"), HOPELESS)
    trial.student_says(ROLE, Words(words(16)), doubted, Words(rest), *finish())
    trial.teacher_says(ROLE)
    listener = trial.ask("continuing").whole()
    assert listener.text == joined(words(16), words(16, "d"), rest)
    assert trial.fact.obstacle == "teacher_failed"
    assert trial.pairs() == []


def test_an_empty_finish_is_none(trial: Trial) -> None:
    said = [
        Raw(chunk({"content": word}, [entry(word, -0.01)], {"finish_reason": ""}))
        for word in words(20)
    ]
    trial.student_says(ROLE, *said, *finish())
    listener = trial.ask().whole()
    assert listener.text == joined(words(20))
    assert trial.fact.reason == "confident"
    assert [each.choices[0].finish_reason for each in listener.heard if each.choices][-1] == "stop"


def test_with_an_empty_finish_alone_a_draft_has_none(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(5)), Raw(chunk({}, choice={"finish_reason": ""})))
    trial.teacher_says(*whole(TAUGHT))
    assert trial.ask().whole().text == joined(TAUGHT)
    assert trial.fact.reason == "invalid_structure"


def test_a_teacher_that_says_its_role_and_fails_has_not_answered(trial: Trial) -> None:
    """The draft, which is over, is served in its place, and no word of the teacher's is out."""
    trial.student_says(*whole(words(5), UNSURE))
    trial.teacher_says(ROLE, Raw(b'{"error": {"message": "EngineCore died"}}'))
    listener = trial.ask().whole()
    assert listener.text == joined(words(5))
    assert listener.headers["x-understudy-degraded"] == "teacher_failed"
    assert listener.said["served_by"] == "student"
    assert trial.fact.ending == "degraded"
    assert len(trial.stage.student.requests) == 1


BROKEN = {"content": "no list"}


def test_log_probabilities_that_cannot_be_cut_are_null_in_a_stream(trial: Trial) -> None:
    last = Raw(chunk({}, choice={"finish_reason": "stop", "logprobs": BROKEN}))
    trial.student_says(ROLE, Words(words(20)), last, finish()[1])
    listener = trial.ask(**ASKED).whole()
    assert listener.heard[-1].choices[0].logprobs is None
    assert listener.heard[-1].choices[0].finish_reason == "stop"
    assert listener.heard[-2].choices[0].logprobs is not None
    assert trial.fact.ending == "kept"  # of one fact


def test_and_in_a_whole_answer(trial: Trial) -> None:
    trial.stage.student.reply = Reply(body=completion(logprob=UNSURE))
    trial.stage.teacher.reply = Reply(body=completion("Rome.", choice={"logprobs": BROKEN}))
    answer = trial.answer(**ASKED)
    assert answer.choices[0].message.content == "Rome."
    assert answer.choices[0].logprobs is None
    assert trial.fact.ending == "escalated"
    assert len(trial.pairs()) == 1


def test_an_answer_has_the_identity_of_its_first_words(trial: Trial) -> None:
    trial.student_says(FILTERED, *whole(words(20)))
    listener = trial.ask(**USAGE).whole()
    assert listener.text == joined(words(20))
    spoken = [(each.id, each.created) for each in listener.heard if each.choices]
    assert set(spoken) == {("chatcmpl-1", 1_795_454_776)}
    assert {each.model for each in listener.heard} == {"assistant"}
    assert listener.heard[-1].id == "chatcmpl-1"
    assert listener.heard[-1].usage is not None


def test_and_so_has_one_that_is_put_together(trial: Trial) -> None:
    trial.student_says(FILTERED, *whole(words(20)))
    answer = trial.answer("aborting")
    assert (answer.id, answer.created) == ("chatcmpl-1", 1_795_454_776)
    assert answer.choices[0].message.content == joined(words(20))


def test_a_hand_over_keeps_the_identity_of_the_first(trial: Trial) -> None:
    doubted = Words(words(16, "d"), HOPELESS)
    trial.student_says(FILTERED, ROLE, Words(words(16)), doubted, Until(trial.event()))
    trial.teacher_says(FILTERED, Raw(chunk({"content": " t"}, id="other", created=7)), *finish())
    listener = trial.ask("continuing").whole()
    assert listener.text.endswith("t")
    spoken = [(each.id, each.created) for each in listener.heard if each.choices]
    assert set(spoken) == {("chatcmpl-1", 1_795_454_776)}


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_signs_of_life_reach_nobody(trial: Trial, who: str) -> None:
    """Official clients read each event as a chunk, and stumble over one without choices."""
    said: list[Step] = [PING, ROLE, PING, Words(words(20)), PING, *finish(), PING]
    if who == "student":
        trial.student_says(*said)
    else:
        trial.student_says(*whole(words(5), UNSURE))
        trial.teacher_says(*said)
    chunks = payloads(trial.read())
    assert all(each["choices"] for each in chunks)
    texts = [each["choices"][0]["delta"].get("content") or "" for each in chunks]
    assert joined(texts) == joined(words(20))


def test_a_sign_of_life_ends_no_silence(trial: Trial) -> None:
    trial.student_says(PING, ROLE, PING, Until(trial.event()))
    trial.teacher_says(*whole(TAUGHT))
    assert trial.ask("hasty").whole().headers["x-understudy-reason"] == "student_failed"


def test_the_confidence_of_a_stream_is_that_of_its_window(trial: Trial) -> None:
    """What follows may be less sure, if it is not hopeless, and changes nothing."""
    more = trial.event()
    trial.student_says(ROLE, Words(words(16)), Until(more), Words(words(20, "m"), -0.6), *finish())
    listener = trial.ask()
    listener.wait_for(joined(words(16)))
    released_on = float(listener.headers["x-understudy-confidence"])
    more.set()
    assert listener.whole().said["confidence"] == released_on
    assert trial.fact.confidence is not None
    assert trial.fact.confidence.value == pytest.approx(released_on, abs=1e-6)
    assert trial.fact.reason == "confident"


def test_a_whole_tool_call_has_the_confidence_of_its_weakest_part(trial: Trial) -> None:
    """The call was released by a verdict of its own, and the answer is as good as that."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    call = tool_call("f", ["{", "}"], logprob=-0.1)
    trial.student_says(ROLE, Words(words(16)), *call, *finish("tool_calls"))
    listener = trial.ask(tools=[tool]).whole()
    assert listener.said["confidence"] < float(listener.headers["x-understudy-confidence"])
    assert trial.fact.reason == "confident"


def test_a_bill_without_choices_counts(trial: Trial) -> None:
    report = usage_report().replace(b'"choices": []', b'"choices": null')
    trial.student_says(ROLE, Words(words(20)), finish()[0], Raw(report))
    usage = trial.ask(**USAGE).whole().heard[-1].usage
    assert usage is not None
    assert usage.completion_tokens == 10


def test_the_draft_of_a_pair_has_the_identity_of_its_first_words(trial: Trial) -> None:
    trial.student_says(FILTERED, *whole(words(5), UNSURE))
    trial.teacher_says(FILTERED, *whole(TAUGHT))
    assert trial.ask().whole().text == joined(TAUGHT)
    (pair,) = trial.pairs()
    assert text_of(pair["content"]["draft"]) == joined(words(5))
    assert {pair["content"][side]["id"] for side in ("draft", "answer")} == {"chatcmpl-1"}
