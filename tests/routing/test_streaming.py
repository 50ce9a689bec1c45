"""The gate by examples: one for each thing it can say, and for each edge between them.

That chunks do not matter, and what the client receives, is in test_streaming_properties.py.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from routing.calibration import Uncalibrated
from routing.cascade import Defer, Keep
from routing.model import Score
from routing.policy import Checkpoint, Policy, Rule, StreamedRules, uncalibrated_streamed
from routing.signals import signals_of
from routing.streaming import Doubt, Ending, Gate, Hold, Release, Token
from routing.vocabulary import Confidence, Draft, Merit, Reason, Structure, Threshold

# Each rule's confidence is the probability of the least likely token it is shown.
PREFIX, END, CALL = (
    Rule(Score(("min_probability",), (1.0,)), Uncalibrated(), Threshold(keep), Threshold(abort))
    for keep, abort in [(0.75, 0.25), (0.5, 0.125), (0.625, 0.0)]
)
RULES = StreamedRules(
    checkpoints=(Checkpoint(2, PREFIX), Checkpoint(4, PREFIX), Checkpoint(8, PREFIX)),
    end=END,
    arguments=CALL,
)
NOT_ASKED, VALID, INVALID = Structure.NOT_ASKED, Structure.VALID, Structure.INVALID
SILENT = Token(None)
JUST_BELOW = 1.0 - 1e-12


def said(*probabilities: float) -> list[Token]:
    """What a server reports of tokens this likely; powers of 2 come back from it exactly."""
    return [Token(math.log(each) if each else -math.inf) for each in probabilities]


SURE, SO_SO, BAD = said(1.0)[0], said(0.5)[0], said(0.0625)[0]


def gate(hold_tokens: int | None = 4, rules: StreamedRules = RULES) -> Gate:
    return Gate(rules, hold_tokens)


def flowing() -> Gate:
    """A gate past its window of 4."""
    passed = gate()
    assert passed.feed([SURE] * 4) == Release(4)
    return passed


def deferral(
    reason: Reason, *probabilities: float, structure: Structure = Structure.NOT_ASKED
) -> Defer:
    """The verdict on these tokens; on none, that on silence."""
    tokens = tuple(token.logprob or 0.0 for token in said(*probabilities))
    signals = signals_of(Draft(tokens, structure=structure))
    if not tokens:
        return Defer(reason, has_draft=True, signals=signals)
    sure = signals["min_probability"]
    return Defer(reason, Confidence(sure), has_draft=True, signals=signals, merit=Merit(sure))


def confidence(kept: object) -> float | None:
    assert isinstance(kept, Keep)
    return None if kept.confidence is None else kept.confidence.value


# --- the window ---


def test_nothing_goes_out_before_the_window_is_passed() -> None:
    holding = gate()
    assert [holding.feed([SURE]) for _ in range(3)] == [Hold()] * 3
    assert (holding.verdict, holding.released, holding.tokens) == (None, 0, 3)
    assert holding.feed([SURE]) == Release(4)
    assert confidence(holding.verdict) == 1.0
    assert (holding.released, holding.tokens) == (4, 4)


def test_window_passed_within_a_chunk_lets_the_whole_chunk_out() -> None:
    assert gate().feed([SURE] * 6) == Release(6)


def test_tokens_after_the_window_in_its_chunk_do_not_count() -> None:
    passed = gate()
    assert passed.feed([SURE] * 4 + [BAD]) == Release(5)
    assert confidence(passed.verdict) == 1.0


def at_the_window(share: float) -> Gate:
    """A gate fed with its window, whose confidence is exactly this share of the threshold's."""
    weighted = replace(PREFIX, score=Score(("min_probability",), (0.75 * share,)))
    judged = gate(2, replace(RULES, checkpoints=(Checkpoint(2, weighted),)))
    judged.feed([SURE] * 2)
    return judged


def test_confidence_that_equals_the_threshold_opens_the_window() -> None:
    assert isinstance(at_the_window(1.0).verdict, Keep)
    assert isinstance(at_the_window(JUST_BELOW).verdict, Defer)


def test_window_of_too_little_confidence_defers() -> None:
    holding = gate()
    assert holding.feed([SURE] * 3 + [SO_SO]) == deferral(Reason.LOW_CONFIDENCE, 1, 1, 1, 0.5)
    assert holding.verdict == deferral(Reason.LOW_CONFIDENCE, 1, 1, 1, 0.5)
    assert holding.released == 0


