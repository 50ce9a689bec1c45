"""All that the doctor found, as one thing: how grave it is, and its stable form as JSON.

No part of it holds a secret, whatever a server has said.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from gateway.legs import Legs
from routing.money import total_of, usd
from understudy.doctor.findings import Finding, State

SCHEMA_VERSION = 1
INVALID = "invalid"
CONFIG_EXIT_CODE = 2
# Shorter ones would be found in words that are none.
_LEAST_SECRET = 4


class FailOn(StrEnum):
    """From which state on a command has failed."""

    HINT = "hint"
    AWAY = "away"
    PROBLEM = "problem"
    NEVER = "never"


_GRAVE = (State.HINT, State.AWAY, State.PROBLEM)
EXIT_CODES = {State.PROBLEM: 1, State.AWAY: 3, State.HINT: 4}


class Whose(StrEnum):
    """What a part of the report is about."""

    GATEWAY = "gateway"
    STORE = "store"
    CASCADE = "cascade"
    STUDENT = "student"
    TEACHER = "teacher"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Part:
    """What was found of one thing; ``name`` and ``place`` are those of a model."""

    whose: Whose
    findings: Sequence[Finding]
    cascade: str | None = None
    name: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Bill:
    """What the questions took; ``cost_usd`` is None where that is unknown."""

    questions: int
    tokens: int
    cost_usd: str | None

    @classmethod
    def of(cls, legs: Legs) -> "Bill":
        """That of all calls."""
        tokens = sum(leg.usage.input + leg.usage.output for leg in legs.made if leg.usage)
        cost = total_of([leg.cost_pico for leg in legs.made])
        return cls(len(legs.made), tokens, None if cost is None else str(usd(cost)))

    def words(self) -> str:
        """For an operator."""
        price = "at an unknown cost" if self.cost_usd is None else f"for {self.cost_usd} USD"
        return f"{self.questions} questions took {self.tokens} tokens, {price}."


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found."""

    parts: Sequence[Part]
    bill: Bill

    @property
    def findings(self) -> list[Finding]:
        """Those of all parts."""
        return [finding for part in self.parts for finding in part.findings]

    @property
    def counts(self) -> Counter[State]:
        """How many there are of each state."""
        return Counter(finding.state for finding in self.findings)

    @property
    def worst(self) -> State:
        """The gravest state there is."""
        return next((state for state in reversed(_GRAVE) if self.counts[state]), State.OK)

    def exit_code(self, fail_on: FailOn) -> int:
        """That of the gravest state, where it is as grave as ``fail_on`` at least."""
        if fail_on is FailOn.NEVER or self.worst not in _GRAVE:
            return 0
        is_failure = _GRAVE.index(self.worst) >= _GRAVE.index(State(fail_on.value))
        return EXIT_CODES[self.worst] if is_failure else 0

    def without(self, secrets: Iterable[str]) -> "Report":
        """The same with stars in place of secrets: servers may quote what they were sent."""
        hidden = sorted({one for one in secrets if len(one) >= _LEAST_SECRET}, key=len)[::-1]
        parts = [
            replace(
                part,
                findings=[
                    replace(each, saw=_hide(each.saw, hidden), advice=_hide(each.advice, hidden))
                    for each in part.findings
                ],
            )
            for part in self.parts
        ]
        return replace(self, parts=parts)

    def document(self, exit_code: int) -> dict[str, Any]:
        """As JSON; docs/doctor.md describes each member."""
        return {
            "schema_version": SCHEMA_VERSION,
            "status": self.worst.value,
            "exit_code": exit_code,
            "counts": {state.value: self.counts[state] for state in State},
            "error": None,
            "findings": [
                {
                    "cascade": part.cascade,
                    "part": part.whose.value,
                    "model": part.name or None,
                    "server": part.place or None,
                    "subject": finding.subject.value,
                    "state": finding.state.value,
                    "saw": finding.saw,
                    "advice": finding.advice,
                }
                for part in self.parts
                for finding in part.findings
            ],
            "bill": {
                "questions": self.bill.questions,
                "tokens": self.bill.tokens,
                "cost_usd": self.bill.cost_usd,
            },
        }


def invalid_document(error: str) -> dict[str, Any]:
    """The same where the configuration cannot be read, so that nothing was looked at."""
    return {
        "schema_version": SCHEMA_VERSION,
        "status": INVALID,
        "exit_code": CONFIG_EXIT_CODE,
        "counts": {state.value: 0 for state in State},
        "error": error,
        "findings": [],
        "bill": {"questions": 0, "tokens": 0, "cost_usd": "0"},
    }


def _hide(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
