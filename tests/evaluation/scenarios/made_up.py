"""Small scenarios for tests."""

from typing import Any

from evaluation.scenarios.engine import play
from evaluation.scenarios.population import population_of
from evaluation.scenarios.scenario import (
    Cascade,
    Fixed,
    Kind,
    Objective,
    Scenario,
    Shape,
    Teacher,
    Tokens,
    Traffic,
)
from evaluation.scenarios.timeline import Timeline

STUDENT_PRICE, TEACHER_PRICE = (20_000, 60_000), (600_000, 2_400_000)
USUAL = Kind(1.0, 0.3, 0.85)
WIDE = Teacher(concurrent=10_000)


def scenario(objective: Objective | None = None, **changes: Any) -> Scenario:
    """Ten minutes of five requests a second, to a threshold that nothing moves unless said."""
    wanted: dict[str, Any] = {
        "audit_share": 0.02,
        "teacher": WIDE,
        "seconds": 600,
        "per_second": 5.0,
    } | changes
    cascade = Cascade(
        objective=Fixed(0.9) if objective is None else objective,
        student_price=STUDENT_PRICE,
        teacher_price=TEACHER_PRICE,
        audit_share=wanted.pop("audit_share"),
        teacher=wanted.pop("teacher"),
    )
    traffic = Traffic(
        shape=wanted.pop("shape", Shape.STEADY),
        per_second=wanted.pop("per_second"),
        seconds=wanted.pop("seconds"),
        replicas=wanted.pop("replicas", 1),
    )
    kinds = wanted.pop("kinds", {"usual": USUAL})
    tokens = Tokens(600.0, 200.0, wanted.pop("spread", 0.0))
    return Scenario("made", cascade, kinds, tokens, traffic, **wanted)


def played(of: Scenario, seed: int = 0) -> Timeline:
    """One run of it."""
    return play(of, population_of(of), seed)
