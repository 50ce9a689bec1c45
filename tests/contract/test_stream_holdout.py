"""A share of the drafts that are enough is held out: the teacher answers, both bills are known."""

from fractions import Fraction
from typing import Any

import pytest

from gateway.facts import BothAnswered
from routing.baseline import Correction, Observation
from routing.money import Usage
from routing.vocabulary import Basis, Role
from tests.fakes.script import (
    ROLE,
    BreakOff,
    Until,
    Words,
    finish,
    thoughts,
    tool_call,
    used,
    whole,
)
from tests.fakes.serving import wait_until
from tests.fakes.trial import HOPELESS, MIDDLING, SURE, Trial, joined, text_of, words
from tests.fakes.upstream import Reply

DRAFT, TAUGHT = words(40), words(5, "t")
# 100 tokens of input at the teacher's price, and 40 or 10 of output, in pico-dollars.
PREDICTED, MEASURED = 100 * 600_000 + 40 * 2_400_000, 100 * 600_000 + 10 * 2_400_000
# Held out with one half: it stands for one more.
CORRECTED = Correction(MEASURED - PREDICTED, 2 * (MEASURED - PREDICTED) ** 2)
OBSERVED = BothAnswered("holding", None, Basis.SAMPLE, CORRECTED, is_learnt=True)
UNKNOWN = BothAnswered("holding", None, Basis.SAMPLE, None, is_learnt=False)


@pytest.fixture
def drawn(trial: Trial) -> Trial:
    """A trial whose coin says that drafts are held out."""
    return _drawn(trial)


@pytest.fixture
def lone_drawn(lone_trial: Trial) -> Trial:
    """The same with one of the clients."""
    return _drawn(lone_trial)


def _drawn(trial: Trial) -> Trial:
    trial.stage.gateway.context.dice = lambda: 0.49
    trial.student_says(ROLE, Words(DRAFT, is_counted=True), *finish(usage=used(40)))
    trial.teacher_says(*whole(TAUGHT))
    return trial


def test_the_teacher_answers_and_the_draft_is_finished_off_the_path(drawn: Trial) -> None:
    more = drawn.event()
    drawn.student_says(
        ROLE, Words(DRAFT[:16], is_counted=True), Until(more),
        Words(DRAFT[16:]), *finish(usage=used(40)),
    )  # fmt: skip
    listener = drawn.ask("holding").whole()
    assert listener.text == joined(TAUGHT)
    assert listener.headers["x-understudy-served-by"] == "teacher"
    assert listener.said["reason"] == "holdout"
    assert listener.said["degraded"] is None
    assert listener.said["confidence"] > 0.9
    assert drawn.fact.ending == "escalated"
    assert drawn.fact.baseline is not None
    assert (drawn.fact.baseline.pico, drawn.fact.baseline.basis) == (MEASURED, Basis.MEASURED)
    assert drawn.observer.answered_facts == []  # half of the draft says nothing of all of it
    more.set()
    wait_until(lambda: drawn.observer.answered_facts)
    assert drawn.observer.answered_facts == [OBSERVED]
    assert drawn.completed_legs == [("student", None, 24)]
    first, second = drawn.pairs()
    assert first["propensity"] == second["propensity"] == 0.5
    assert first["reason"] == second["reason"] == "holdout"
    assert (first["draft_complete"], second["draft_complete"]) == (False, True)
    assert second["completes"] == first["id"]
    assert text_of(second["content"]["draft"]) == joined(DRAFT)


def test_what_it_costs_is_on_the_bill_and_no_deferral(drawn: Trial) -> None:
    drawn.ask("holding").whole()
    wait_until(lambda: drawn.observer.answered_facts)
    labels = {"cascade": "holding"}
    cost, student = "understudy_cost_usd_total", {**labels, "role": "student"}
    shadow = drawn.counted(cost, **student, kind="shadow")
    assert shadow == pytest.approx(100 * 0.02e-6 + 40 * 0.06e-6)
    for kind in ("served", "wasted", "audit"):
        assert drawn.counted(cost, **student, kind=kind) == 0
    served = drawn.counted(cost, **labels, role="teacher", kind="served")
    assert served == pytest.approx(100 * 0.6e-6 + 10 * 2.4e-6)
    held = {**labels, "reason": "holdout"}
    assert drawn.counted("understudy_escalations_total", **held) == 1
    assert drawn.counted("understudy_deferrals_total", **held) == 0
    assert drawn.counted("understudy_confidence_count", **labels, verdict="keep") == 1
    assert drawn.counted("understudy_confidence_count", **labels, verdict="defer") == 0