def test_checkpoint_within_the_window_lets_pass_what_is_not_hopeless() -> None:
    holding = gate()
    assert holding.feed([SURE, SO_SO]) == Hold()
    assert holding.verdict is None


def test_checkpoint_within_the_window_gives_a_hopeless_draft_up() -> None:
    assert gate().feed([SURE, BAD]) == deferral(Reason.LOW_CONFIDENCE, 1, 0.0625)


def test_confidence_that_equals_the_bound_of_aborting_is_not_given_up_nor_doubted() -> None:
    at_the_bound, below = said(0.25, 0.25 * JUST_BELOW)
    assert gate().feed([SURE, at_the_bound]) == Hold()
    assert flowing().feed([at_the_bound] * 4) == Release(8)
    assert isinstance(gate().feed([SURE, below]), Defer)
    assert isinstance(flowing().feed([below] * 4), Doubt)


def test_weak_token_is_judged_at_the_next_checkpoint_and_not_before() -> None:
    holding = gate()
    assert holding.feed([BAD]) == Hold()
    assert isinstance(holding.feed([SURE]), Defer)


@pytest.mark.parametrize("place", [0, 1, 3])
def test_silence_within_the_window_defers(place: int) -> None:
    tokens = [SURE] * 4
    tokens[place] = SILENT
    assert gate().feed(tokens) == deferral(Reason.NO_SIGNAL)


def test_window_at_the_first_checkpoint_is_judged_by_its_threshold_alone() -> None:
    assert gate(2).feed([SURE, SURE]) == Release(2)
    assert isinstance(gate(2).feed([SURE, SO_SO]), Defer)


@pytest.mark.parametrize("hold_tokens", [0, 1, 3, 16, -2])
def test_window_that_is_no_checkpoint_is_refused(hold_tokens: int) -> None:
    with pytest.raises(ValueError, match=r"hold_tokens must be one of \[2, 4, 8\]"):
        gate(hold_tokens)


# --- after release ---


def test_chunks_flow_and_a_chunk_without_tokens_changes_nothing() -> None:
    passed = flowing()
    assert passed.feed([SURE]) == Release(5)
    assert passed.feed([]) == Release(5)
    assert passed.feed([SURE] * 2) == Release(7)


def test_empty_chunk_within_the_window_is_held() -> None:
    assert gate().feed([]) == Hold()


def test_collapse_after_release_is_a_doubt_from_its_checkpoint_on() -> None:
    passed = flowing()
    assert passed.feed([BAD]) == Release(5)
    doubt = Doubt(8, Reason.LOW_CONFIDENCE, Confidence(0.0625))
    assert passed.feed([SURE] * 5) == doubt
    assert passed.doubt == doubt
    assert (passed.released, passed.tokens) == (8, 10)
    assert confidence(passed.verdict) == 1.0


def test_silence_after_release_is_a_doubt() -> None:
    assert flowing().feed([SILENT] * 4) == Doubt(8, Reason.NO_SIGNAL, None)


def test_what_would_not_have_opened_the_window_is_no_doubt_after_it() -> None:
    passed = flowing()
    assert passed.feed([SO_SO] * 5) == Release(9)
    assert passed.doubt is None


def test_doubt_and_window_can_lie_in_one_chunk() -> None:
    passed = gate()
    assert isinstance(passed.feed([SURE] * 4 + [BAD] * 8), Doubt)
    assert isinstance(passed.verdict, Keep)
    assert passed.released == 8


def test_while_a_doubt_stands_all_is_held() -> None:
    doubted = flowing()
    doubt = doubted.feed([BAD] * 4)
    assert doubted.feed([SURE]) == Hold()
    assert doubted.expire() == Hold()
    assert doubted.released == 8
    assert doubted.end(Ending(NOT_ASKED)) is doubt
    assert doubted.carry_on() == Release(9)


def test_draft_that_carries_on_is_not_doubted_again() -> None:
    many = replace(RULES, checkpoints=(*RULES.checkpoints, Checkpoint(9, PREFIX)))
    doubted = gate(4, many)
    doubt = doubted.feed([SURE] * 4 + [BAD] * 4)
    assert isinstance(doubt, Doubt)
    assert doubted.carry_on() == Release(8)
    assert doubted.feed([BAD] * 2) == Release(10)
    assert doubted.end(Ending(INVALID)) == Release(10)
    assert doubted.doubt is doubt


