import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.calibration import Logistic, PiecewiseLinear, Uncalibrated
from routing.errors import PolicyError
from routing.model import Linear, Score
from routing.policy import (
    DEFAULT_ABORT_BELOW,
    DEFAULT_CHECKPOINTS,
    DEFAULT_THRESHOLD,
    UNCALIBRATED_VERSION,
    Checkpoint,
    Opinion,
    Policy,
    PromptRule,
    Rule,
    StreamedRules,
    uncalibrated_default,
    uncalibrated_streamed,
)
from routing.prompt import Prompt, PromptModel, Terms
from routing.vocabulary import Confidence, Merit, Threshold

FOUR = ("mean_probability", "min_probability", "low_probability", "min_margin")
BOTH = Rule(
    Score(("min_margin", "mean_probability"), (2.0, 0.5), intercept=-0.25),
    Logistic(3.0, -1.5),
    Threshold(0.75),
)

# --- the rule ---


def test_score_is_the_weighted_sum_of_its_signals() -> None:
    score = Score(("min_margin", "mean_probability"), (2.0, -0.5), intercept=0.25)
    assert score.of({"mean_probability": 0.5, "min_margin": 0.25, "low_probability": 9.0}) == 0.5


def test_score_has_a_weight_for_each_signal() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Score(("min_margin", "mean_probability"), (1.0,))


@pytest.mark.parametrize("present", [{}, {"min_margin": 0.3}, {"mean_probability": 0.0}])
def test_score_is_unknown_where_a_signal_is_absent(present: dict[str, float]) -> None:
    assert Score(("min_margin", "mean_probability"), (1.0, 0.0)).of(present) is None


def test_signal_of_exactly_zero_is_a_signal() -> None:
    assert Score(("min_margin",), (1.0,), intercept=0.5).of({"min_margin": 0.0}) == 0.5


def test_confidence_is_the_calibrated_score() -> None:
    policy = Policy("test", replace(BOTH, calibration=PiecewiseLinear((0.0, 0.5), (0.25, 1.0))))
    assert policy.confidence({"min_margin": 0.125, "mean_probability": 0.5}) == Confidence(0.625)
    assert policy.confidence({"min_margin": 0.125}) is None


def test_another_threshold_leaves_the_rest_of_the_rule_as_it_was() -> None:
    policy = Policy("test", BOTH)
    moved = policy.with_threshold(Threshold(0.25))
    assert moved.threshold == Threshold(0.25)
    assert replace(moved, whole=policy.whole, streamed=policy.streamed) == policy
    assert policy.threshold == Threshold(0.75)


# --- the rules for streams ---

SURE = Rule(Score(("min_probability",), (1.0,)), Uncalibrated(), Threshold(0.75))
HOPEFUL = replace(SURE, abort_below=Threshold(0.5))
STREAMED = StreamedRules((Checkpoint(4, HOPEFUL), Checkpoint(9, SURE)), HOPEFUL, arguments=SURE)


def all_rules(streamed: StreamedRules) -> list[Rule]:
    return [*(each.rule for each in streamed.checkpoints), streamed.end, streamed.arguments]


def test_rule_may_abort_up_to_its_threshold_and_not_above_it() -> None:
    assert replace(SURE, abort_below=SURE.threshold).abort_below == SURE.threshold
    with pytest.raises(PolicyError, match=r"^abort_below: "):
        replace(SURE, abort_below=Threshold(math.nextafter(0.75, 1.0)))


def test_rule_that_says_nothing_of_it_never_aborts() -> None:
    assert SURE.abort_below.admits(Confidence(0.0))


@pytest.mark.parametrize("tokens", [(), (0,), (-1, 4), (4, 4), (4, 9, 8)])
def test_checkpoints_that_do_not_strictly_increase_are_refused(tokens: tuple[int, ...]) -> None:
    with pytest.raises(PolicyError, match=r"^streamed\.checkpoints: "):
        replace(STREAMED, checkpoints=tuple(Checkpoint(each, SURE) for each in tokens))


def test_another_threshold_holds_for_every_rule_of_a_stream_and_the_whole() -> None:
    moved = Policy("test", SURE, streamed=STREAMED)
    moved = moved.with_threshold(Threshold(0.875))
    assert [each.threshold.value for each in all_rules(moved.streamed)] == [0.875] * 4
    assert [each.abort_below.value for each in all_rules(moved.streamed)] == [0.5, 0.0, 0.5, 0.0]
    assert [each.tokens for each in moved.streamed.checkpoints] == [4, 9]
    assert moved.whole.threshold == moved.threshold == Threshold(0.875)


def test_lower_threshold_takes_the_bound_of_aborting_down_with_it() -> None:
    moved = STREAMED.with_threshold(Threshold(0.25))
    assert [each.threshold.value for each in all_rules(moved)] == [0.25] * 4
    assert [each.abort_below.value for each in all_rules(moved)] == [0.25, 0.0, 0.25, 0.0]


