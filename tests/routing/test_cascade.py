import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.calibration import PiecewiseLinear, Uncalibrated
from routing.cascade import (
    AskStudent,
    AskTeacher,
    Defer,
    Keep,
    Outcome,
    Prospect,
    Refuse,
    ServeDraft,
    Verdict,
    as_served,
    barred,
    defer,
    hold_out,
    plan,
    settle,
)
from routing.model import PROMPT_MERIT, Linear, Score
from routing.policy import (
    Checkpoint,
    Policy,
    PromptRule,
    Rule,
    StreamedRules,
    uncalibrated_default,
)
from routing.prompt import PromptModel, Terms
from routing.signals import EARLIER_KEPT, signals_of
from routing.vocabulary import (
    Confidence,
    Degraded,
    Denied,
    Draft,
    Grant,
    Granted,
    Merit,
    Need,
    NoDraft,
    Reason,
    Route,
    Structure,
    Threshold,
    WhenDenied,
)

# Confidence is the probability of the least likely token; 0.5 and above keeps.
POLICY = Policy(
    version="test",
    whole=Rule(Score(("min_probability",), (1.0,)), Uncalibrated(), Threshold(0.5)),
)
NOT_ASKED, VALID, INVALID = Structure.NOT_ASKED, Structure.VALID, Structure.INVALID
PROBABILITIES = st.floats(min_value=0.0, max_value=1.0)


def draft(probability: float | None, structure: Structure = NOT_ASKED) -> Draft:
    """A one-token draft that POLICY gives this confidence; None for one without evidence."""
    if probability is None:
        return Draft(structure=structure)
    logprob = math.log(probability) if probability else -math.inf
    return Draft(token_logprobs=(logprob,), structure=structure)


DRAFTS = st.builds(draft, st.none() | PROBABILITIES, st.sampled_from(Structure))


# --- plan ---

NOTHING: frozenset[Need] = frozenset()
VISION, TOOLS = frozenset({Need.VISION}), frozenset({Need.TOOLS})
BOTH = VISION | TOOLS
STUDENT, TEACHER = AskStudent(), NoDraft(Reason.STUDENT_CANNOT)


@pytest.mark.parametrize(
    ("needs", "student_cannot", "first"),
    [
        (NOTHING, NOTHING, STUDENT),
        (NOTHING, VISION, STUDENT),
        (NOTHING, TOOLS, STUDENT),
        (NOTHING, BOTH, STUDENT),
        (VISION, NOTHING, STUDENT),
        (VISION, VISION, TEACHER),
        (VISION, TOOLS, STUDENT),
        (VISION, BOTH, TEACHER),
        (TOOLS, NOTHING, STUDENT),
        (TOOLS, VISION, STUDENT),
        (TOOLS, TOOLS, TEACHER),
        (TOOLS, BOTH, TEACHER),
        (BOTH, NOTHING, STUDENT),
        (BOTH, VISION, TEACHER),
        (BOTH, TOOLS, TEACHER),
        (BOTH, BOTH, TEACHER),
    ],
)
def test_student_is_asked_first_unless_it_cannot_do_what_is_needed(
    needs: frozenset[Need], student_cannot: frozenset[Need], first: AskStudent | NoDraft
) -> None:
    assert plan(Prospect(needs), student_cannot, POLICY) == first


def promising(margin: float) -> Policy:
    """POLICY with a bar so much above what the prompt promises."""
    return replace(POLICY, prompt=PromptRule(PromptModel(Terms(8)), margin))


@pytest.mark.parametrize(
    ("bar", "first"),
    [
        (0.75, STUDENT),
        (0.5, STUDENT),
        (math.nextafter(0.5, 0.0), None),
        (0.0, None),
    ],
)
def test_prompt_that_promises_too_little_goes_straight_to_the_teacher(
    bar: float, first: AskStudent | None
) -> None:
    spared = NoDraft(Reason.PROMPT_SAYS_SO, Merit(bar), is_to_be_had=True)
    promised = Prospect(promised=Merit(bar / 2))
    assert plan(promised, NOTHING, promising(bar / 2)) == (first or spared)
    assert plan(Prospect(), NOTHING, promising(bar / 2)) == STUDENT
    assert plan(promised, NOTHING, POLICY) == STUDENT