# --- the window's time ---


def test_window_whose_time_is_over_before_any_checkpoint_defers() -> None:
    holding = gate()
    holding.feed([SURE])
    assert holding.expire() == deferral(Reason.NO_SIGNAL)
    assert holding.verdict == deferral(Reason.NO_SIGNAL)


def test_last_checkpoint_passed_decides_when_the_windows_time_is_over() -> None:
    holding = gate(8)
    holding.feed([SURE] * 4 + [BAD])
    assert holding.expire() == Release(5)
    assert confidence(holding.verdict) == 1.0
    assert holding.released == 5


def test_last_checkpoint_passed_needs_its_threshold_when_the_windows_time_is_over() -> None:
    holding = gate(8)
    holding.feed([SURE, SURE, SURE, SO_SO])
    assert holding.expire() == deferral(Reason.LOW_CONFIDENCE, 1, 1, 1, 0.5)


def test_window_that_ended_by_its_time_has_only_doubt_left_at_its_tokens() -> None:
    passed = gate()
    passed.feed([SURE] * 2)
    assert passed.expire() == Release(2)
    assert passed.feed([SURE, SO_SO]) == Release(4)
    assert isinstance(passed.feed([BAD] * 4), Doubt)


def test_time_changes_nothing_where_no_window_is_open() -> None:
    called = gate()
    called.tool_call([SURE])
    unlimited = gate(None)
    unlimited.feed([SURE] * 3)
    for unmoved in (flowing(), called, unlimited):
        before = unmoved.verdict, unmoved.released
        assert unmoved.expire() == Hold()
        assert (unmoved.verdict, unmoved.released) == before


# --- the end ---


def test_draft_that_ends_within_the_window_is_decided_whole() -> None:
    kept = gate()
    kept.feed([SURE, SURE, SO_SO])
    assert kept.end(Ending(NOT_ASKED)) == Release(3)
    assert confidence(kept.verdict) == 0.5

    deferred = gate()
    deferred.feed(said(0.25))
    assert deferred.end(Ending(NOT_ASKED)) == deferral(Reason.LOW_CONFIDENCE, 0.25)


def test_draft_without_tokens_gives_no_signal() -> None:
    assert gate().end(Ending(NOT_ASKED)) == deferral(Reason.NO_SIGNAL)


def test_invalid_structure_defers_however_sure() -> None:
    broken = gate(None)
    broken.feed([SURE])
    assert broken.end(Ending(INVALID)) == deferral(Reason.INVALID_STRUCTURE, 1, structure=INVALID)


def test_end_after_release_lets_all_out_and_leaves_the_verdict() -> None:
    passed = flowing()
    passed.feed(said(0.25))
    assert passed.end(Ending(NOT_ASKED)) == Release(5)
    assert confidence(passed.verdict) == 1.0
    assert passed.doubt is None


def test_collapse_found_at_the_end_is_a_doubt_of_the_whole() -> None:
    passed = flowing()
    passed.feed([BAD])
    doubt = Doubt(5, Reason.LOW_CONFIDENCE, Confidence(0.0625))
    assert passed.end(Ending(NOT_ASKED)) == doubt
    assert passed.doubt == doubt
    assert passed.carry_on() == Release(5)
    assert isinstance(passed.verdict, Keep)


def test_invalid_structure_after_release_is_a_doubt() -> None:
    assert flowing().end(Ending(INVALID)) == Doubt(4, Reason.INVALID_STRUCTURE, Confidence(1.0))


# --- no window at all ---


def test_without_a_window_checkpoints_give_up_and_never_let_out() -> None:
    unlimited = gate(None)
    assert unlimited.feed([SURE] * 9) == Hold()
    assert unlimited.end(Ending(VALID)) == Release(9)

    assert gate(None).feed([SURE, BAD]) == deferral(Reason.LOW_CONFIDENCE, 1, 0.0625)


