"""Half an answer is out, and it falls into doubt: the teacher goes on from exactly there."""

from collections.abc import Sequence

import pytest

from gateway.facts import Denial
from routing.vocabulary import NotAsked, Role
from tests.fakes.chunks import chunk
from tests.fakes.script import (
    ROLE,
    BreakOff,
    Queued,
    Raw,
    Step,
    Until,
    Words,
    entry,
    finish,
    payloads,
    thoughts,
    tool_call,
    used,
    whole,
)
from tests.fakes.trial import AT_ONCE, HOPELESS, Trial, joined, text_of, words
from tests.fakes.upstream import Reply

SURE_WORDS, DOUBTED = words(16), words(16, "d")
OUT = joined(SURE_WORDS, DOUBTED)
CONTINUED = [" t0", " t1", "."]


def falling_into_doubt(*after: Step) -> tuple[Step, ...]:
    """A student that the window lets out, and that is in doubt at the checkpoint of 32 tokens."""
    doubted = Words(DOUBTED, HOPELESS, is_counted=True)
    return (ROLE, Words(SURE_WORDS, is_counted=True), doubted, *after)


def test_the_teacher_goes_on_where_the_student_fell_into_doubt(trial: Trial) -> None:
    more = trial.event()
    trial.student_says(*falling_into_doubt(Until(trial.event())))
    trial.teacher_says(ROLE, Words(CONTINUED[:1]), Until(more), Words(CONTINUED[1:]), *finish())
    listener = trial.ask("continuing")
    listener.wait_for(OUT + "t0")
    trial.wait_for_left(trial.drafted, trial.drafted.sent_at[-1])
    assert trial.taught.began - trial.drafted.sent_at[-1] < AT_ONCE
    more.set()
    assert listener.whole().text == OUT + "t0 t1."
    assert listener.finish_reason == "stop"
    assert len({(each.id, each.created, each.model) for each in listener.heard}) == 1
    roles = [each.choices[0].delta.role for each in listener.heard]
    assert roles == ["assistant", *[None] * (len(roles) - 1)]