def test_draft_sampled_in_another_way_has_no_signal() -> None:
    greedy = replace(POLICY, sampling={"temperature": 0})
    spared = NoDraft(Reason.NO_SIGNAL, is_to_be_had=True)
    assert plan(Prospect(sampling={"temperature": 0.0}), NOTHING, greedy) == STUDENT
    assert plan(Prospect(sampling={"temperature": 1}), NOTHING, greedy) == spared
    assert plan(Prospect(), NOTHING, greedy) == spared
    assert plan(Prospect(sampling={"temperature": 1}), NOTHING, POLICY) == STUDENT


def test_draft_chosen_from_another_number_of_drafts_has_no_signal() -> None:
    of_three = replace(POLICY, samples=3)
    spared = NoDraft(Reason.NO_SIGNAL, is_to_be_had=True)
    assert plan(Prospect(samples=3), NOTHING, of_three) == STUDENT
    assert plan(Prospect(), NOTHING, of_three) == spared
    assert plan(Prospect(samples=3), NOTHING, POLICY) == spared


def test_draft_that_was_not_chosen_from_several_has_no_signal_for_who_wants_that() -> None:
    of_three, sure = replace(POLICY, samples=3), draft(0.9)
    alone = defer([sure], of_three)
    assert isinstance(alone, Defer)
    assert (alone.reason, alone.has_draft) == (Reason.NO_SIGNAL, True)
    assert alone.confidence is None
    assert alone.signals == signals_of(sure)
    agreed = sure._replace(agreement=2 / 3)
    kept = defer([sure], POLICY)
    assert isinstance(kept, Keep)
    assert defer([agreed], of_three) == kept._replace(signals=signals_of(agreed))
    broken = sure._replace(structure=INVALID)
    assert defer([broken], of_three).reason is Reason.INVALID_STRUCTURE


def test_what_the_student_cannot_do_comes_before_sampling_and_that_before_the_prompt() -> None:
    hopeless = replace(promising(0.0), sampling={})
    prospect = Prospect(VISION, promised=Merit(0.0), sampling={"top_p": 0.5})
    assert plan(prospect, VISION, hopeless) == TEACHER
    assert plan(prospect, NOTHING, hopeless) == NoDraft(Reason.NO_SIGNAL, is_to_be_had=True)


def test_conversation_that_stays_with_the_teacher_goes_straight_there() -> None:
    spared = NoDraft(Reason.STICKY, is_to_be_had=True)
    assert plan(Prospect(is_sticky=True), NOTHING, POLICY) == spared
    assert defer(spared, POLICY) == Defer(Reason.STICKY, has_draft=True)
    # Whoever says who is to answer is heard before, and so is what no draft can be written of.
    assert plan(Prospect(is_sticky=True, route=Route.STUDENT), NOTHING, POLICY) == STUDENT
    pinned = NoDraft(Reason.PINNED)
    assert plan(Prospect(is_sticky=True, route=Route.TEACHER), NOTHING, POLICY) == pinned
    assert plan(Prospect(VISION, is_sticky=True), VISION, POLICY) == TEACHER
    assert plan(Prospect(is_sticky=True), NOTHING, POLICY, has_room=False) == TEACHER
    # It comes before whatever says that a draft would be of no use.
    assert plan(Prospect(is_sticky=True), NOTHING, replace(POLICY, samples=3)) == spared


def reading_the_past(threshold: float) -> Policy:
    """A policy whose score is half the least probability, and half what was kept before."""
    signals = ("min_probability", EARLIER_KEPT)
    return Policy("test", Rule(Score(signals, (0.5, 0.5)), Uncalibrated(), Threshold(threshold)))


def test_policy_may_read_what_earlier_turns_came_to() -> None:
    policy, sure = reading_the_past(0.7), draft(0.8)
    assert policy.is_past_read
    assert not POLICY.is_past_read
    kept = defer([sure], policy, Prospect(earlier_kept=0.75))
    assert isinstance(kept, Keep)
    assert kept.merit is not None
    assert kept.merit.value == pytest.approx(0.775)
    deferred = defer([sure], policy, Prospect(earlier_kept=0.25))
    assert deferred.reason is Reason.LOW_CONFIDENCE
    # A pair tells of it, whether or not the policy reads it, and of a first turn it is absent.
    assert deferred.signals == {**signals_of(sure), EARLIER_KEPT: 0.25}
    unread = defer([draft(0.1)], POLICY, Prospect(earlier_kept=0.25))
    assert unread.signals[EARLIER_KEPT] == 0.25
    assert defer([sure], policy).reason is Reason.NO_SIGNAL
    assert EARLIER_KEPT not in defer([draft(0.1)], POLICY).signals


