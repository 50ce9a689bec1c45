"""A share of the abandoned drafts is finished off the path, so that there is something to learn."""

import pytest

from routing.vocabulary import Role
from tests.fakes.script import ROLE, BreakOff, Pause, Until, Words, finish, used, whole
from tests.fakes.serving import wait_until
from tests.fakes.trial import UNSURE, Trial, joined, text_of, words
from tests.fakes.upstream import Reply

TAUGHT = words(5, "t")
REST = words(12, "r")
COUNTED = {"cascade": "learning"}


@pytest.fixture
def drawn(trial: Trial) -> Trial:
    """A trial whose abandoned drafts are among those to be finished."""
    trial.stage.gateway.context.dice = lambda: 0.49
    trial.teacher_says(*whole(TAUGHT))
    return trial


@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "whole"])
def test_the_draft_is_finished_after_the_answer(drawn: Trial, is_stream: bool) -> None:
    """The client does not wait for that, and the second pair names the first."""
    more = drawn.event()
    drawn.student_says(
        ROLE, Words(words(8), UNSURE, is_counted=True), Until(more),
        Words(REST, is_counted=True), *finish(usage=used(20)),
    )  # fmt: skip
    if is_stream:
        assert drawn.ask("learning").whole().text == joined(TAUGHT)
    else:
        assert drawn.answer("learning").choices[0].message.content == joined(TAUGHT)
    (first,) = drawn.pairs()
    assert first["draft_complete"] is False
    assert first["completes"] is None
    assert drawn.drafted.left is None
    more.set()
    wait_until(lambda: drawn.observer.completed_facts)
    _, second = drawn.pairs()
    assert second["completes"] == first["id"]
    assert second["id"] != first["id"]
    assert second["draft_complete"] is True
    assert second["propensity"] == 0.5
    assert text_of(second["content"]["draft"]) == joined(words(8), REST)
    assert second["content"]["draft"]["choices"][0]["finish_reason"] == "stop"
    for name in ("request_id", "reason", "confidence", "signals"):
        assert second[name] == first[name]
    for name in ("answer", "request"):
        assert second["content"][name] == first["content"][name]


def test_what_finishing_takes_is_billed_as_audit(drawn: Trial) -> None:
    more = drawn.event()
    drawn.student_says(
        ROLE, Words(words(8), UNSURE, is_counted=True), Until(more),
        Words(REST, is_counted=True), *finish(usage=used(20)),
    )  # fmt: skip
    drawn.ask("learning").whole()
    assert drawn.legs == [("teacher", None, 10), ("student", "aborted", 8)]
    more.set()
    wait_until(lambda: drawn.observer.completed_facts)
    assert drawn.completed_legs == [("student", None, 12)]
    name = "understudy_cost_usd_total"
    student = {**COUNTED, "role": "student"}
    wasted = drawn.counted(name, **student, kind="wasted")
    assert wasted == pytest.approx(100 * 0.02e-6 + 8 * 0.06e-6)
    audit = drawn.counted(name, **student, kind="audit")
    assert audit == pytest.approx(12 * 0.06e-6)
    assert drawn.counted("understudy_tokens_total", **student, type="output") == 20
    assert drawn.counted("understudy_tokens_total", **student, type="input") == 100
    completed = "understudy_drafts_completed_total"
    assert drawn.counted(completed, **COUNTED, outcome="completed") == 1
    assert drawn.counted(completed, **COUNTED, outcome="failed") == 0
    assert drawn.counted("understudy_drafts_aborted_total", **COUNTED) == 1


def test_a_draft_that_is_not_drawn_is_stopped(trial: Trial) -> None:
    trial.stage.gateway.context.dice = lambda: 0.5
    trial.student_says(ROLE, Words(words(8), UNSURE), Until(trial.event()))
    trial.teacher_says(*whole(TAUGHT))
    trial.ask("learning").whole()
    trial.wait_for_left(trial.drafted, trial.taught.began)
    assert len(trial.pairs()) == 1
    assert trial.observer.completed_facts == []


def test_a_draft_that_was_whole_needs_no_finishing(drawn: Trial) -> None:
    drawn.student_says(ROLE, Words(words(5), UNSURE), *finish())
    drawn.ask("learning").whole()
    (pair,) = drawn.pairs()
    assert pair["draft_complete"] is True
    assert drawn.observer.completed_facts == []


def test_a_draft_that_breaks_off_teaches_nothing(drawn: Trial) -> None:
    more = drawn.event()
    drawn.student_says(ROLE, Words(words(8), UNSURE, is_counted=True), Until(more), BreakOff())
    drawn.ask("learning").whole()
    more.set()
    wait_until(lambda: drawn.observer.completed_facts)
    assert drawn.completed_legs == [("student", "upstream_unavailable", 0)]
    completed = "understudy_drafts_completed_total"
    assert drawn.counted(completed, **COUNTED, outcome="failed") == 1
    assert len(drawn.pairs()) == 1


def test_a_slow_draft_is_finished_beyond_its_window(drawn: Trial) -> None:
    """The time bound of the window is past by then, and concerns it no more."""
    drawn.student_says(ROLE, Words(words(8), UNSURE), Pause(0.6), Words(REST), *finish())
    drawn.ask("learning").whole()
    wait_until(lambda: drawn.observer.completed_facts)
    assert text_of(drawn.pairs()[1]["content"]["draft"]) == joined(words(8), REST)


def test_where_the_teacher_fails_the_unfinished_draft_is_served(drawn: Trial) -> None:
    """It is still being written, so nobody has to write it anew."""
    more = drawn.event()
    drawn.student_says(ROLE, Words(words(8), UNSURE), Until(more), Words(REST), *finish())
    drawn.stage.teacher.reply = Reply(status=500)
    listener = drawn.ask("learning")
    listener.wait_for(joined(words(8)))
    more.set()
    assert listener.whole().text == joined(words(8), REST)
    assert listener.said["degraded"] == "teacher_failed"
    assert len(drawn.stage.student.requests) == 1
    assert drawn.legs == [("teacher", "upstream_failed", 0), ("student", None, 10)]
    assert drawn.observer.completed_facts == []
    assert drawn.pairs() == []


def test_where_the_teacher_breaks_off_the_unfinished_draft_is_stopped(drawn: Trial) -> None:
    drawn.student_says(ROLE, Words(words(8), UNSURE), Until(drawn.event()))
    drawn.teacher_says(ROLE, Words(TAUGHT), BreakOff())
    listener = drawn.ask("learning").wait_for_end()
    assert listener.error is not None
    assert listener.ended_at is not None
    drawn.wait_for_left(drawn.drafted, listener.ended_at)
    assert drawn.fact.ending == "failed"
    assert drawn.upstream("learning", Role.STUDENT).open_calls == 0
    assert drawn.pairs() == []
