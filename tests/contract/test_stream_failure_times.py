"""A failure amid a stream is acted on at once, and what came before it was out before it."""

import time
from threading import Event

import pytest

from tests.fakes.script import ROLE, BreakOff, Queued, Raw, Step, Stop, Until, Words, finish, whole
from tests.fakes.trial import AT_ONCE, HOPELESS, UNSURE, Trial, joined, words
from tests.fakes.upstream import Reply

TAUGHT = words(5, "t")
FAILURES = {
    "breaks off": BreakOff(),
    "stops": Stop(),
    "an error event": Raw(b'{"error": {"message": "EngineCore died"}}'),
}
failing = pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())


def let_fail(event: Event) -> float:
    """Let a model fail that waits for the event; when that was."""
    at = time.monotonic()
    event.set()
    return at


@failing
def test_before_anything_is_out_the_teacher_is_asked(trial: Trial, failure: Step) -> None:
    fail = trial.event()
    trial.student_says(ROLE, Words(words(10)), Until(fail), failure)
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask()
    trial.wait_for_events(trial.stage.student, 11)
    assert listener.heard == []
    failed_at = let_fail(fail)
    assert listener.whole().text == joined(TAUGHT)
    assert trial.taught.began - failed_at < AT_ONCE


@failing
def test_amid_the_draft_the_error_follows_the_words(trial: Trial, failure: Step) -> None:
    fail = trial.event()
    trial.student_says(ROLE, Words(words(20)), Until(fail), failure)
    listener = trial.ask()
    listener.wait_for(joined(words(20)))
    failed_at = let_fail(fail)
    listener.wait_for_end()
    assert listener.ended_at is not None
    assert listener.ended_at - failed_at < AT_ONCE
    assert listener.error is not None
    assert listener.text == joined(words(20))


@failing
def test_amid_the_teachers_answer_too(trial: Trial, failure: Step) -> None:
    fail = trial.event()
    trial.student_says(*whole(words(5), UNSURE))
    trial.teacher_says(ROLE, Words(TAUGHT), Until(fail), failure)
    listener = trial.ask()
    listener.wait_for(joined(TAUGHT))
    failed_at = let_fail(fail)
    listener.wait_for_end()
    assert listener.ended_at is not None
    assert listener.ended_at - failed_at < AT_ONCE
    assert listener.error is not None
    assert listener.text == joined(TAUGHT)


def test_a_teacher_that_fails_before_its_answer_leaves_the_draft(trial: Trial) -> None:
    """It was given up, so the student is asked anew, and its words are not held back again."""
    fail, end = trial.event(), trial.event()
    drafts = iter([
        Reply(steps=[ROLE, Words(words(8), UNSURE), Until(trial.event())]),
        Reply(steps=[ROLE, Words(words(3, "a"), UNSURE), Until(end), *finish()]),
    ])  # fmt: skip
    trial.stage.student.reply = lambda _: next(drafts)
    trial.teacher_says(Queued(fail), BreakOff())
    listener = trial.ask()
    trial.wait_for_events(trial.stage.teacher, 0)
    failed_at = let_fail(fail)
    assert listener.wait_for(joined(words(3, "a"))) - failed_at < 2 * AT_ONCE
    assert trial.stage.student.played[-1].began - failed_at < AT_ONCE
    end.set()
    assert listener.whole().text == joined(words(3, "a"))


def test_a_teacher_that_fails_to_take_over_leaves_the_draft_too(trial: Trial) -> None:
    """The student has gone on meanwhile, so that its next words are there at once."""
    fail, end = trial.event(), trial.event()
    out, rest = [*words(16), *words(16, "d")], words(4, "r")
    doubted = [Words(out[:16]), Words(out[16:], HOPELESS), Words(rest)]
    trial.student_says(ROLE, *doubted, Until(end), *finish())
    trial.teacher_says(Queued(fail), BreakOff())
    listener = trial.ask("continuing")
    listener.wait_for(joined(out))
    trial.wait_for_events(trial.stage.teacher, 0)
    assert listener.text == joined(out)
    failed_at = let_fail(fail)
    assert listener.wait_for(joined(out, rest)) - failed_at < AT_ONCE
    end.set()
    assert listener.whole().text == joined(out, rest)
