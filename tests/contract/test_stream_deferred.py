"""Nothing of a draft that is not enough reaches the client: the teacher's answer does, live."""

import pytest
from openai.types.chat import ChatCompletionChunk

from routing.vocabulary import Role
from tests.fakes.script import (
    ROLE,
    Pause,
    Queued,
    Until,
    Words,
    content_of,
    finish,
    payloads,
    thoughts,
    whole,
)
from tests.fakes.serving import wait_until
from tests.fakes.trial import AT_ONCE, MIDDLING, UNSURE, Trial, joined, text_of, words
from tests.fakes.upstream import Reply

TAUGHT = words(5, "t")


def test_a_draft_deferred_at_the_windows_end_is_never_seen(trial: Trial) -> None:
    more, end = trial.event(), trial.event()
    trial.student_says(ROLE, Words(words(16), MIDDLING), Until(trial.event()))
    trial.teacher_says(ROLE, Words(TAUGHT[:2]), Until(more), Words(TAUGHT[2:]), Until(end),
                       *finish())  # fmt: skip
    listener = trial.ask()
    listener.wait_for(joined(TAUGHT[:2]))
    assert listener.headers["x-understudy-served-by"] == "teacher"
    assert listener.headers["x-understudy-reason"] == "low_confidence"
    # The student is stopped as soon as the gate has spoken, and the teacher begins.
    deferred_at = trial.drafted.sent_at[-1]
    trial.wait_for_left(trial.drafted, deferred_at)
    assert trial.taught.began - deferred_at < AT_ONCE
    more.set()
    listener.wait_for(joined(TAUGHT))
    end.set()
    assert listener.whole().text == joined(TAUGHT)
    assert listener.said["served_by"] == "teacher"
    assert listener.said["reason"] == "low_confidence"
    assert trial.fact.ending == "escalated"


def test_a_draft_that_ends_inside_the_window_is_deferred_whole(trial: Trial) -> None:
    trial.student_says(*whole(words(5), MIDDLING))
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask().whole()
    assert listener.text == joined(TAUGHT)
    assert trial.drafted.is_over
    assert trial.legs == [("student", None, 10), ("teacher", None, 10)]
    (pair,) = trial.pairs()
    assert pair["draft_complete"] is True
    assert text_of(pair["content"]["draft"]) == joined(words(5))
    assert text_of(pair["content"]["answer"]) == joined(TAUGHT)
    assert pair["completes"] is None
    assert pair["splice"] is None
    assert pair["propensity"] == 1.0
    assert trial.counted("understudy_drafts_aborted_total", cascade="assistant") == 0


def test_a_hopeless_draft_is_given_up_before_the_window_ends(trial: Trial) -> None:
    queued = trial.event()
    trial.student_says(ROLE, Words(words(8), UNSURE, is_counted=True), Until(trial.event()))
    trial.teacher_says(Queued(queued), *whole(TAUGHT))
    listener = trial.ask()
    trial.wait_for_events(trial.stage.student, 9)
    deferred_at = trial.drafted.sent_at[-1]
    trial.wait_for_left(trial.drafted, deferred_at)
    wait_until(lambda: trial.stage.teacher.played)  # it was asked, though it says nothing
    assert trial.taught.began - deferred_at < AT_ONCE
    assert listener.headers == {}
    queued.set()
    assert listener.whole().text == joined(TAUGHT)
    assert trial.legs == [("student", "aborted", 8), ("teacher", None, 10)]


def test_what_an_aborted_draft_leaves_behind(trial: Trial) -> None:
    """It is billed as wasted, and its pair says that it is no label and no rejected answer."""
    trial.student_says(ROLE, Words(words(8), UNSURE, is_counted=True), Until(trial.event()))
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask(stream_options={"include_usage": True}).whole()
    assert listener.said["cost_usd"] == "0.00008648"  # 2 + 0.48 of the student, 60 + 24 millionths
    usage = listener.heard[-1].usage
    assert usage is not None
    assert usage.completion_tokens == 10  # what the client received, and no more
    (pair,) = trial.pairs()
    assert pair["draft_complete"] is False
    assert text_of(pair["content"]["draft"]) == joined(words(8))
    assert pair["content"]["draft"]["choices"][0]["finish_reason"] is None
    assert text_of(pair["content"]["answer"]) == joined(TAUGHT)
    assert pair["reason"] == "low_confidence"
    assert pair["confidence"] < 0.4
    assert pair["propensity"] == 1.0
    assert [leg["error"] for leg in pair["legs"]] == ["aborted", None]
    assert pair["legs"][0]["output_tokens"] == 8
    assert pair["legs"][0]["cost_usd"] == "0.00000248"
    cascade = {"cascade": "assistant"}
    assert trial.counted("understudy_drafts_aborted_total", **cascade) == 1
    assert trial.counted("understudy_drafts_completed_total", **cascade, outcome="completed") == 0
    assert trial.counted("understudy_requests_total", **cascade, outcome="escalated") == 1
    low = {"reason": "low_confidence"}
    assert trial.counted("understudy_deferrals_total", **cascade, **low) == 1
    assert trial.counted("understudy_escalations_total", **cascade, **low) == 1
    name = "understudy_cost_usd_total"
    wasted = trial.counted(name, **cascade, role="student", kind="wasted")
    assert wasted == pytest.approx(0.00000248)
    labels = {"role": "student", "code": "aborted"}
    assert trial.counted("understudy_upstream_errors_total", **cascade, **labels) == 0