def test_without_a_window_the_end_decides_by_the_rule_it_is_given() -> None:
    policy = Policy("test", replace(END, threshold=Threshold(0.875)), streamed=RULES)
    for hold_all, kind in (
        (gate(None), Release),
        (gate(None, policy.early_abort), Defer),
    ):
        hold_all.feed(said(1, 0.75))
        assert type(hold_all.end(Ending(NOT_ASKED))) is kind


# --- tool calls ---


def test_tool_call_is_held_until_its_end_and_judged_by_its_own_rule() -> None:
    calling = gate()
    assert calling.tool_call([SURE] * 3) == Hold()
    assert calling.tool_call(said(0.625) * 6) == Hold()
    assert (calling.tokens, calling.released) == (9, 0)
    assert calling.end(Ending(VALID)) == Release(9)
    assert confidence(calling.verdict) == pytest.approx(0.625)


@pytest.mark.parametrize(
    ("tokens", "structure", "verdict"),
    [
        (said(1, 0.5), VALID, deferral(Reason.LOW_CONFIDENCE, 1, 0.5, structure=VALID)),
        (said(1, 0.5), INVALID, deferral(Reason.INVALID_STRUCTURE, 1, 0.5, structure=INVALID)),
        ([SURE, SILENT], VALID, deferral(Reason.NO_SIGNAL, structure=VALID)),
        ([SILENT, SILENT], INVALID, deferral(Reason.INVALID_STRUCTURE, structure=INVALID)),
        ([SILENT, SILENT], NOT_ASKED, deferral(Reason.NO_SIGNAL)),
        ([], NOT_ASKED, deferral(Reason.NO_SIGNAL)),
    ],
)
def test_tool_call_that_is_not_enough_is_deferred(
    tokens: list[Token], structure: Structure, verdict: Defer
) -> None:
    calling = gate()
    calling.tool_call(tokens)
    assert calling.end(Ending(structure)) == verdict
    assert calling.released == 0


def test_tool_call_is_deferred_with_all_else_where_nothing_is_to_be_kept() -> None:
    calling = gate(rules=RULES.with_threshold(Threshold(math.inf)))
    calling.tool_call([SILENT])
    ended = calling.end(Ending(VALID))
    assert ended == Defer(Reason.LOW_CONFIDENCE, has_draft=True, merit=Merit(1.0))


@pytest.mark.parametrize("tokens", [[SILENT] * 3, []])
def test_tool_call_of_which_nothing_is_said_is_kept_for_its_structure(tokens: list[Token]) -> None:
    calling = gate()
    calling.tool_call(tokens)
    assert calling.end(Ending(VALID)) == Release(len(tokens))
    assert calling.verdict == Keep(None, reason=Reason.VALID_STRUCTURE)


def test_text_before_a_tool_call_is_judged_as_a_whole_text() -> None:
    calling = gate()
    calling.feed([SURE, SO_SO, SURE])
    calling.tool_call([SURE])
    assert calling.feed([SURE]) == Hold()
    assert calling.end(Ending(VALID)) == Release(5)
    assert confidence(calling.verdict) == 0.5


def test_unsure_text_defers_a_sure_tool_call() -> None:
    calling = gate()
    calling.feed(said(0.25))
    calling.tool_call([SURE])
    assert calling.end(Ending(VALID)) == deferral(Reason.LOW_CONFIDENCE, 0.25)


def test_structure_of_a_tool_call_is_not_that_of_the_text_before_it() -> None:
    calling = gate()
    calling.feed([SO_SO])
    calling.tool_call([SURE])
    assert calling.end(Ending(INVALID)) == deferral(Reason.INVALID_STRUCTURE, 1, structure=INVALID)


def test_text_within_a_tool_call_passes_no_checkpoint() -> None:
    calling = gate()
    calling.feed([SURE])
    calling.tool_call([SILENT])
    assert calling.feed([SURE, BAD] * 4) == Hold()
    assert isinstance(calling.end(Ending(VALID)), Defer)


def test_tool_call_after_release_is_held_and_then_let_out() -> None:
    calling = flowing()
    assert calling.tool_call([SURE] * 4) == Hold()
    assert calling.released == 4
    assert calling.end(Ending(VALID)) == Release(8)
    assert confidence(calling.verdict) == 1.0


def test_tool_call_after_release_counts_with_its_reason_where_it_is_weaker() -> None:
    calling = flowing()
    calling.tool_call([SILENT])
    assert calling.end(Ending(VALID)) == Release(5)
    assert calling.verdict == Keep(None, reason=Reason.VALID_STRUCTURE)


