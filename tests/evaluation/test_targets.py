import numpy as np
import pytest

from evaluation.errors import TargetError
from evaluation.targets import Kind, Plan, Start, Target, target_of


def test_the_commands_words_are_read() -> None:
    assert target_of("quality=0.99") == Target(Kind.QUALITY, 0.99, 0.95)
    assert target_of("escalation_rate=0.2", 0.9) == Target(Kind.ESCALATION_RATE, 0.2, 0.9)
    assert target_of("disagreement=5e-2").value == 0.05
    assert str(target_of("quality=0.99")) == "quality=0.99 with probability 0.95"


@pytest.mark.parametrize(
    "text",
    ["", "quality", "quality=", "quality=much", "speed=1", "disagreement=0", "disagreement=1",
     "quality=0", "quality=1.01", "escalation_rate=1", "escalation_rate=nan"],
)  # fmt: skip
def test_target_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(TargetError):
        target_of(text)


def test_quality_may_be_all_of_the_teachers() -> None:
    assert target_of("quality=1").allowed == 0.0


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.5, float("nan")])
def test_probability_of_the_promise_lies_between(probability: float) -> None:
    with pytest.raises(TargetError, match="probability"):
        Target(Kind.QUALITY, 0.9, probability)


def test_what_is_left_of_certainty_is_delta() -> None:
    assert Target(Kind.QUALITY, 0.9, 0.95).delta == pytest.approx(0.05)
    assert Target(Kind.QUALITY, 0.9).allowed == pytest.approx(0.1)
    assert Target(Kind.DISAGREEMENT, 0.1).allowed == 0.1


@pytest.mark.parametrize(
    ("thresholds", "starts", "bound"),
    [
        ([], (Start(0, 1.0),), 1.0),
        ([0.5, np.inf], (Start(0, 1.0),), 1.0),
        ([0.5, 0.5], (Start(0, 1.0),), 1.0),
        ([0.2, 0.5], (Start(0, 1.0),), 1.0),
        ([0.5], (), 1.0),
        ([0.5], (Start(1, 1.0),), 1.0),
        ([0.5], (Start(-1, 1.0),), 1.0),
        ([0.5, 0.2], (Start(0, 0.6), Start(1, 0.5)), 1.0),
        ([0.5], (Start(0, 0.0),), 1.0),
        ([0.5], (Start(0, 1.0),), 0.0),
    ],
)
def test_plan_that_breaks_the_theorem_is_refused(
    thresholds: list[float], starts: tuple[Start, ...], bound: float
) -> None:
    with pytest.raises(TargetError, match="plan"):
        Plan(np.array(thresholds), starts, weight_bound=bound)