def test_a_draft_that_is_cut_without_a_running_bill_costs_nobody_knows_what(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(8), UNSURE), Until(trial.event()))
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask().whole()
    assert listener.said["cost_usd"] is None
    assert trial.legs == [("student", "aborted", None), ("teacher", None, 10)]
    labels = {"cascade": "assistant", "role": "student", "cause": "usage"}
    assert trial.counted("understudy_cost_unknown_total", **labels) == 1


def test_a_draft_that_is_cut_is_estimated_once_its_model_is_known(trial: Trial) -> None:
    """By its tokens, which were told one by one, and by the same request's prompt before."""
    trial.student_says(*whole(words(5)))
    trial.ask().whole()
    trial.observer.settled_facts.clear()
    trial.student_says(ROLE, Words(words(8), UNSURE), Until(trial.event()))
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask().whole()
    assert listener.said["cost_usd"] is None  # what clients are told is exact
    assert trial.legs == [("student", "aborted", 8), ("teacher", None, 10)]
    cost = 100 * 20_000 + 8 * 60_000
    assert [leg.is_estimated for leg in trial.fact.legs] == [True, False]
    assert trial.fact.legs[0].cost_pico == cost
    (pair,) = trial.pairs()
    assert [leg["estimated"] for leg in pair["legs"]] == [True, False]
    assert pair["legs"][0]["cost_usd"] == "0.00000248"
    wasted = {"cascade": "assistant", "role": "student", "kind": "wasted"}
    for name in ("understudy_cost_usd_total", "understudy_cost_estimated_usd_total"):
        assert trial.counted(name, **wasted) == pytest.approx(cost / 10**12)


def test_a_draft_without_log_probabilities_has_no_signal(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(8), None), Until(trial.event()))
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask().whole()
    assert listener.text == joined(TAUGHT)
    assert listener.headers["x-understudy-reason"] == "no_signal"
    assert "x-understudy-confidence" not in listener.headers
    assert listener.said["confidence"] is None


@pytest.mark.parametrize(
    ("count", "logprob", "reason"),
    [(5, -0.01, "no_signal"), (9, MIDDLING, "low_confidence")],
    ids=["before the first checkpoint", "not sure enough at the last one"],
)
def test_a_slow_draft_that_is_not_good_enough_by_then_is_deferred(
    trial: Trial, count: int, logprob: float, reason: str
) -> None:
    trial.student_says(ROLE, Words(words(count), logprob), Until(trial.event()))
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask("hasty").whole()
    assert listener.text == joined(TAUGHT)
    assert listener.headers["x-understudy-reason"] == reason
    assert 0.25 < trial.taught.began - trial.drafted.began < 2
    trial.wait_for_left(trial.drafted, trial.taught.began)


@pytest.mark.parametrize("count", [5, 20])
def test_a_draft_that_the_server_did_not_end_itself_is_no_good(trial: Trial, count: int) -> None:
    """vLLM says `abort` where a request was stopped from outside: that is no whole answer."""
    trial.student_says(ROLE, Words(words(count)), *finish("abort"))
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask().whole()
    is_out = count > 16
    assert listener.text == joined(words(count) if is_out else TAUGHT)
    assert trial.fact.reason == ("late_doubt" if is_out else "invalid_structure")


def test_what_the_student_cannot_do_the_teacher_streams(trial: Trial) -> None:
    end = trial.event()
    trial.teacher_says(ROLE, Words(TAUGHT), Until(end), *finish())
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    listener = trial.ask("unlearned", tools=[tool])
    listener.wait_for(joined(TAUGHT))
    end.set()
    assert listener.whole().headers["x-understudy-reason"] == "student_cannot"
    assert trial.stage.student.requests == []
    (pair,) = trial.pairs()
    assert pair["content"]["draft"] is None
    assert pair["draft_complete"] is False


def test_reasoning_is_held_until_the_verdict(trial: Trial) -> None:
    full = trial.event()
    trial.student_says(
        ROLE, *thoughts(["Let me ", "think. "]), Words(words(15)), Until(full), Words(["end"]),
        *finish(),
    )  # fmt: skip
    listener = trial.ask()
    trial.wait_for_events(trial.stage.student, 18)
    assert listener.heard == []
    full.set()
    assert listener.whole().text == joined(words(15)) + "end"
    assert reasoning_of(listener.heard) == "Let me think. "


