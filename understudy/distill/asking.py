"""A cascade's teacher as jobs ask it: a few at a time, at a pace, within a budget."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from distill.rubric import SETTLED, Grade, Question, grade_of
from distill.spending import Pace, Purse, Spent, most_cost
from gateway.building import build_model
from gateway.cascades import LoadedCascade, load_cascades
from gateway.config_file import ConfigError
from gateway.errors import UpstreamError, UpstreamRefused
from gateway.legs import Legs, Model
from gateway.settings import read_secret
from gateway.upstream.pool import ServerPool
from gateway.wire.chat import parse_chat
from routing.comparators import Ask, Asked, Comparator, NoScore, Score
from routing.comparators import Question as Compared
from routing.money import PICO_PER_USD
from routing.vocabulary import Role
from understudy.telling import CommandError

MOST_CONCURRENT = 256
# A server that is down fails every question: there is no use in asking it thousands.
MOST_FAILURES_IN_A_ROW = 20


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be asked, and how fast.

    Parameters
    ----------
    concurrency
        So many calls at a time.
    per_minute
        At most so many calls in a minute.
    budget_usd
        At most so many dollars, by the prices of the configuration, in all runs together.
    max_requests
        At most so many calls, in all runs together.
    """

    concurrency: Annotated[int, Parameter(validator=Number(gte=1, lte=MOST_CONCURRENT))] = 4
    per_minute: Annotated[float | None, Parameter(validator=Number(gt=0))] = None
    budget_usd: Decimal | None = None
    max_requests: Annotated[int | None, Parameter(validator=Number(gte=1))] = None

    def purse(self) -> Purse:
        """What may be spent.  Raises CommandError for no amount of money."""
        budget = self.budget_usd
        if budget is None:
            return Purse(None, self.max_requests)
        if budget <= 0:
            raise CommandError(f"--budget-usd: must be an amount above 0, got {budget}")
        return Purse(int(budget * PICO_PER_USD), self.max_requests)


class Unanswered(Exception):
    """A question that was not answered now; the message is for people."""


class GivenUp(Exception):
    """Too many questions failed one after the other."""


def chosen_cascade(config: Path, name: str | None) -> LoadedCascade:
    """One cascade of the file.  Raises CommandError."""
    try:
        loaded = load_cascades(config, read_secret)
    except ConfigError as error:
        raise CommandError(str(error)) from None
    names = ", ".join(each.name for each in loaded)
    if name is None and len(loaded) > 1:
        raise CommandError(f"there are several cascades, {names}: choose one with --cascade")
    for each in loaded:
        if name in (None, each.name):
            return each
    raise CommandError(f"--cascade: there is no {name!r}, but {names}")


def check_limits(loaded: LoadedCascade, limits: Limits) -> None:
    """Refuse what nothing would bound.  Raises CommandError."""
    price = loaded.config.teacher.price
    is_known = price is not None and price.price() is not None
    if limits.max_requests is None and not is_known:
        raise CommandError(
            f"cascades.{loaded.name}.teacher.price: nobody knows what a call of this teacher "
            "costs, so no budget can hold: add its price per token, or the throughput of its GPUs "
            "as reference, or set --max-requests"
        )
    if limits.max_requests is None and limits.budget_usd is None:
        raise CommandError("say what it may cost: --budget-usd, --max-requests or both")
    if limits.budget_usd is not None and not is_known:
        raise CommandError(
            "--budget-usd: nobody knows what a call of this teacher costs: leave it out, and let "
            "--max-requests hold"
        )


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is, in seconds, and how to wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(slots=True)
class Account:
    """What one piece of work has cost so far."""

    spent_pico: int = 0
    requests: int = 0
    is_exact: bool = True


