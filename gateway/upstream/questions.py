"""Asks a model something again and again until there is an answer, off the request path."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from gateway.facts import Leg
from gateway.legs import Legs
from gateway.ports import Clock


class Found(Protocol):
    """What came of asking once."""

    @property
    def is_answer(self) -> bool:
        """Whether nobody has to ask again."""


F = TypeVar("F", bound=Found)


@dataclass(frozen=True, slots=True)
class Question(Generic[F]):
    """``ask`` asks once and notes its calls; ``unknown`` is found where it is not let finish."""

    ask: Callable[[Legs], Awaitable[F]]
    unknown: F


@dataclass(frozen=True, slots=True)
class Attempt(Generic[F]):
    """One time of several, counted from 1, and the calls that it took."""

    number: int
    found: F
    legs: Sequence[Leg]


async def ask_until_answered(
    question: Question[F], clock: Clock, tell: Callable[[Attempt[F]], None], retry_seconds: float
) -> F:
    """Ask until there is an answer, which is returned.

    ``tell`` hears of every attempt, also of one that is cancelled.
    """
    number = 0
    while True:
        number += 1
        legs, found = Legs(clock), question.unknown
        try:
            found = await question.ask(legs)
        finally:
            tell(Attempt(number, found, legs.made))
        if found.is_answer:
            return found
        await asyncio.sleep(retry_seconds)