@pytest.mark.parametrize("part", ["checkpoint", "end", "arguments"])
def test_policy_whose_streams_read_earlier_turns_says_so(part: str) -> None:
    plain, reading = POLICY.whole, reading_the_past(0.5).whole
    parts = ("checkpoint", "end", "arguments")
    first, end, arguments = [reading if name == part else plain for name in parts]
    streamed = StreamedRules((Checkpoint(16, first),), end, arguments)
    assert replace(POLICY, streamed=streamed).is_past_read
    silent = StreamedRules((Checkpoint(16, plain),), plain, plain)
    assert not replace(POLICY, streamed=silent).is_past_read


def test_draft_that_was_spared_can_be_had_should_the_teacher_fail() -> None:
    spared = NoDraft(Reason.PROMPT_SAYS_SO, Merit(0.25), is_to_be_had=True)
    verdict = defer(spared, POLICY)
    assert verdict == Defer(Reason.PROMPT_SAYS_SO, has_draft=True, merit=Merit(0.25))


# --- defer ---

SURE, EQUAL, UNSURE, IMPOSSIBLE, SILENT = 0.75, 0.5, math.nextafter(0.5, 0.0), 0.0, None


@pytest.mark.parametrize(
    ("structure", "probability", "kind", "reason"),
    [
        (NOT_ASKED, SURE, Keep, Reason.CONFIDENT),
        (NOT_ASKED, EQUAL, Keep, Reason.CONFIDENT),
        (NOT_ASKED, UNSURE, Defer, Reason.LOW_CONFIDENCE),
        (NOT_ASKED, IMPOSSIBLE, Defer, Reason.LOW_CONFIDENCE),
        (NOT_ASKED, SILENT, Defer, Reason.NO_SIGNAL),
        (VALID, SURE, Keep, Reason.CONFIDENT),
        (VALID, EQUAL, Keep, Reason.CONFIDENT),
        (VALID, UNSURE, Defer, Reason.LOW_CONFIDENCE),
        (VALID, IMPOSSIBLE, Defer, Reason.LOW_CONFIDENCE),
        (VALID, SILENT, Defer, Reason.NO_SIGNAL),
        (INVALID, SURE, Defer, Reason.INVALID_STRUCTURE),
        (INVALID, EQUAL, Defer, Reason.INVALID_STRUCTURE),
        (INVALID, UNSURE, Defer, Reason.INVALID_STRUCTURE),
        (INVALID, IMPOSSIBLE, Defer, Reason.INVALID_STRUCTURE),
        (INVALID, SILENT, Defer, Reason.INVALID_STRUCTURE),
    ],
)
def test_draft_is_judged_by_structure_then_evidence_then_threshold(
    structure: Structure, probability: float | None, kind: type[Verdict], reason: Reason
) -> None:
    judged = draft(probability, structure)
    verdict = defer([judged], POLICY)
    assert type(verdict) is kind
    assert verdict.reason is reason
    told = signals_of(judged)
    if kind is Keep:  # what nobody reads of a kept draft need not be known
        assert verdict.signals.items() <= told.items()
        assert POLICY.whole.names & told.keys() <= verdict.signals.keys()
    else:
        assert verdict.signals == told
    if probability is None:
        assert verdict.confidence is None
    else:
        assert verdict.confidence is not None
        assert verdict.confidence.value == pytest.approx(probability)
    if isinstance(verdict, Defer):
        assert verdict.has_draft


def at_threshold(threshold: float) -> Verdict:
    certain = Draft(token_logprobs=(0.0,))  # confidence exactly 1
    rule = Rule(Score(("min_probability",), (0.8,)), Uncalibrated(), Threshold(threshold))
    return defer([certain], Policy("test", rule))


def test_equality_with_the_threshold_keeps_the_draft() -> None:
    assert isinstance(at_threshold(0.8), Keep)