def test_what_the_teacher_is_asked_at_a_hand_over(trial: Trial) -> None:
    trial.student_says(*falling_into_doubt(Until(trial.event())))
    trial.teacher_says(*whole(CONTINUED))
    trial.ask("continuing", max_tokens=100, max_completion_tokens=40, seed=7).whole()
    question = trial.stage.question["messages"]
    assert trial.taught.request == {
        "model": "upstream-teacher",
        "messages": [*question, {"role": "assistant", "content": OUT.rstrip()}],
        "continue_final_message": True,
        "add_generation_prompt": False,
        "max_tokens": 100 - 32,
        "max_completion_tokens": 40 - 32,
        "seed": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_what_is_told_of_a_hand_over(trial: Trial) -> None:
    trial.student_says(*falling_into_doubt(Until(trial.event())))
    trial.teacher_says(*whole(CONTINUED))
    listener = trial.ask("continuing", stream_options={"include_usage": True}).whole()
    assert listener.headers["x-understudy-served-by"] == "student"  # as far as was known
    assert listener.headers["x-understudy-reason"] == "confident"
    handover = {"kind": "continue", "after_tokens": 32, "after_characters": len(OUT)}
    assert listener.said["served_by"] == "teacher"
    assert listener.said["reason"] == "late_doubt"
    assert listener.said["handover"] == handover
    # 100 input tokens and 32 output tokens of the student, 100 and 10 of the teacher.
    assert listener.said["cost_usd"] == "0.00008792"
    usage = listener.heard[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (100, 42, 142)
    (pair,) = trial.pairs()
    assert pair["splice"] == {
        "handover": "continue",
        "after_tokens": 32,
        "after_characters": len(OUT),
    }
    assert pair["content"]["released"] == OUT
    assert text_of(pair["content"]["draft"]) == OUT
    assert pair["draft_complete"] is False
    assert text_of(pair["content"]["answer"]) == joined(CONTINUED)
    assert pair["reason"] == "late_doubt"
    assert trial.fact.ending == "escalated"
    assert trial.legs == [("student", None, 32), ("teacher", None, 10)]
    cascade = {"cascade": "continuing"}
    assert trial.counted("understudy_late_doubts_total", **cascade, handover="continue") == 1
    name = "understudy_cost_usd_total"
    for role, dollars in (("student", 0.00000392), ("teacher", 0.000084)):
        served = trial.counted(name, **cascade, role=role, kind="served")
        assert served == pytest.approx(dollars)
    baseline = trial.counted("understudy_baseline_usd_total", **cascade, basis="prices")
    assert baseline == pytest.approx(100 * 0.6e-6 + 42 * 2.4e-6)


def test_where_the_students_bill_is_unknown_the_prompt_is_what_the_teacher_read(
    trial: Trial,
) -> None:
    """Of its 100 tokens 32 were the beginning that it went on from, as the student counts."""
    trial.student_says(ROLE, Words(SURE_WORDS), Words(DOUBTED, HOPELESS), Until(trial.event()))
    trial.teacher_says(*whole(CONTINUED))
    listener = trial.ask("continuing", stream_options={"include_usage": True}).whole()
    usage = listener.heard[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (68, 42, 110)
    assert listener.said["cost_usd"] is None  # what was paid for the student's part is not known


def test_where_the_teachers_bill_is_unknown_so_is_the_usage(trial: Trial) -> None:
    trial.student_says(*falling_into_doubt(Until(trial.event())))
    trial.teacher_says(ROLE, Words(CONTINUED), finish()[0])
    listener = trial.ask("continuing", stream_options={"include_usage": True}).whole()
    assert listener.heard[-1].usage is None
    assert listener.said["cost_usd"] is None


@pytest.mark.parametrize(
    ("last", "taught", "prefix", "text"),
    [
        pytest.param([" big"], [" red", " car"], "", " red car", id="a word that may go on waits"),
        pytest.param([" big", " "], [" red"], " big", " big red", id="so does a blank"),
        pytest.param([" a", "\n", "\n"], ["\n\n", "B"], " a", " a\n\nB", id="and several"),
        pytest.param([" big "], [" red"], " big", " big red", id="one that is out comes once"),
        pytest.param([" big "], ["red"], " big", " big red", id="also if it is not repeated"),
        pytest.param([" big "], [" ", "red"], " big", " big red", id="also if it comes alone"),
        pytest.param([" a:\n"], ["\n", "\n- b"], " a:", " a:\n\n- b", id="more are kept"),
        pytest.param([" a:\n"], ["\n\n  b"], " a:", " a:\n\n  b", id="and so is an indent"),
        pytest.param([" big."], [" Red"], " big.", " big. Red", id="a full stop does not wait"),
        pytest.param([" big."], ["\n\nRed"], " big.", " big.\n\nRed", id="nothing is taken away"),
        pytest.param([" 東"], ["京"], " 東", " 東京", id="nor does a script without blanks"),
    ],
)
def test_blanks_at_the_seam_are_neither_doubled_nor_lost(
    lone_trial: Trial, last: Sequence[str], taught: Sequence[str], prefix: str, text: str
) -> None:
    trial = lone_trial
    sure = [f" w{number}" for number in range(16)]
    doubted = [f" d{number}" for number in range(16 - len(last))]
    start = joined(sure, doubted)
    tail = Words([*doubted, *last], HOPELESS)
    trial.student_says(ROLE, Words(sure), tail, Until(trial.event()))
    trial.teacher_says(*whole(taught))
    listener = trial.ask("continuing").whole()
    assert trial.taught.request["messages"][-1]["content"] == start + prefix
    assert listener.text == start + text


def test_what_waits_does_not_count_as_out(trial: Trial) -> None:
    tail = Words([*DOUBTED[:15], "half"], HOPELESS)
    trial.student_says(ROLE, Words(SURE_WORDS), tail, Until(trial.event()))
    trial.teacher_says(*whole(CONTINUED))
    listener = trial.ask("continuing", max_tokens=100).whole()
    assert listener.said["handover"]["after_tokens"] == 31
    assert trial.taught.request["max_tokens"] == 100 - 31
    assert trial.pairs()[0]["content"]["released"] == joined(SURE_WORDS, DOUBTED[:15])


def test_a_server_that_tells_its_role_again_and_again_does_so_once(trial: Trial) -> None:
    said = [Raw(chunk({"role": "assistant", "content": text})) for text in CONTINUED]
    trial.student_says(*falling_into_doubt(Until(trial.event())))
    trial.teacher_says(*said, *finish())
    listener = trial.ask("continuing").whole()
    assert listener.text == OUT + "t0 t1."
    roles = [each.choices[0].delta.role for each in listener.heard]
    assert [role for role in roles if role] == ["assistant"]


def test_a_word_waits_until_it_is_whole(trial: Trial) -> None:
    """A model that is to go on from half a word derails."""
    more = trial.event()
    trial.student_says(ROLE, Words([*SURE_WORDS, "half"]), Until(more), Words(["way "]), *finish())
    listener = trial.ask("continuing")
    listener.wait_for(joined(SURE_WORDS))
    trial.wait_for_events(trial.stage.student, 18)
    assert listener.text == joined(SURE_WORDS)
    more.set()
    assert listener.whole().text == joined(SURE_WORDS) + "halfway "


def test_a_teacher_that_was_not_seen_to_go_on_is_not_asked(trial: Trial) -> None:
    trial.upstream("continuing", Role.TEACHER).can_continue = False
    trial.student_says(*falling_into_doubt(Words(words(2, "r")), *finish()))
    listener = trial.ask("continuing").whole()
    _is_a_late_doubt(trial, "continuing", "teacher_cannot")
    assert listener.text == OUT + joined(words(2, "r"))
    assert trial.stage.teacher.requests == []


def test_after_reasoning_nobody_takes_over(trial: Trial) -> None:
    """What goes on from an answer would have to know the thoughts that led to it."""
    trial.student_says(ROLE, *thoughts(["Hm. "]), *falling_into_doubt()[1:], *finish())
    assert trial.ask("continuing").whole().text == OUT
    _is_a_late_doubt(trial, "continuing", "reasoning")
    assert trial.stage.teacher.requests == []


def test_after_what_cannot_be_read_as_text_nobody_takes_over(trial: Trial) -> None:
    part = {"type": "text", "text": "parts"}
    unread = Raw(chunk({"content": [part]}, [entry("parts", -0.01)]))
    trial.student_says(ROLE, unread, *falling_into_doubt()[1:], *finish())
    second = payloads(trial.read("continuing"))[1]
    assert second["choices"][0]["delta"]["content"] == [part]
    _is_a_late_doubt(trial, "continuing", "not_text")
    assert trial.stage.teacher.requests == []


def test_what_the_teacher_writes_that_is_no_text_passes_as_it_is(trial: Trial) -> None:
    part = {"type": "text", "text": "parts"}
    trial.student_says(*falling_into_doubt(Until(trial.event())))
    trial.teacher_says(ROLE, Raw(chunk({"content": [part]})), *finish())
    contents = [
        choice["delta"].get("content")
        for each in payloads(trial.read("continuing"))
        for choice in each["choices"]
    ]
    assert [part] in contents
    assert trial.fact.handover == "continue"


def test_after_a_tool_call_nobody_takes_over(trial: Trial) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    trial.student_says(ROLE, Words(SURE_WORDS), *tool_call("f", ["{", '"a"']),
                       *finish("tool_calls"))  # fmt: skip
    trial.ask("continuing", tools=[tool]).whole()
    _is_a_late_doubt(trial, "continuing", "tool_call")
    assert (trial.fact.doubt and trial.fact.doubt.reason) == "invalid_structure"


def test_a_beginning_of_the_clients_own_is_not_gone_on_with(trial: Trial) -> None:
    trial.student_says(*falling_into_doubt(*finish()))
    trial.ask("continuing", extra_body={"continue_final_message": True}).whole()
    _is_a_late_doubt(trial, "continuing", "continuation")


def test_an_answer_that_is_over_needs_nobody_to_go_on(trial: Trial) -> None:
    trial.student_says(ROLE, Words(SURE_WORDS), Words(DOUBTED[:4], HOPELESS), *finish())
    assert trial.ask("continuing").whole().text == joined(SURE_WORDS, DOUBTED[:4])
    _is_a_late_doubt(trial, "continuing", "at_end")
    assert trial.stage.teacher.requests == []


@pytest.mark.parametrize(
    "failure",
    [
        Reply(status=500),
        Reply(status=400, body={"error": {"message": "no such field"}}),
        Reply(steps=[BreakOff()]),
        Reply(steps=[]),
    ],
    ids=["fails", "refuses", "breaks off", "says nothing"],
)
def test_where_the_teacher_does_not_take_over_the_student_goes_on(
    lone_trial: Trial, failure: Reply
) -> None:
    trial = lone_trial
    rest = words(5, "r")
    trial.student_says(*falling_into_doubt(Words(rest), *finish(usage=used(37))))
    trial.stage.teacher.reply = failure
    listener = trial.ask("continuing").whole()
    assert listener.text == OUT + joined(rest)
    assert listener.said["served_by"] == "student"
    assert "handover" not in listener.said
    _is_a_late_doubt(trial, "continuing", "teacher_failed")
    assert trial.pairs() == []
    is_asked_again = len(trial.stage.teacher.requests) == 2  # it broke off before it said anything
    assert is_asked_again is (failure.steps == [BreakOff()])
    failed = [False] * len(trial.stage.teacher.requests)
    assert [leg.error is None for leg in trial.fact.legs] == [*failed, True]


def test_a_busy_teacher_is_not_asked_to_take_over(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = trial.upstream("continuing", Role.TEACHER)
    monkeypatch.setattr(teacher, "open_calls", 256)
    trial.student_says(*falling_into_doubt(*finish()))
    assert trial.ask("continuing").whole().text == OUT
    _is_a_late_doubt(trial, "continuing", "teacher_busy")
    assert trial.fact.denials == [Denial(Role.TEACHER, NotAsked.NO_ROOM)]


def test_where_the_student_breaks_off_the_teacher_goes_on(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(20), is_counted=True), BreakOff())
    trial.teacher_says(*whole(CONTINUED))
    listener = trial.ask("continuing", stream_options={"include_usage": True}).whole()
    assert listener.text == joined(words(20)) + "t0 t1."
    assert listener.said["reason"] == "student_failed"
    assert listener.said["handover"]["after_tokens"] == 20
    assert listener.heard[-1].usage is not None
    assert listener.heard[-1].usage.completion_tokens == 30
    assert trial.fact.ending == "escalated"
    assert trial.legs == [("student", "upstream_unavailable", 20), ("teacher", None, 10)]
    assert (trial.fact.handover, trial.fact.doubt) == ("continue", None)
    cascade = {"cascade": "continuing"}
    assert trial.counted("understudy_late_doubts_total", **cascade, handover="continue") == 0
    for name in ("understudy_deferrals_total", "understudy_escalations_total"):
        assert trial.counted(name, **cascade, reason="student_failed") == 1
    cost = trial.counted("understudy_cost_usd_total", **cascade, role="student", kind="served")
    assert cost == pytest.approx(100 * 0.02e-6 + 20 * 0.06e-6)
    (pair,) = trial.pairs()
    assert pair["reason"] == "student_failed"
    assert pair["draft_complete"] is False
    assert pair["content"]["released"] == joined(words(20))


def test_where_the_teacher_fails_too_the_stream_ends_with_an_error(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(20)), BreakOff())
    trial.stage.teacher.reply = Reply(status=500)
    listener = trial.ask("continuing").wait_for_end()
    assert listener.text == joined(words(20))
    assert getattr(listener.error, "body", {})["code"] == "upstream_unavailable"
    assert trial.fact.ending == "failed"
    assert (trial.fact.handover, trial.fact.obstacle) == (None, "teacher_failed")
    assert trial.fact.reason == "confident"


def test_a_doubt_that_nobody_acts_on_is_told_at_the_end(trial: Trial) -> None:
    more = trial.event()
    rest = words(5, "r")
    trial.student_says(*falling_into_doubt(Until(more), Words(rest), *finish(usage=used(37))))
    listener = trial.ask()
    listener.wait_for(OUT)  # the doubt holds nothing up
    more.set()
    assert listener.whole().text == OUT + joined(rest)
    assert listener.headers["x-understudy-reason"] == "confident"
    assert listener.said["served_by"] == "student"
    assert listener.said["reason"] == "late_doubt"
    assert listener.said["degraded"] is None
    _is_a_late_doubt(trial, "assistant", None)
    doubt, kept_at = trial.fact.doubt, float(listener.headers["x-understudy-confidence"])
    assert doubt is not None
    assert (doubt.reason, doubt.tokens) == ("low_confidence", 32)
    assert doubt.confidence is not None
    assert doubt.confidence.value < 0.4
    # What the answer was released on stays its confidence.
    assert trial.fact.confidence is not None
    assert trial.fact.confidence.value == pytest.approx(kept_at, abs=1e-6)
    assert listener.said["confidence"] == kept_at
    assert trial.stage.teacher.requests == []
    assert trial.pairs() == []


def test_while_the_teacher_is_awaited_nothing_more_of_the_draft_goes_out(trial: Trial) -> None:
    begin = trial.event()
    trial.student_says(*falling_into_doubt(Words(words(5, "r"), HOPELESS), Until(trial.event())))
    trial.teacher_says(Queued(begin), *whole(CONTINUED))
    listener = trial.ask("continuing")
    listener.wait_for(OUT)
    trial.wait_for_events(trial.stage.teacher, 0)
    assert listener.text == OUT
    begin.set()
    assert listener.whole().text == OUT + "t0 t1."


def _is_a_late_doubt(trial: Trial, cascade: str, obstacle: str | None) -> None:
    """The draft was served to its end; the quality promise covers it, and the metric shows it."""
    assert trial.fact.reason == "late_doubt"
    assert trial.fact.obstacle == obstacle
    assert trial.fact.ending == "kept"
    assert trial.fact.handover == "never"
    labels = {"cascade": cascade}
    assert trial.counted("understudy_late_doubts_total", **labels, handover="never") == 1
    assert trial.counted("understudy_requests_total", **labels, outcome="kept") == 1
    assert trial.counted("understudy_deferrals_total", **labels, reason="late_doubt") == 0
