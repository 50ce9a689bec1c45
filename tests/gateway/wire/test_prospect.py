import json
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from gateway.wire.chat import Chat, parse_chat
from gateway.wire.prospect import prospect_of
from routing.cascade import Prospect
from routing.policy import Policy, PromptRule, uncalibrated_default
from routing.prompt import PromptModel, Terms, prompt_of
from routing.vocabulary import Merit, Need

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "gold gold?"}]},
]
TERMS = Terms(1, (0,), (1.0,), (0.25,))  # one bucket for every word: each text is worth 0.25
PLAIN = uncalibrated_default()
PROMPTED = replace(
    PLAIN, prompt=PromptRule(PromptModel(TERMS, groups={"metals": 0.5}, intercept=0.125), 0.0)
)
BOUND = replace(PLAIN, sampling={"temperature": 0})


def chat(group: str | None = None, **changes: Any) -> Chat:
    body = {"model": "m", "messages": MESSAGES, **changes}
    return parse_chat(json.dumps(body).encode(), group)


@pytest.mark.parametrize("policy", [PLAIN, BOUND])
def test_prompt_is_not_read_where_no_policy_asks(policy: Policy) -> None:
    unreadable = structs.replace(chat("metals"), fields={})
    assert prospect_of(unreadable, policy, {}) == Prospect(group="metals")


def test_prompt_promises_what_it_promises_of_a_record() -> None:
    for group in (None, "metals"):
        promised = PROMPTED.promised(prompt_of(MESSAGES, group))
        assert prospect_of(chat(group), PROMPTED, {}) == Prospect(group=group, promised=promised)
    assert prospect_of(chat(), PROMPTED, {}).promised == Merit(0.375)


def test_sampling_is_what_the_client_asks_for_unless_the_operator_sets_it() -> None:
    asked = chat(temperature=0.7, top_p=0.9, seed=3, logit_bias={"7": -100})
    said = {"temperature": 0.7, "top_p": 0.9, "logit_bias": {"7": -100}}
    assert prospect_of(asked, BOUND, {}).sampling == said
    assert prospect_of(asked, BOUND, {"temperature": 0}).sampling == {**said, "temperature": 0}
    assert prospect_of(asked, PLAIN, {"temperature": 0}).sampling == {}


def test_needs_go_along() -> None:
    assert prospect_of(chat(tools=[{}]), PLAIN, {}) == Prospect(frozenset({Need.TOOLS}))