def test_what_the_metrics_say_of_the_baseline(drawn: Trial) -> None:
    drawn.ask("holding").whole()
    wait_until(lambda: drawn.observer.answered_facts)
    labels = {"cascade": "holding"}
    measured = drawn.counted("understudy_baseline_usd_total", **labels, basis="measured")
    assert measured == MEASURED / 1e12
    down = "understudy_baseline_correction_usd_total"
    assert drawn.counted(down, **labels, direction="down") == -CORRECTED.pico / 1e12
    assert drawn.counted(down, **labels, direction="up") == 0
    variance = drawn.counted("understudy_baseline_variance_usd2_total", **labels)
    assert variance == CORRECTED.variance_pico2 / 1e24
    observations = "understudy_baseline_observations_total"
    assert drawn.counted(observations, **labels, basis="sample") == 1


def test_a_draft_that_the_coin_spares_is_kept(drawn: Trial) -> None:
    drawn.stage.gateway.context.dice = lambda: 0.5
    listener = drawn.ask("holding").whole()
    assert listener.text == joined(DRAFT)
    assert drawn.fact.ending == "kept"
    assert drawn.fact.baseline is not None
    assert (drawn.fact.baseline.pico, drawn.fact.baseline.basis) == (PREDICTED, Basis.PRICES)
    assert drawn.pairs() == []
    assert drawn.observer.answered_facts == []


def test_a_draft_that_is_not_enough_is_no_part_of_the_sample(drawn: Trial) -> None:
    drawn.student_says(*whole(words(20), MIDDLING))
    drawn.ask("holding").whole()
    assert drawn.fact.reason == "low_confidence"
    (pair,) = drawn.pairs()
    assert pair["propensity"] == 1.0
    assert drawn.counted("understudy_baseline_observations_total",
                         cascade="holding", basis="sample") == 0  # fmt: skip


def test_where_pairs_are_not_stored_the_draft_is_finished_for_its_bill(lone_drawn: Trial) -> None:
    lone_drawn.ask("holding-unstored").whole()
    wait_until(lambda: lone_drawn.observer.answered_facts)
    (fact,) = lone_drawn.observer.answered_facts
    assert fact.correction == CORRECTED
    assert lone_drawn.pairs() == []


@pytest.mark.parametrize("cascade", ["holding", "holding-strict", "holding-early"])
@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "whole"])
def test_where_the_teacher_fails_the_draft_is_served_as_kept(
    drawn: Trial, cascade: str, is_stream: bool
) -> None:
    """And not degraded: it was enough.  It is the draft that was there, not another one."""
    drawn.stage.student.reply = Reply(
        body=Reply().body, steps=[ROLE, Words(DRAFT), *finish(usage=used(40))]
    )
    drawn.stage.teacher.reply = Reply(status=500)
    if is_stream:
        listener = drawn.ask(cascade).whole()
        assert listener.text == joined(DRAFT)
        assert listener.headers["x-understudy-served-by"] == "student"
        assert listener.headers["x-understudy-reason"] == "confident"
        assert "x-understudy-degraded" not in listener.headers
    else:
        drawn.answer(cascade)
    assert drawn.fact.ending == "kept"
    assert drawn.fact.reason == "confident"
    assert drawn.fact.degraded is None
    assert drawn.fact.baseline is not None
    assert drawn.fact.baseline.basis is Basis.PRICES
    assert [leg.role for leg in drawn.fact.legs] == [Role.TEACHER, Role.STUDENT] or not is_stream
    assert len(drawn.stage.student.requests) == 1
    assert drawn.pairs() == []
    assert drawn.observer.answered_facts == []
    assert drawn.counted("understudy_deferrals_total", cascade=cascade, reason="holdout") == 0