def test_one_rounding_step_below_the_threshold_defers() -> None:
    assert isinstance(at_threshold(math.nextafter(0.8, 1.0)), Defer)


@pytest.mark.parametrize("reason", [Reason.STUDENT_FAILED, Reason.STUDENT_CANNOT])
def test_without_a_draft_the_reason_is_passed_on(reason: Reason) -> None:
    assert defer(NoDraft(reason), POLICY) == Defer(reason, None, has_draft=False, signals={})


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param(Draft(), id="no log-probabilities"),
        pytest.param(Draft((math.nan,), (math.nan,), (-1.0,)), id="NaN for a token"),
        pytest.param(Draft((0.0,), (math.nan,), (-1.0,)), id="NaN for a candidate"),
        pytest.param(Draft((0.0,)), id="no candidates"),
        pytest.param(Draft((0.0,), (0.0,)), id="one candidate"),
    ],
)
def test_silence_defers_even_at_threshold_zero(silent: Draft) -> None:
    anything_goes = uncalibrated_default().with_threshold(Threshold(0.0))
    verdict = defer([silent], anything_goes)
    assert isinstance(verdict, Defer)
    assert verdict.reason is Reason.NO_SIGNAL
    assert verdict.confidence is None
    assert verdict.has_draft


def test_threshold_zero_keeps_a_draft_of_confidence_zero() -> None:
    kept = defer([draft(0.0)], POLICY.with_threshold(Threshold(0.0)))
    assert kept == Keep(Confidence(0.0), kept.signals, merit=Merit(0.0))


# Confidence is the probability of the least likely token, the gain what the mean lacks to 1.
GAINING = replace(POLICY.whole, gain=Linear(("mean_probability",), (-1.0,), (0.0,), intercept=1.0))


@pytest.mark.parametrize(
    ("probability", "threshold", "kind"),
    [(0.25, 0.125, Keep), (0.25, math.nextafter(0.125, 1.0), Defer), (1.0, 0.5, Keep)],
)
def test_merit_decides_where_there_is_a_gain_to_be_expected(
    probability: float, threshold: float, kind: type[Verdict]
) -> None:
    policy = Policy("test", replace(GAINING, threshold=Threshold(threshold)))
    verdict = defer([draft(probability)], policy)
    assert type(verdict) is kind
    assert verdict.merit == Merit(probability / 2)
    assert verdict.confidence == Confidence(probability)


def test_group_of_the_request_chooses_the_calibration() -> None:
    never = PiecewiseLinear((0.0,), (0.0,))
    policy = Policy("test", replace(POLICY.whole, by_group={"hard": never}))
    assert isinstance(defer([draft(0.9)], policy, Prospect(group="hard")), Defer)
    assert isinstance(defer([draft(0.9)], policy, Prospect(group="easy")), Keep)
    assert isinstance(defer([draft(0.9)], policy), Keep)


def test_label_that_the_draft_is_counts() -> None:
    rule = replace(
        POLICY.whole, score=Linear(("min_probability", "label=none"), (0.0, 1.0), (0.0, 0.0))
    )
    sure = draft(0.9)
    assert isinstance(defer([sure._replace(text="None.")], Policy("test", rule)), Keep)
    assert isinstance(defer([sure._replace(text="up")], Policy("test", rule)), Defer)
    assert isinstance(defer([sure], Policy("test", rule)), Defer)


def test_what_the_prompt_promised_counts_where_the_rule_reads_it() -> None:
    names = ("min_probability", PROMPT_MERIT)
    rule = replace(POLICY.whole, score=Linear(names, (0.0, 1.0), (0.0, 0.25)))
    for promised, confidence in ((Merit(0.75), 0.75), (Merit(0.0), 0.0), (None, 0.25)):
        verdict = defer([draft(0.9)], Policy("test", rule), Prospect(promised=promised))
        assert verdict.confidence == Confidence(confidence)
    assert defer([draft(0.9)], POLICY, Prospect(promised=Merit(0.0))) == defer([draft(0.9)], POLICY)