def test_reasoning_may_be_let_out_as_it_comes(trial: Trial) -> None:
    """The draft is deferred all the same: its reasoning is out, and not a word of its answer."""
    more, role = trial.event(), trial.event()
    trial.student_says(
        ROLE, Until(role), *thoughts(["Let me ", "think. "]), Until(more),
        Words(words(16), MIDDLING), Until(trial.event()),
    )  # fmt: skip
    trial.teacher_says(ROLE, *thoughts(["Hm. "]), Words(TAUGHT), *finish())
    listener = trial.ask("thinking")
    trial.wait_for_events(trial.stage.student, 1)
    assert listener.headers == {}  # the role alone is not worth the status
    role.set()
    trial.wait_for_events(trial.stage.student, 3)
    listener.wait_for("")
    assert reasoning_of(listener.heard) == "Let me think. "
    assert "x-understudy-served-by" not in listener.headers
    more.set()
    assert listener.whole().text == joined(TAUGHT)
    assert reasoning_of(listener.heard) == "Let me think. Hm. "
    assert listener.said["served_by"] == "teacher"
    assert listener.said["reason"] == "low_confidence"
    assert len({(each.id, each.created) for each in listener.heard}) == 1


def test_reasoning_is_no_evidence(trial: Trial) -> None:
    """Sixteen tokens of thought fill no window."""
    full = trial.event()
    trial.student_says(
        ROLE, *thoughts(words(16)), Words(words(7), UNSURE), Until(full), Words(["x"], UNSURE),
        Until(trial.event()),
    )  # fmt: skip
    trial.teacher_says(*whole(TAUGHT))
    listener = trial.ask()
    trial.wait_for_events(trial.stage.student, 24)
    assert trial.stage.teacher.requests == []
    full.set()
    assert listener.whole().text == joined(TAUGHT)


def reasoning_of(chunks: list[ChatCompletionChunk]) -> str:
    deltas = [choice.delta for each in chunks for choice in each.choices]
    return "".join([(delta.model_extra or {}).get("reasoning", "") for delta in deltas])


def test_a_comment_goes_out_while_the_teacher_is_awaited(lone_trial: Trial) -> None:
    trial, begin = lone_trial, lone_trial.event()
    trial.student_says(*whole(words(5), UNSURE))
    trial.teacher_says(Queued(begin), *whole(TAUGHT))
    question = trial.stage.question | {"model": "wakeful", "stream": True}
    with trial.stage.client.stream("POST", "/v1/chat/completions", json=question) as response:
        assert "x-understudy-served-by" not in response.headers
        assert response.headers["x-understudy-reason"] == "low_confidence"
        lines = response.iter_lines()
        assert next(lines).startswith(":")
        begin.set()
        text = "\n".join(lines)
    chunks = payloads(text)
    assert content_of(chunks) == joined(TAUGHT)
    assert chunks[-1]["understudy"]["served_by"] == "teacher"


def test_where_the_teacher_is_busy_the_draft_flows_and_is_marked(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as live as one that is kept, and no time bound of the window touches it any more."""
    more = trial.event()
    trial.student_says(ROLE, Words(words(8), UNSURE), Until(more), Pause(0.4),
                       Words(words(3, "r"), UNSURE), *finish())  # fmt: skip
    monkeypatch.setattr(trial.upstream("crowded", Role.TEACHER), "open_calls", 1)
    listener = trial.ask("crowded")
    listener.wait_for(joined(words(8)))
    assert listener.headers["x-understudy-degraded"] == "teacher_busy"
    assert listener.headers["x-understudy-served-by"] == "student"
    more.set()
    assert listener.whole().text == joined(words(8), words(3, "r"))
    assert listener.said["degraded"] == "teacher_busy"
    assert trial.stage.teacher.requests == []
    assert trial.fact.ending == "degraded"
    assert trial.pairs() == []
    labels = {"cascade": "crowded", "reason": "low_confidence"}
    deferrals = trial.counted("understudy_deferrals_total", **labels)
    escalations = trial.counted("understudy_escalations_total", **labels)
    assert deferrals - escalations == 1


def test_a_cascade_that_refuses_degraded_answers_gives_503(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(8), UNSURE), Until(trial.event()))
    trial.stage.teacher.reply = Reply(status=500)
    listener = trial.ask("strict").wait_for_end()
    assert getattr(listener.error, "status_code", None) == 503
    assert getattr(listener.error, "code", None) == "teacher_unavailable"
    assert listener.heard == []
    assert trial.fact.ending == "failed"


def test_a_draft_that_nobody_may_serve_is_stopped(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the gateway, and not by a client: that says nothing of the student."""
    monkeypatch.setattr(trial.upstream("strict", Role.TEACHER), "open_calls", 256)
    trial.student_says(ROLE, Words(words(8), UNSURE), Until(trial.event()))
    listener = trial.ask("strict").wait_for_end()
    assert getattr(listener.error, "status_code", None) == 503
    assert trial.legs == [("student", "aborted", None)]


def test_nothing_is_kept_of_a_request_that_forbids_it(trial: Trial) -> None:
    trial.student_says(ROLE, Words(words(8), UNSURE), Until(trial.event()))
    trial.teacher_says(*whole(TAUGHT))
    assert trial.ask("learning", store=False).whole().text == joined(TAUGHT)
    assert trial.pairs() == []
    trial.wait_for_left(trial.drafted, trial.taught.began)  # nor is its draft finished
    assert trial.observer.completed_facts == []