def test_where_the_teacher_is_left_alone_the_draft_flows_on(lone_drawn: Trial) -> None:
    """It is judged on as any draft is: half out it may still fall into doubt."""
    for _ in range(5):
        lone_drawn.upstream("holding", Role.TEACHER).breaker.failed(1e9)
    lone_drawn.student_says(ROLE, Words(DRAFT[:20]), Words(words(20, "x"), HOPELESS), *finish())
    listener = lone_drawn.ask("holding").whole()
    assert listener.text == joined(DRAFT[:20], words(20, "x"))
    assert listener.said["reason"] == "late_doubt"
    assert lone_drawn.fact.ending == "kept"
    assert lone_drawn.stage.teacher.requests == []


def test_a_teacher_that_breaks_off_ends_both(lone_drawn: Trial) -> None:
    lone_drawn.student_says(ROLE, Words(DRAFT[:16]), Until(lone_drawn.event()))
    lone_drawn.teacher_says(ROLE, Words(TAUGHT), BreakOff())
    listener = lone_drawn.ask("holding").wait_for_end()
    assert listener.error is not None
    assert lone_drawn.fact.ending == "failed"
    assert lone_drawn.fact.baseline is None
    assert lone_drawn.observer.answered_facts == [UNKNOWN]
    assert lone_drawn.upstream("holding", Role.STUDENT).open_calls == 0


def test_a_client_that_leaves_corrects_nothing_and_is_counted(lone_drawn: Trial) -> None:
    lone_drawn.student_says(ROLE, Words(DRAFT[:16]), Until(lone_drawn.event()))
    lone_drawn.teacher_says(ROLE, Words(TAUGHT), Until(lone_drawn.event()))
    lone_drawn.ask("holding", patience=0.2).wait_for_end()
    assert lone_drawn.fact.ending == "cancelled"
    assert lone_drawn.fact.baseline is None
    assert {lone_drawn.fact.kind_of(leg) for leg in lone_drawn.fact.legs
            if leg.role is Role.STUDENT} == {"shadow"}  # fmt: skip
    assert lone_drawn.observer.answered_facts == [UNKNOWN]


def test_a_gateway_that_ends_before_the_draft_corrects_nothing_and_counts_it(
    lone_drawn: Trial,
) -> None:
    lone_drawn.student_says(ROLE, Words(DRAFT[:16], is_counted=True), Until(lone_drawn.event()))
    lone_drawn.ask("holding").whole()
    (task,) = lone_drawn.stage.gateway.context.background
    task.get_loop().call_soon_threadsafe(task.cancel)
    wait_until(lambda: lone_drawn.observer.answered_facts)
    assert lone_drawn.observer.answered_facts == [UNKNOWN]


def test_a_student_that_breaks_off_corrects_nothing_and_is_counted(lone_drawn: Trial) -> None:
    lone_drawn.student_says(ROLE, Words(DRAFT[:16]), BreakOff())
    listener = lone_drawn.ask("holding").whole()
    assert listener.text == joined(TAUGHT)
    wait_until(lambda: lone_drawn.observer.answered_facts)
    (fact,) = lone_drawn.observer.answered_facts
    assert fact == UNKNOWN
    unknown = {"cascade": "holding", "cause": "observation"}
    assert lone_drawn.counted("understudy_baseline_unknown_total", **unknown) == 1
    observations = "understudy_baseline_observations_total"
    assert lone_drawn.counted(observations, cascade="holding", basis="sample") == 0


@pytest.mark.parametrize("is_early", [True, False], ids=["at once", "later"])
@pytest.mark.parametrize("cascade", ["holding", "holding-continuing"])
def test_a_held_out_draft_in_doubt_stands_for_those_that_were_kept_alone(
    lone_drawn: Trial, cascade: str, is_early: bool
) -> None:
    """Where such drafts are handed over, they have a bill of the teacher's own."""
    doubted = lone_drawn.event()
    lone_drawn.student_says(
        ROLE, Words(DRAFT[:20]), Until(doubted), Words(words(20, "x"), HOPELESS),
        *finish(usage=used(40)),
    )  # fmt: skip
    if is_early:
        doubted.set()
    lone_drawn.ask(cascade).whole()
    doubted.set()
    wait_until(lambda: lone_drawn.observer.completed_facts)
    lone_drawn.end()
    is_observed = [fact.basis for fact in lone_drawn.observer.answered_facts] == [Basis.SAMPLE]
    assert is_observed is (cascade == "holding")