# What each choice is like; the place of the one that decides; its reason.
@pytest.mark.parametrize(
    ("choices", "weakest", "reason"),
    [
        ([draft(0.9), draft(0.6)], 1, Reason.CONFIDENT),
        ([draft(0.6), draft(0.9)], 0, Reason.CONFIDENT),
        ([draft(0.9), draft(0.3)], 1, Reason.LOW_CONFIDENCE),
        ([draft(0.3), draft(0.9)], 0, Reason.LOW_CONFIDENCE),
        ([draft(0.4), draft(0.2), draft(0.3)], 1, Reason.LOW_CONFIDENCE),
        ([draft(0.9), draft(None)], 1, Reason.NO_SIGNAL),
        ([draft(None), draft(0.0)], 0, Reason.NO_SIGNAL),
        ([draft(0.0), draft(None)], 1, Reason.NO_SIGNAL),
        ([draft(0.6), draft(0.9, INVALID)], 1, Reason.INVALID_STRUCTURE),
        ([draft(0.9, INVALID), draft(0.6)], 0, Reason.INVALID_STRUCTURE),
        ([draft(0.9, INVALID), draft(0.2)], 1, Reason.LOW_CONFIDENCE),
        ([draft(0.9, INVALID), draft(None)], 1, Reason.NO_SIGNAL),
        ([draft(None, INVALID), draft(0.2)], 0, Reason.INVALID_STRUCTURE),
        ([draft(0.3), draft(0.3, INVALID)], 0, Reason.LOW_CONFIDENCE),
        ([draft(0.3, INVALID), draft(0.3)], 0, Reason.INVALID_STRUCTURE),
    ],
)
def test_several_choices_are_judged_by_the_weakest(
    choices: list[Draft], weakest: int, reason: Reason
) -> None:
    verdict = defer(choices, POLICY)
    assert verdict == defer([choices[weakest]], POLICY)
    assert verdict.reason is reason


@given(st.lists(DRAFTS, min_size=1, max_size=4))
def test_choices_are_kept_together_only_if_each_would_be_kept_alone(choices: list[Draft]) -> None:
    each = [isinstance(defer([choice], POLICY), Keep) for choice in choices]
    assert isinstance(defer(choices, POLICY), Keep) is all(each)


@given(st.lists(DRAFTS, min_size=1, max_size=4), PROBABILITIES, PROBABILITIES)
def test_raising_the_threshold_never_keeps_more(
    choices: list[Draft], left: float, right: float
) -> None:
    low, high = sorted((left, right))
    if isinstance(defer(choices, POLICY.with_threshold(Threshold(high))), Keep):
        assert isinstance(defer(choices, POLICY.with_threshold(Threshold(low))), Keep)


@given(st.lists(DRAFTS, min_size=1, max_size=4), DRAFTS)
def test_another_choice_never_turns_a_deferral_into_a_keep(
    choices: list[Draft], another: Draft
) -> None:
    if isinstance(defer([*choices, another], POLICY), Keep):
        assert isinstance(defer(choices, POLICY), Keep)


@given(DRAFTS, PROBABILITIES)
def test_kept_draft_has_a_confidence_that_the_threshold_admits(
    judged: Draft, threshold: float
) -> None:
    verdict = defer([judged], POLICY.with_threshold(Threshold(threshold)))
    if isinstance(verdict, Keep):
        assert verdict.confidence is not None
        assert verdict.confidence.value >= threshold
        assert judged.structure is not INVALID


def confident(probabilities: Sequence[float]) -> Draft:
    """What a server reports of tokens this likely, the rest of the mass on one rival each."""
    tokens = tuple(math.log(each) for each in probabilities)
    return Draft(tokens, tokens, tuple(math.log(1 - each) for each in probabilities))


def test_default_rule_keeps_a_sure_answer_and_defers_on_one_weak_token() -> None:
    assert isinstance(defer([confident([0.99] * 8)], uncalibrated_default()), Keep)
    assert isinstance(defer([confident([0.99] * 7 + [0.55])], uncalibrated_default()), Defer)


# --- grant ---


