"""Who steers a cascade, with a standing that a test sets, and remembers what audits tell it."""

from dataclasses import dataclass, field
from typing import Any

from routing.steering import Grade, Standing

KEEPING = Standing(revision=1, epoch=3, threshold=0.8, audit=0.5, complete=0.25)


@dataclass
class FakeSteering:
    """Has one standing in force, and money for audits while ``has_money``.

    The policy stays as it is, and what is told of traffic and costs goes nowhere, but whether
    anything may be learnt of each request that was answered.
    """

    standing: Standing = KEEPING
    has_money: bool = True
    is_promise: bool = True
    needs_turns: bool = False
    grades: list[Grade] = field(default_factory=list)
    spent_pico: int = 0
    mute: list[bool] = field(default_factory=list)

    def may_audit(self) -> bool:
        return self.has_money

    def audit_spent(self, pico: int) -> None:
        self.spent_pico += pico

    def grade(self, grade: Grade) -> None:
        self.grades.append(grade)

    def applied(self, served: Any, _: object) -> Any:
        return served

    def spending(self, _: object) -> None:
        """There is no cap."""

    def check(self) -> None: ...

    def answered(self, *_: object, is_mute: bool) -> None:
        self.mute.append(is_mute)

    def ended(self, **_: bool) -> None: ...

    def paid(self, *_: int) -> None: ...

    @property
    def costs(self) -> "FakeSteering":
        return self

    def expected(self, *_: object) -> None:
        """Nobody knows."""

    def learn(self, *_: object) -> None: ...