@pytest.mark.parametrize(
    ("token", "structure", "reason"),
    [(SO_SO, VALID, Reason.LOW_CONFIDENCE), (SURE, INVALID, Reason.INVALID_STRUCTURE)],
)
def test_tool_call_that_is_not_enough_after_release_stays_behind(
    token: Token, structure: Structure, reason: Reason
) -> None:
    calling = flowing()
    calling.tool_call([token])
    assert token.logprob is not None
    doubt = Doubt(4, reason, Confidence(math.exp(token.logprob)))
    assert calling.end(Ending(structure)) == doubt
    assert calling.released == 4
    assert calling.carry_on() == Release(5)


def test_tool_call_stays_held_when_an_earlier_doubt_carries_on() -> None:
    calling = flowing()
    calling.feed([BAD] * 5)
    assert calling.tool_call([SURE] * 2) == Hold()
    assert calling.carry_on() == Release(9)
    assert calling.end(Ending(INVALID)) == Release(11)


# --- evidence ---


def test_two_best_candidates_are_read_and_may_be_fewer() -> None:
    margin = Rule(Score(("min_margin",), (1.0,)), Uncalibrated(), Threshold(0.5))
    rules = replace(RULES, checkpoints=(Checkpoint(1, margin),))
    sure, unsure = math.log(0.75), math.log(0.125)
    assert gate(1, rules).feed([Token(sure, (sure, unsure, math.nan))]) == Release(1)
    for candidates in ((), (sure,), (sure, math.nan)):
        verdict = gate(1, rules).feed([Token(sure, candidates)])
        assert isinstance(verdict, Defer)
        assert verdict.reason is Reason.NO_SIGNAL


def test_candidates_alone_are_no_evidence() -> None:
    calling = gate()
    calling.tool_call([Token(None, (-0.1, -3.0))])
    assert calling.end(Ending(VALID)) == Release(1)
    assert calling.verdict == Keep(None, reason=Reason.VALID_STRUCTURE)


def test_default_rules_let_a_sure_stream_out_and_give_a_hopeless_one_up() -> None:
    sure = Token(math.log(0.99), (math.log(0.99), math.log(0.01)))
    torn = Token(math.log(0.3), (math.log(0.35), math.log(0.3)))
    assert gate(16, uncalibrated_streamed()).feed([sure] * 16) == Release(16)
    assert isinstance(gate(16, uncalibrated_streamed()).feed([torn] * 8), Defer)
    assert gate(16, uncalibrated_streamed()).feed([torn] * 7) == Hold()


# --- misuse ---


def deferred() -> Gate:
    hopeless = gate()
    hopeless.feed([BAD] * 2)
    return hopeless


def expired() -> Gate:
    late = gate()
    late.expire()
    return late


def deferred_at_its_end() -> Gate:
    silent = gate()
    silent.end(Ending(NOT_ASKED))
    return silent


def ended() -> Gate:
    served = flowing()
    served.end(Ending(NOT_ASKED))
    return served


@pytest.mark.parametrize(
    ("closed", "how"),
    [
        (deferred, "deferred"),
        (expired, "deferred"),
        (deferred_at_its_end, "deferred"),
        (ended, "ended"),
    ],
)
def test_closed_gate_takes_nothing_more(closed: Callable[[], Gate], how: str) -> None:
    shut = closed()
    with pytest.raises(RuntimeError, match=f"has been {how}"):
        shut.feed([])
    with pytest.raises(RuntimeError, match=f"has been {how}"):
        shut.tool_call([])
    with pytest.raises(RuntimeError, match=f"has been {how}"):
        shut.expire()
    with pytest.raises(RuntimeError, match=f"has been {how}"):
        shut.end(Ending(NOT_ASKED))
    with pytest.raises(RuntimeError, match="no doubt"):
        shut.carry_on()


def test_carrying_on_answers_one_doubt_once() -> None:
    doubted = flowing()
    with pytest.raises(RuntimeError, match="no doubt"):
        doubted.carry_on()
    doubted.feed([BAD] * 4)
    doubted.carry_on()
    with pytest.raises(RuntimeError, match="no doubt"):
        doubted.carry_on()