@pytest.mark.parametrize(
    ("may_escalate", "has_budget", "has_room", "bar"),
    [
        (True, True, True, None),
        (True, True, False, Denied(Degraded.JOURNAL_FULL)),
        (True, False, True, Denied(Degraded.BUDGET_SPENT)),
        (True, False, False, Denied(Degraded.BUDGET_SPENT)),
        (False, True, True, Denied(Degraded.NOT_ALLOWED)),
        (False, False, False, Denied(Degraded.NOT_ALLOWED)),
    ],
)
def test_consent_then_budget_then_room_for_the_pair_come_before_the_teachers_own_word(
    may_escalate: bool, has_budget: bool, has_room: bool, bar: Denied | None
) -> None:
    found = barred(may_escalate=may_escalate, has_room=has_room, has_budget=has_budget)
    assert found == bar


# --- settle ---

KEEP = Keep(Confidence(0.9))
WITH_DRAFT = Defer(Reason.LOW_CONFIDENCE, Confidence(0.1), has_draft=True)
WITHOUT_DRAFT = Defer(Reason.STUDENT_FAILED)
GRANTED = Granted()
FAILED, BUSY = Denied(Degraded.TEACHER_FAILED), Denied(Degraded.TEACHER_BUSY)
NOT_ALLOWED, FULL = Denied(Degraded.NOT_ALLOWED), Denied(Degraded.JOURNAL_FULL)
SERVE, REFUSE = WhenDenied.SERVE, WhenDenied.REFUSE


@pytest.mark.parametrize(
    ("verdict", "grant", "when_denied", "outcome"),
    [
        (KEEP, GRANTED, SERVE, ServeDraft()),
        (KEEP, GRANTED, REFUSE, ServeDraft()),
        (KEEP, FAILED, SERVE, ServeDraft()),
        (KEEP, FAILED, REFUSE, ServeDraft()),
        (KEEP, BUSY, SERVE, ServeDraft()),
        (KEEP, BUSY, REFUSE, ServeDraft()),
        (KEEP, NOT_ALLOWED, SERVE, ServeDraft()),
        (KEEP, NOT_ALLOWED, REFUSE, ServeDraft()),
        (KEEP, FULL, SERVE, ServeDraft()),
        (KEEP, FULL, REFUSE, ServeDraft()),
        (WITH_DRAFT, GRANTED, SERVE, AskTeacher()),
        (WITH_DRAFT, GRANTED, REFUSE, AskTeacher()),
        (WITH_DRAFT, FAILED, SERVE, ServeDraft(Degraded.TEACHER_FAILED)),
        (WITH_DRAFT, FAILED, REFUSE, Refuse(Degraded.TEACHER_FAILED)),
        (WITH_DRAFT, BUSY, SERVE, ServeDraft(Degraded.TEACHER_BUSY)),
        (WITH_DRAFT, BUSY, REFUSE, Refuse(Degraded.TEACHER_BUSY)),
        (WITH_DRAFT, NOT_ALLOWED, SERVE, ServeDraft(Degraded.NOT_ALLOWED)),
        (WITH_DRAFT, NOT_ALLOWED, REFUSE, Refuse(Degraded.NOT_ALLOWED)),
        (WITH_DRAFT, FULL, SERVE, ServeDraft(Degraded.JOURNAL_FULL)),
        (WITH_DRAFT, FULL, REFUSE, Refuse(Degraded.JOURNAL_FULL)),
        (WITHOUT_DRAFT, GRANTED, SERVE, AskTeacher()),
        (WITHOUT_DRAFT, GRANTED, REFUSE, AskTeacher()),
        (WITHOUT_DRAFT, FAILED, SERVE, Refuse(Degraded.TEACHER_FAILED)),
        (WITHOUT_DRAFT, FAILED, REFUSE, Refuse(Degraded.TEACHER_FAILED)),
        (WITHOUT_DRAFT, BUSY, SERVE, Refuse(Degraded.TEACHER_BUSY)),
        (WITHOUT_DRAFT, BUSY, REFUSE, Refuse(Degraded.TEACHER_BUSY)),
        (WITHOUT_DRAFT, NOT_ALLOWED, SERVE, Refuse(Degraded.NOT_ALLOWED)),
        (WITHOUT_DRAFT, NOT_ALLOWED, REFUSE, Refuse(Degraded.NOT_ALLOWED)),
        (WITHOUT_DRAFT, FULL, SERVE, Refuse(Degraded.JOURNAL_FULL)),
        (WITHOUT_DRAFT, FULL, REFUSE, Refuse(Degraded.JOURNAL_FULL)),
    ],
)
def test_verdict_grant_and_configuration_settle_what_happens(
    verdict: Verdict, grant: Grant, when_denied: WhenDenied, outcome: Outcome
) -> None:
    assert settle(verdict, grant, when_denied) == outcome


