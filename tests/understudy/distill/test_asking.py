import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from distill.spending import Purse, Spent
from gateway.cascades import load_cascades
from routing.comparators import NoScore, Question, similar_embedding
from tests.fakes.upstream import Reply, ScriptedModel
from tests.understudy.distill.teaching import Bench, saying
from understudy.distill.asking import (
    Account,
    Clock,
    Limits,
    Teacher,
    Unanswered,
    gathered,
)

ASK: Mapping[str, Any] = {
    "messages": [{"role": "user", "content": "Hi"}],
    "max_tokens": 10,
}


@dataclass
class Hands:
    """A clock that is moved by who sleeps, and a note of every sleep."""

    time: float = 100.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@asynccontextmanager
async def teacher(
    bench: Bench, limits: Limits, purse: Purse | None = None, hands: Hands | None = None
) -> AsyncIterator[Teacher]:
    (loaded,) = load_cascades(bench.config(), lambda _: None)
    found = hands or Hands()
    made = Teacher(loaded, limits, purse or Purse(), Clock(found.now, found.sleep))
    try:
        yield made
    finally:
        made.close()
        await asyncio.sleep(0)


def times(count: int, work: Callable[[], Awaitable[Any]]) -> list[Awaitable[Any]]:
    return [work() for _ in range(count)]


async def test_calls_are_made_at_their_pace(bench: Bench, scripted: ScriptedModel) -> None:
    scripted.reply = saying("Ho")
    hands = Hands()
    async with teacher(bench, Limits(concurrency=1, per_minute=120), hands=hands) as made:
        await gathered(times(4, lambda: made.ask(ASK, Account())))
    assert hands.slept == [0.0, 0.5, 1.0, 1.5]


async def test_no_more_calls_are_open_than_were_allowed(
    bench: Bench, scripted: ScriptedModel
) -> None:
    open_calls: list[int] = []
    async with teacher(bench, Limits(concurrency=2)) as made:

        def reply(_: Mapping[str, Any]) -> Reply:
            open_calls.append(made._model.chat.open_calls)  # type: ignore[attr-defined]
            return Reply(saying("Ho").body, delay_seconds=0.01)

        scripted.reply = reply
        await gathered(times(6, lambda: made.ask(ASK, Account())))
    assert len(open_calls) == 6
    assert max(open_calls) == 2


async def test_a_call_waits_for_money_that_is_put_aside(
    bench: Bench, scripted: ScriptedModel
) -> None:
    scripted.reply = saying("Ho")
    # One call may cost some 150 millionths of a dollar, and costs 84.
    purse = Purse(limit_pico=270 * 10**6)
    account = Account()
    async with teacher(bench, Limits(concurrency=4), purse) as made:
        await gathered(times(2, lambda: made.ask(ASK, account)))
        assert account.spent_pico == purse.spent_pico == 2 * 84 * 10**6
        with pytest.raises(Spent):
            await made.ask(ASK, account)
    assert (account.requests, account.is_exact) == (2, True)


async def test_who_is_ended_before_the_call_has_spent_nothing(
    bench: Bench, scripted: ScriptedModel
) -> None:
    has_come = asyncio.Event()

    class Patient(Hands):
        async def sleep(self, seconds: float) -> None:
            has_come.set()
            await asyncio.Event().wait()

    purse, account = Purse(limit_pico=10**12), Account()
    async with teacher(bench, Limits(), purse, Patient()) as made:
        task = asyncio.create_task(made.ask(ASK, account))
        await has_come.wait()
        held = purse.is_waiting
        task.cancel()
        await asyncio.wait([task])
    assert (held, purse.is_waiting, task.cancelled()) == (True, False, True)
    assert (purse.spent_pico, account.requests) == (0, 0)
    assert scripted.requests == []


async def test_an_answer_that_broke_off_counts_at_its_highest(
    bench: Bench, scripted: ScriptedModel
) -> None:
    scripted.reply = Reply(saying("Ho").body, is_broken_off=True)
    purse, account = Purse(limit_pico=10**12), Account()
    async with teacher(bench, Limits(), purse) as made:
        with pytest.raises(Unanswered, match="broke off"):
            await made.ask(ASK, account)
    assert account.spent_pico == purse.spent_pico > 84 * 10**6
    assert not account.is_exact


async def test_who_must_be_asked_elsewhere_gives_no_score(
    bench: Bench, scripted: ScriptedModel
) -> None:
    async with teacher(bench, Limits()) as made:
        compared = similar_embedding("e5", 0.9), Question("Why?"), ("left", "right")
        found = await made.compare(*compared, Account())
    assert isinstance(found, NoScore)
    assert scripted.requests == []
