"""Edges of a hand-over: requests that nobody can go on with, limits, and second failures."""

from typing import Any

import pytest

from tests.contract.test_stream_failures import FOUR_KEYS, the_error
from tests.fakes.chunks import chunk
from tests.fakes.script import (
    ROLE,
    BreakOff,
    Raw,
    Step,
    Until,
    Words,
    entry,
    finish,
    used,
    whole,
)
from tests.fakes.trial import HOPELESS, SURE, UNSURE, Trial, joined, words
from tests.fakes.upstream import Reply

SURE_WORDS, DOUBTED = words(16), [*words(15, "d"), "d15."]  # a full stop does not wait
OUT = joined(SURE_WORDS, DOUBTED)
REST = words(3, "r")
ERROR = Raw(b'{"error": {"message": "EngineCore died"}}')
RESTART = {"x-understudy-handover": "restart"}


def falling_into_doubt(*after: Step) -> tuple[Step, ...]:
    doubted = Words(DOUBTED, HOPELESS, is_counted=True)
    return (ROLE, Words(SURE_WORDS, is_counted=True), doubted, *after)


@pytest.mark.parametrize(
    "form",
    [
        {"structured_outputs": {"regex": "(w[0-9]+ )+"}},
        {"grammar": 'root ::= "w"'},
        {"response_format": {"type": "structural_tag", "structures": [], "triggers": []}},
    ],
    ids=["vLLM's", "llama.cpp's", "another format"],
)
def test_a_text_that_is_to_obey_a_grammar_is_not_gone_on_with(
    trial: Trial, form: dict[str, Any]
) -> None:
    """The teacher's server would begin the grammar anew, amid the text."""
    trial.student_says(*falling_into_doubt(Words(REST), *finish()))
    assert trial.ask("continuing", extra_body=form).whole().text == OUT + joined(REST)
    assert trial.stage.teacher.requests == []
    assert trial.fact.obstacle == "grammar"
    assert trial.fact.reason == "late_doubt"


def test_an_answer_that_is_as_long_as_it_may_be_is_not_gone_on_with(trial: Trial) -> None:
    """Of the 32 tokens that it may have all are out, though the student has not ended yet."""
    end = trial.event()
    trial.student_says(*falling_into_doubt(Until(end), *finish("length")))
    listener = trial.ask("continuing", max_tokens=32)
    listener.wait_for(OUT)
    end.set()
    assert listener.whole().text == OUT
    assert listener.finish_reason == "length"
    assert trial.stage.teacher.requests == []
    assert trial.fact.obstacle == "at_end"


def test_with_room_for_one_more_token_it_is(trial: Trial) -> None:
    trial.student_says(*falling_into_doubt(Until(trial.event())))
    trial.teacher_says(*whole([" t"]))
    assert trial.ask("continuing", max_tokens=33).whole().text == OUT + " t"
    assert trial.taught.request["max_tokens"] == 1


def test_an_echo_is_not_asked_of_the_teacher(trial: Trial) -> None:
    trial.student_says(*falling_into_doubt(Until(trial.event())))
    trial.teacher_says(*whole([" t"]))
    assert trial.ask("continuing", extra_body={"echo": True}).whole().text == OUT + " t"
    assert trial.drafted.request["echo"] is True
    assert "echo" not in trial.taught.request


@pytest.mark.parametrize("step", [BreakOff(), ERROR], ids=["breaks off", "an error event"])
@pytest.mark.parametrize(
    "is_doubt", [True, False], ids=["after a doubt", "after the student broke off"]
)
def test_a_teacher_that_fails_in_its_part_ends_the_stream_with_one_error(
    trial: Trial, is_doubt: bool, step: Step
) -> None:
    """Both models have words out then, both are paid for, and the answer is no pair."""
    student = falling_into_doubt(Until(trial.event()) if is_doubt else BreakOff())
    trial.student_says(*student)
    trial.teacher_says(ROLE, Words([" t0", " t1 "], is_counted=True), step)
    listener = trial.ask("continuing").wait_for_end()
    assert listener.text == OUT + " t0 t1 "
    assert set(getattr(listener.error, "body", {})) == FOUR_KEYS
    assert trial.fact.ending == "failed"
    assert [leg[0::2] for leg in trial.legs] == [("student", 32), ("teacher", 2)]
    assert trial.fact.cost_pico == (100 * 20_000 + 32 * 60_000) + (100 * 600_000 + 2 * 2_400_000)
    cascade = {"cascade": "continuing"}
    assert trial.counted("understudy_cost_usd_total", **cascade, role="student", kind="wasted") == 0
    assert trial.pairs() == []
    code = trial.fact.error_code
    assert the_error(trial.read("continuing"))["code"] == code


def test_a_restarted_answer_that_fails_ends_with_one_error(trial: Trial) -> None:
    trial.student_says(*falling_into_doubt(Until(trial.event())))
    trial.teacher_says(ROLE, Words(words(2, "t")), BreakOff())
    listener = trial.ask("restarting", headers=RESTART).wait_for_end()
    assert listener.text == OUT + joined(words(2, "t"))
    assert getattr(listener.error, "body", {})["code"] == "upstream_unavailable"
    assert trial.fact.ending == "failed"
    assert trial.pairs() == []


def test_nothing_restarts_for_a_client_that_does_not_stream(trial: Trial) -> None:
    """Nothing of the draft is out, and so there is nothing that it could throw away."""
    drafts = iter([
        Reply(steps=[ROLE, Words(words(8), UNSURE), Until(trial.event())]),
        Reply(steps=[ROLE, Words(words(5, "a")), BreakOff()]),
    ])  # fmt: skip
    trial.stage.student.reply = lambda _: next(drafts)
    answers = iter([Reply(status=500), Reply(steps=whole(words(2, "t")))])
    trial.stage.teacher.reply = lambda _: next(answers)
    response = trial.stage.client.post(
        "/v1/chat/completions",
        json=trial.stage.question | {"model": "restarting-early"},
        headers=RESTART,
    )
    assert response.status_code == 503
    assert len(trial.stage.teacher.requests) == 1


def test_usage_of_the_draft_is_not_told_as_the_teachers(trial: Trial) -> None:
    """Of a draft whose reasoning is out, and that was turned down."""
    thought = Raw(chunk({"reasoning": "Hm. "}, [entry("Hm. ", SURE)], usage=used(1)))
    more = trial.event()
    trial.student_says(ROLE, thought, Until(more), Words(words(16), UNSURE), Until(trial.event()))
    trial.teacher_says(ROLE, Words(words(2, "t")), finish()[0])
    listener = trial.ask("thinking", stream_options={"include_usage": True})
    listener.wait_for_chunks(2)
    more.set()
    assert listener.whole().text == joined(words(2, "t"))
    assert listener.heard[-1].usage is None