@pytest.mark.parametrize("reason", [each for each in Reason if each is not Reason.CONFIDENT])
def test_reason_of_a_deferral_does_not_change_what_happens(reason: Reason) -> None:
    deferred = Defer(reason, has_draft=True)
    assert settle(deferred, GRANTED, SERVE) == AskTeacher()
    assert settle(deferred, BUSY, SERVE) == ServeDraft(Degraded.TEACHER_BUSY)


def test_kept_draft_is_not_degraded_and_a_deferred_one_always_is() -> None:
    assert settle(KEEP, BUSY, SERVE) == ServeDraft(degraded=None)
    settled = settle(WITH_DRAFT, BUSY, SERVE)
    assert isinstance(settled, ServeDraft)
    assert settled.degraded is not None


# --- what is held out ---

HELD = Defer(
    Reason.HOLDOUT,
    KEEP.confidence,
    has_draft=True,
    signals=KEEP.signals,
    merit=KEEP.merit,
    kept=KEEP,
)


@given(st.lists(DRAFTS, min_size=1, max_size=3))
def test_the_coin_changes_nothing_but_who_answers_what_would_be_kept(choices: list[Draft]) -> None:
    kept, held = defer(choices, POLICY), defer(choices, POLICY, is_held_out=True)
    if isinstance(kept, Defer):
        assert held == as_served(held) == kept
        return
    assert isinstance(held, Defer)
    assert held.reason is Reason.HOLDOUT
    assert (held.confidence, held.merit) == (kept.confidence, kept.merit)
    assert kept.signals.items() <= held.signals.items()  # the pair tells of all of them
    assert held.signals in [signals_of(choice) for choice in choices]
    assert as_served(held) == kept._replace(signals=held.signals)


def test_no_draft_is_never_held_out() -> None:
    failed = NoDraft(Reason.STUDENT_FAILED)
    assert defer(failed, POLICY, is_held_out=True) == defer(failed, POLICY)


def test_what_is_held_out_goes_to_the_teacher_or_is_served_as_kept() -> None:
    """Also where the operator refuses degraded answers: this is none."""
    assert hold_out(KEEP) == HELD
    assert hold_out(WITH_DRAFT) == WITH_DRAFT
    assert settle(HELD, GRANTED, REFUSE) == AskTeacher()
    for when_denied in WhenDenied:
        assert settle(HELD, BUSY, when_denied) == ServeDraft(degraded=None)
    assert as_served(HELD) == KEEP
    assert as_served(KEEP) == KEEP
    assert as_served(WITH_DRAFT) == WITH_DRAFT


def test_a_request_that_says_who_answers_is_answered_by_that_one_alone() -> None:
    spared = Prospect(needs=frozenset({Need.VISION}), samples=3)
    cannot, policy = frozenset({Need.VISION}), uncalibrated_default()
    wants_teacher = replace(spared, route=Route.TEACHER)
    assert plan(wants_teacher, cannot, policy) == NoDraft(Reason.PINNED)
    assert plan(replace(spared, route=Route.STUDENT), cannot, policy) == AskStudent()
    verdict = defer(NoDraft(Reason.PINNED), policy, wants_teacher)
    denied = Denied(Degraded.TEACHER_FAILED)
    assert settle(verdict, denied, WhenDenied.SERVE) == Refuse(Degraded.TEACHER_FAILED)


@pytest.mark.parametrize("structure", [NOT_ASKED, Structure.INVALID])
@pytest.mark.parametrize("probability", [None, 0.0, 1.0])
def test_a_draft_that_was_asked_for_is_kept_whatever_it_is(
    probability: float | None, structure: Structure
) -> None:
    prospect = Prospect(route=Route.STUDENT)
    drafts = [draft(1.0), draft(probability, structure)]
    verdict = defer(drafts, uncalibrated_default(), prospect, is_held_out=True)
    judged = defer(drafts, uncalibrated_default())
    assert verdict == Keep(judged.confidence, judged.signals, Reason.PINNED, judged.merit)