@pytest.mark.parametrize(
    ("cascade", "changes"),
    [
        ("holding", {"response_format": {"type": "json_object"}}),
        ("holding-early", {"stream": False}),
    ],
    ids=["JSON", "early abort"],
)
def test_what_is_held_to_its_end_is_observed_at_once(
    lone_drawn: Trial, cascade: str, changes: dict[str, Any]
) -> None:
    texts = ['{"a"', ': "', *words(20), '"}']
    lone_drawn.stage.student.reply = Reply(steps=[ROLE, Words(texts), *finish(usage=used(40))])
    if "stream" in changes:
        lone_drawn.answer(cascade)
    else:
        assert lone_drawn.ask(cascade, **changes).whole().text == joined(TAUGHT)
    wait_until(lambda: lone_drawn.observer.answered_facts)
    (fact,) = lone_drawn.observer.answered_facts
    assert fact.correction == CORRECTED
    (pair,) = lone_drawn.pairs()
    assert (pair["reason"], pair["propensity"], pair["draft_complete"]) == ("holdout", 0.5, True)
    assert lone_drawn.observer.completed_facts == []


def test_tool_calls_are_held_out_whole(lone_drawn: Trial) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    lone_drawn.student_says(ROLE, *tool_call("look", ["{", "}"], SURE), *finish("tool_calls"))
    assert lone_drawn.ask("holding", tools=tools).whole().text == joined(TAUGHT)
    (pair,) = lone_drawn.pairs()
    assert (pair["reason"], pair["draft_complete"]) == ("holdout", True)


def test_reasoning_that_is_out_stays_out_as_before_any_escalation(lone_drawn: Trial) -> None:
    lone_drawn.student_says(ROLE, *thoughts(["hm"]), Words(DRAFT), *finish(usage=used(40)))
    listener = lone_drawn.ask("holding-thinking").whole()
    assert listener.text == joined(TAUGHT)
    assert lone_drawn.fact.reason == "holdout"


def test_what_is_predicted_rests_on_what_was_known_before_the_draft(lone_drawn: Trial) -> None:
    """A kept draft would have been predicted by then: later knowledge would favour the held out."""
    more = lone_drawn.event()
    lone_drawn.student_says(
        ROLE, Words(DRAFT[:16]), Until(more), Words(DRAFT[16:]), *finish(usage=used(40))
    )
    lone_drawn.ask("holding").whole()
    learner = lone_drawn.stage.gateway.context.served["holding"].learner
    for _ in range(20):
        learner.learn(Observation(Basis.SAMPLE, Usage(100, 10), Usage(100, 90)))
    more.set()
    wait_until(lambda: lone_drawn.observer.answered_facts)
    assert lone_drawn.observer.answered_facts == [OBSERVED]


def test_escalations_teach_the_ratios_and_correct_nothing(trial: Trial) -> None:
    trial.stage.gateway.context.dice = lambda: 0.49
    trial.student_says(ROLE, Words(words(16), MIDDLING), Words(words(9)), *finish(usage=used(25)))
    trial.teacher_says(*whole(TAUGHT))
    for _ in range(20):
        trial.ask("learning").whole()
    wait_until(lambda: len(trial.observer.answered_facts) == 20)
    seen = BothAnswered("learning", None, Basis.ESCALATIONS, None, is_learnt=True)
    assert trial.observer.answered_facts == [seen] * 20
    learner = trial.stage.gateway.context.served["learning"].learner
    assert learner.ratios.basis is Basis.ESCALATIONS
    assert learner.ratios.output == Fraction(10, 25)
    trial.student_says(ROLE, Words(DRAFT), *finish(usage=used(40)))
    trial.observer.settled_facts.clear()
    trial.ask("learning").whole()
    assert trial.fact.baseline is not None
    assert trial.fact.baseline.basis is Basis.ESCALATIONS
    assert trial.fact.baseline.pico == 100 * 600_000 + 16 * 2_400_000
