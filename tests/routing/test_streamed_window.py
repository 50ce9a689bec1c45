"""The window that a policy's rules for streams were certified for."""

from dataclasses import replace

import pytest

from routing.cascade import AskStudent, Prospect, plan
from routing.errors import PolicyError
from routing.policy import Policy, PromptRule, uncalibrated_default, uncalibrated_streamed
from routing.prompt import PromptModel, Terms
from routing.vocabulary import Merit, Need, NoDraft, Threshold

PROMISED = Prospect(promised=Merit(0.5))


def policy(streamed_from: float) -> Policy:
    rules = uncalibrated_streamed().with_threshold(Threshold(streamed_from))
    model = PromptModel(Terms(64, (), (), ()), None, {}, intercept=0.5)
    return replace(
        uncalibrated_default(),
        streamed=replace(rules, is_calibrated=True, hold_tokens=16),
        prompt=PromptRule(model, 0.1),
    )


def test_window_must_be_a_checkpoint() -> None:
    with pytest.raises(PolicyError, match=r"streamed\.hold_tokens"):
        replace(uncalibrated_streamed(), hold_tokens=17)


def test_threshold_that_somebody_chose_was_chosen_for_no_window() -> None:
    assert policy(0.3).streamed.hold_tokens == 16
    assert policy(0.3).streamed.with_threshold(Threshold(0.4)).hold_tokens is None


def test_prompt_is_held_against_the_decision_that_it_spares() -> None:
    """Its bar is 0.6; whole drafts are kept from 0.8 on."""
    none: frozenset[Need] = frozenset()
    assert isinstance(plan(PROMISED, none, policy(0.6)), NoDraft)
    for at_least, asked in ((0.6, AskStudent), (0.61, NoDraft)):
        found = plan(PROMISED, none, policy(at_least), is_live=True)
        assert isinstance(found, asked)


def test_default_rules_for_streams_leave_the_prompt_to_the_whole_drafts_threshold() -> None:
    found = replace(policy(0.3), streamed=uncalibrated_streamed())
    assert found.least_bar(is_live=True) == found.threshold