@dataclass(slots=True)
class Teacher:
    """Asks; ``close`` it in the loop that it was asked in."""

    loaded: LoadedCascade
    limits: Limits
    purse: Purse
    clock: Clock = field(default_factory=Clock)
    failures_in_a_row: int = 0
    _pace: Pace = field(init=False)
    _legs: Legs = field(init=False)
    _turns: asyncio.Semaphore = field(init=False)
    _settled: asyncio.Condition = field(init=False)
    _model: Model = field(init=False)

    def __post_init__(self) -> None:
        most = min(self.limits.concurrency, self.loaded.config.teacher.max_concurrent)
        self._pace = Pace(self.limits.per_minute)
        self._turns = asyncio.Semaphore(most)
        self._settled = asyncio.Condition()
        self._model = build_model(self.loaded, Role.TEACHER, lambda _: None)

    @property
    def version(self) -> str:
        """Which weights answer, as pairs have it."""
        teacher = self.loaded.config.teacher
        return teacher.version or teacher.model

    def close(self) -> None:
        """Close the connections."""
        if isinstance(self._model.chat, ServerPool):
            self._model.chat.close()

    async def ask(self, fields: Mapping[str, Any], account: Account) -> bytes:
        """The body of the reply; ``account`` is told what the call cost.

        Raises Spent where a limit is reached, Unanswered where the call failed, and GivenUp after
        MOST_FAILURES_IN_A_ROW of these.
        """
        body = msgspec.json.encode({**fields, "model": self.loaded.name})
        chat = parse_chat(body)
        most = most_cost(
            self._model.price, body, len(fields["messages"]), int(fields["max_tokens"])
        )
        async with self._turns:
            await self._hold(most)
            legs = Legs(self.clock.now)
            try:
                await self.clock.sleep(self._pace.wait(self.clock.now()))
                completion = await legs.ask(self._model, chat)
            except (UpstreamError, UpstreamRefused) as failure:
                raise self._failed(failure) from None
            finally:
                await self._book(legs, most, account)
            self.failures_in_a_row = 0
            return completion.body

    async def _book(self, legs: Legs, most: int | None, account: Account) -> None:
        """Take what a call cost; of one that failed before it cost anything that is 0."""
        if legs.made:
            cost = legs.made[-1].cost_pico
            account.spent_pico += self.purse.settle(most, cost)
            account.requests += 1
            account.is_exact &= cost is not None
        else:
            self.purse.release(most)
        async with self._settled:
            self._settled.notify_all()

    async def grade(self, question: Question, account: Account) -> Grade | NoScore:
        """Have two answers judged in both orders.  Raises as ``ask`` does."""
        if question.is_settled:
            return SETTLED
        return grade_of([await self.ask(each, account) for each in question.requests()])

    async def compare(
        self, comparator: Comparator, compared: Compared, texts: tuple[str, str], account: Account
    ) -> Score | NoScore:
        """How far two answers say the same.  Raises as ``ask`` does."""
        begun = comparator.begin(compared, *texts)
        if isinstance(begun, Ask):
            if any(request.asked is not Asked.TEACHER for request in begun.requests):
                return NoScore(f"{comparator.version} asks somebody else than the teacher")
            replies = [await self.ask(dict(each.fields), account) for each in begun.requests]
            return comparator.finish(replies)
        return begun

    async def _hold(self, most: int | None) -> None:
        async with self._settled:
            while True:
                try:
                    self.purse.hold(most)
                except Spent:
                    if not self.purse.is_waiting:
                        raise
                    await self._settled.wait()  # what is under way may cost less than put aside
                else:
                    return

    def _failed(self, failure: UpstreamError | UpstreamRefused) -> Exception:
        told = failure.message if isinstance(failure, UpstreamRefused) else failure.detail()
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= MOST_FAILURES_IN_A_ROW:
            return GivenUp(
                f"{self.failures_in_a_row} calls failed one after the other, the last: {told}"
            )
        return Unanswered(told)


async def gathered(tasks: Sequence[Awaitable[Any]]) -> None:
    """All of these at once; where one raises, the others are ended and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in tasks:
                group.create_task(_run(each))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _run(work: Awaitable[Any]) -> None:
    await work