def test_draft_that_is_served_whole_is_aborted_by_prefix_and_kept_by_the_whole_rule() -> None:
    policy = Policy("test", replace(SURE, threshold=Threshold(0.25)), streamed=STREAMED)
    assert policy.whole == replace(SURE, threshold=Threshold(0.25))
    assert policy.early_abort == replace(STREAMED, end=policy.whole)


# --- the rule without a policy ---


def test_default_rule_is_the_plain_average_of_four_signals() -> None:
    rule = uncalibrated_default().whole
    assert rule.score == Score(FOUR, (0.25, 0.25, 0.25, 0.25), intercept=0.0)
    assert rule.calibration == Uncalibrated()


def test_default_rule_says_that_it_is_not_calibrated() -> None:
    policy = uncalibrated_default()
    assert not policy.is_calibrated
    assert policy.version == UNCALIBRATED_VERSION == "uncalibrated"
    assert policy.threshold == DEFAULT_THRESHOLD == Threshold(0.8)


def test_default_rules_for_streams_are_the_default_rule_at_each_checkpoint() -> None:
    streamed = uncalibrated_default().streamed
    assert streamed == uncalibrated_streamed()
    assert not streamed.is_calibrated
    assert tuple(each.tokens for each in streamed.checkpoints) == DEFAULT_CHECKPOINTS
    assert DEFAULT_CHECKPOINTS == (8, 16, 32, 64)
    *prefixes, end, arguments = all_rules(streamed)
    assert end == replace(uncalibrated_default().whole, abort_below=DEFAULT_ABORT_BELOW)
    assert prefixes == [end] * 4
    assert DEFAULT_ABORT_BELOW.value == 0.4
    assert arguments == Rule(
        Score(("min_probability",), (1.0,)), Uncalibrated(), DEFAULT_THRESHOLD, Threshold(0.0)
    )


@given(st.fixed_dictionaries({name: st.floats(0.0, 1.0) for name in FOUR}))
def test_default_confidence_lies_between_the_weakest_and_the_strongest_signal(
    signals: dict[str, float],
) -> None:
    confidence = uncalibrated_default().confidence(signals)
    assert confidence is not None
    # Four roundings of numbers of at most 1.
    assert min(signals.values()) - 1e-15 <= confidence.value <= max(signals.values()) + 1e-15


@pytest.mark.parametrize("absent", FOUR)
def test_default_rule_says_nothing_where_any_signal_is_absent(absent: str) -> None:
    signals = dict.fromkeys(set(FOUR) - {absent}, 1.0)
    assert uncalibrated_default().confidence(signals) is None


# --- learnt rules ---

LEARNT = Rule(
    Linear(
        ("min_margin", "finished", "label=yes", "group=math"), (1.0, 0.5, 0.25, 0.125), (0.0,) * 4
    ),
    Uncalibrated(),
    Threshold(0.5),
)
GAIN = Linear(("mean_probability",), (-2.0,), (0.0,), intercept=1.0)


def test_learnt_rule_says_nothing_without_a_signal_that_tells_how_sure_the_student_was() -> None:
    assert LEARNT.confidence({"finished": 1.0, "length": 0.5}) is None
    assert LEARNT.opinion({"finished": 1.0}) is None
    assert LEARNT.merit({"finished": 1.0}) is None
    assert LEARNT.confidence({"min_margin": 0.25}) == Confidence(0.25)


@pytest.mark.parametrize("names", [("finished",), ("label=a", "group=b"), ("length", "uncut")])
def test_rule_that_rests_on_no_evidence_is_refused(names: tuple[str, ...]) -> None:
    ones = (1.0,) * len(names)
    with pytest.raises(PolicyError, match="how sure the student was"):
        Rule(Linear(names, ones, ones), Uncalibrated(), Threshold(0.5))


def test_label_and_group_are_features_where_the_rule_reads_them() -> None:
    signals = {"min_margin": 0.5}
    assert LEARNT.labels == ("yes",)
    assert LEARNT.features(signals) == signals
    assert LEARNT.features(signals, "Yes.", "math") == signals | {
        "label=yes": 1.0,
        "group=math": 1.0,
    }
    assert LEARNT.features(signals, "No", "history") == signals | {
        "label=yes": 0.0,
        "group=math": 0.0,
    }
    assert BOTH.features(signals, "Yes.", "math") is signals


def test_group_has_a_calibration_of_its_own_and_any_other_the_pooled_one() -> None:
    rule = replace(BOTH, by_group={"math": Logistic(0.0, 0.0)})
    signals = {"min_margin": 1.0, "mean_probability": 1.0}
    pooled = BOTH.confidence(signals)
    assert rule.confidence(signals, "math") == Confidence(0.5)
    assert rule.confidence(signals) == rule.confidence(signals, "history") == pooled
    assert Policy("test", rule).confidence(signals, "math") == Confidence(0.5)


