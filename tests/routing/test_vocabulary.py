import math
from dataclasses import FrozenInstanceError
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.vocabulary import (
    Confidence,
    Degraded,
    Draft,
    Handover,
    Kind,
    Limit,
    Merit,
    Named,
    Need,
    NotAsked,
    Obstacle,
    Reason,
    Role,
    Structure,
    Threshold,
    WhenDenied,
    WhenStoreDown,
)

PROBABILITIES = st.floats(min_value=0.0, max_value=1.0)
JUST_BELOW_0 = math.nextafter(0.0, -1.0)
JUST_ABOVE_1 = math.nextafter(1.0, 2.0)
NO_PROBABILITIES = [JUST_BELOW_0, JUST_ABOVE_1, -1.0, 100.0, math.inf, -math.inf, math.nan]


# Headers, metric labels, pairs and logs hold these texts: changing one breaks dashboards.
@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (Role, ["student", "teacher"]),
        (Named, ["model"]),
        (
            Reason,
            [
                "confident",
                "valid_structure",
                "late_doubt",
                "low_confidence",
                "no_signal",
                "invalid_structure",
                "student_failed",
                "student_cannot",
                "prompt_says_so",
                "sticky",
                "holdout",
                "pinned",
            ],
        ),
        (
            Degraded,
            ["teacher_failed", "teacher_busy", "not_allowed", "budget_spent", "journal_full"],
        ),
        (Kind, ["served", "wasted", "retry", "shadow", "audit"]),
        (Need, ["vision", "tools"]),
        (WhenDenied, ["serve", "refuse"]),
        (Handover, ["never", "continue", "restart"]),
        (
            Obstacle,
            [
                "json",
                "grammar",
                "tool_call",
                "reasoning",
                "not_text",
                "continuation",
                "nothing_out",
                "at_end",
                "client_cannot",
                "teacher_cannot",
                "teacher_failed",
                "teacher_busy",
                "not_allowed",
                "budget_spent",
                "journal_full",
            ],
        ),
        (NotAsked, ["left_alone", "no_room", "not_allowed", "budget_spent", "journal_full"]),
        (Limit, ["requests", "tokens", "spend"]),
        (WhenStoreDown, ["degrade", "allow"]),
        (Structure, ["not_asked", "valid", "invalid"]),
    ],
)
def test_closed_lists_hold_exactly_these_texts(words: type[StrEnum], texts: list[str]) -> None:
    assert [str(word) for word in words] == texts


@pytest.mark.parametrize("value", [0.0, 5e-324, 0.5, math.nextafter(1.0, 0.0), 1.0])
def test_confidence_and_threshold_hold_a_probability(value: float) -> None:
    assert Confidence(value).value == value
    assert Threshold(value).value == value


@pytest.mark.parametrize("value", NO_PROBABILITIES)
def test_confidence_and_merit_refuse_nan_and_whatever_lies_outside(value: float) -> None:
    with pytest.raises(ValueError, match=r"^confidence must lie in \[0, 1\], got "):
        Confidence(value)
    with pytest.raises(ValueError, match=r"^merit must lie in \[0, 1\], got "):
        Merit(value)


def test_threshold_that_is_infinite_keeps_nothing() -> None:
    nothing = Threshold(math.inf)
    assert nothing.keeps_nothing
    assert not nothing.admits(Merit(1.0))
    assert not Threshold(1.0).keeps_nothing


@pytest.mark.parametrize("value", [each for each in NO_PROBABILITIES if each != math.inf])
def test_threshold_refuses_nan_and_whatever_lies_outside(value: float) -> None:
    with pytest.raises(ValueError, match=r"^threshold must lie in \[0, 1\], got "):
        Threshold(value)


@pytest.mark.parametrize(
    ("threshold", "confidence", "is_admitted"),
    [
        (0.8, 0.8, True),
        (0.8, math.nextafter(0.8, 1.0), True),
        (0.8, math.nextafter(0.8, 0.0), False),
        (0.0, 0.0, True),
        (1.0, 1.0, True),
        (1.0, math.nextafter(1.0, 0.0), False),
    ],
)
def test_threshold_admits_its_own_value_and_above(
    threshold: float, confidence: float, is_admitted: bool
) -> None:
    assert Threshold(threshold).admits(Confidence(confidence)) is is_admitted


@given(low=PROBABILITIES, high=PROBABILITIES, confidence=PROBABILITIES)
def test_raising_the_threshold_never_admits_more(
    low: float, high: float, confidence: float
) -> None:
    low, high = sorted((low, high))
    if Threshold(high).admits(Confidence(confidence)):
        assert Threshold(low).admits(Confidence(confidence))


@given(left=PROBABILITIES, right=PROBABILITIES)
def test_confidences_are_ordered_by_value(left: float, right: float) -> None:
    assert (Confidence(left) < Confidence(right)) is (left < right)


def test_confidence_cannot_be_changed_once_it_was_checked() -> None:
    confidence = Confidence(0.5)
    with pytest.raises(FrozenInstanceError):
        confidence.value = 2.0  # type: ignore[misc]  # the very mistake under test


def test_draft_holds_no_evidence_unless_told() -> None:
    nothing = Draft(token_logprobs=(), best_logprobs=(), second_logprobs=())
    assert Draft() == nothing._replace(structure=Structure.NOT_ASKED)