@pytest.mark.parametrize(
    ("mean_probability", "merit"), [(0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (1.0, 1.0)]
)
def test_merit_is_high_where_the_teacher_would_gain_little(
    mean_probability: float, merit: float
) -> None:
    rule = replace(BOTH, gain=GAIN)
    signals = {"min_margin": 0.5, "mean_probability": mean_probability}
    confidence = BOTH.confidence(signals)
    assert confidence is not None
    assert rule.opinion(signals) == Opinion(confidence, Merit(merit))
    assert rule.merit(signals) == Merit(merit)
    assert BOTH.opinion(signals) == Opinion(confidence, Merit(confidence.value))


@pytest.mark.parametrize(("intercept", "merit"), [(7.0, 0.0), (-7.0, 1.0)])
def test_gain_beyond_what_there_is_to_gain_is_cut(intercept: float, merit: float) -> None:
    rule = replace(BOTH, gain=replace(GAIN, intercept=intercept))
    assert rule.merit({"min_margin": 0.5, "mean_probability": 0.5}) == Merit(merit)


def test_threshold_that_somebody_chose_is_one_for_the_confidence() -> None:
    rule = replace(BOTH, gain=GAIN)
    policy = Policy("test", rule, prompt=PromptRule(PromptModel(Terms(8)), 0.0))
    moved = policy.with_threshold(Threshold(0.25))
    assert moved.whole == replace(BOTH, threshold=Threshold(0.25))
    assert moved.prompt is None


# --- the prompt, and the way drafts are sampled ---


def test_bar_is_the_estimate_with_its_margin_and_both_are_cut() -> None:
    rule = PromptRule(PromptModel(Terms(8), intercept=0.5), 0.25)
    assert rule.estimate(Prompt("x")) == Merit(0.5)
    assert rule.bar(Prompt("x")) == Merit(0.75)
    policy = Policy("test", BOTH, prompt=rule)
    assert policy.promised(Prompt("x")) == Merit(0.5)
    assert policy.bar(policy.promised(Prompt("x"))) == Merit(0.75)
    assert policy.bar(None) is None
    assert Policy("test", BOTH).promised(Prompt("x")) is None
    assert Policy("test", BOTH).bar(Merit(0.5)) is None
    assert replace(rule, margin=9.0).bar(Prompt("x")) == Merit(1.0)
    assert replace(rule, margin=-9.0).bar(Prompt("x")) == Merit(0.0)
    assert replace(rule, model=PromptModel(Terms(8), intercept=-3.0)).estimate(Prompt()) == Merit(
        0.0
    )


@pytest.mark.parametrize("margin", [math.nan, math.inf, -math.inf])
def test_margin_that_is_no_number_is_refused(margin: float) -> None:
    with pytest.raises(PolicyError, match=r"^margin: "):
        PromptRule(PromptModel(Terms(8)), margin)


def test_policy_covers_drafts_that_are_sampled_like_those_it_was_fitted_on() -> None:
    policy = Policy("test", BOTH, sampling={"temperature": 0.5, "top_p": 0.9})
    assert policy.covers({"top_p": 0.9, "temperature": 0.5, "presence_penalty": 0}, 1)
    assert not policy.covers({"top_p": 0.9}, 1)
    assert not policy.covers({"top_p": 0.9, "temperature": 0.5, "top_k": 3}, 1)
    assert not policy.covers({}, 1)
    assert Policy("test", BOTH).covers({"temperature": 2.0}, 1)
    assert Policy("test", BOTH, sampling={}).covers({}, 1)


def test_policy_covers_drafts_that_are_chosen_from_as_many() -> None:
    of_three = Policy("test", BOTH, samples=3)
    assert of_three.covers({}, 3)
    assert not of_three.covers({}, 1)
    assert not of_three.covers({}, 2)
    assert not Policy("test", BOTH).covers({}, 3)
    assert of_three.with_threshold(Threshold(0.9)).samples == 3
    # Nobody checked what the default means for one draft, or for the best of three.
    assert uncalibrated_default().covers({}, 3)


def test_policy_of_several_drafts_wants_to_know_how_far_they_agree() -> None:
    assert Policy("test", BOTH, samples=3).is_evidence({"agreement": 1 / 3})
    assert not Policy("test", BOTH, samples=3).is_evidence({"min_margin": 1.0})
    assert Policy("test", BOTH).is_evidence({})


def test_policy_that_reads_an_agreement_says_of_how_many_drafts() -> None:
    agreeing = Rule(Score(("agreement",), (1.0,)), Logistic(1.0, 0.0), Threshold(0.5))
    assert Policy("test", agreeing, samples=2).samples == 2
    with pytest.raises(PolicyError, match=r"^samples: .* say of how many"):
        Policy("test", agreeing)
    with pytest.raises(PolicyError, match=r"^samples: .* say of how many"):
        Policy("test", replace(BOTH, gain=Linear(("agreement",), (1.0,), (0.5,))))
    with pytest.raises(PolicyError, match=r"^samples: several drafts are one"):
        Policy("test", agreeing, samples=2, sampling={"temperature": 0})
