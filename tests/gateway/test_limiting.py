"""Requests are let in by what is in hand here; what is drawn, and what becomes of it, in order."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from gateway.allotment import FIRST_OUTPUT_TOKENS, Demand
from gateway.drawing import Drawing, OwnBooks
from gateway.errors import BudgetSpent, LimitReached
from gateway.keys import NO_LIMITS, KeyLimits, Tenant
from gateway.limiting import UNKNOWN_RETRY_SECONDS, WAIT_SECONDS, Limiter, Permit
from routing.money import Price
from routing.vocabulary import Limit, WhenStoreDown
from tests.fakes.limit_books import AWAY, RememberedLimits, ScriptedBooks

SMALL = Demand(input_tokens=10)
PRICE = Price(input=1000, cached_input=1000, output=2000, reasoning=2000)


def ann(**limits: int) -> Tenant:
    return Tenant("ann", key="ann-1", limits=KeyLimits(**limits))


@dataclass
class Replica:
    """One limiter whose time is the test's; ``books`` may be shared."""

    books: ScriptedBooks
    when_down: WhenStoreDown = WhenStoreDown.DEGRADE
    now: float = 0.0
    events: RememberedLimits = field(default_factory=RememberedLimits)
    bugs: int = 0

    def __post_init__(self) -> None:
        self.drawing = Drawing(self.books, self.clock, self.events, self.bug)
        self.limiter = Limiter(self.drawing, self.clock, self.events, self.when_down)

    def clock(self) -> float:
        return self.now

    def bug(self) -> None:
        self.bugs += 1

    async def admit(self, tenant: Tenant, demand: Demand = SMALL) -> Permit:
        allotment = self.limiter.allotment(tenant)
        assert allotment is not None
        return await self.limiter.admit(allotment, demand)

    async def look(self, seconds: float = 1.0) -> None:
        """Let time pass, and have the background see what it finds."""
        self.now += seconds
        self.drawing._poked.set()
        for _ in range(10):
            await asyncio.sleep(0)


@asynccontextmanager
async def running(*replicas: Replica) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for replica in replicas:
            await stack.enter_async_context(replica.drawing.running())
        yield
    assert not any(replica.bugs for replica in replicas)


async def eventually(is_true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if is_true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited in vain")


async def granted(replica: Replica, tenant: Tenant, most: int = 10_000) -> int:
    """How many requests are let in until one is not."""
    for number in range(most):
        try:
            await replica.admit(tenant)
        except LimitReached:
            return number
    return most


# --- requests and tokens ---


async def test_a_key_without_limits_has_nothing_to_be_counted() -> None:
    replica = Replica(ScriptedBooks())
    assert replica.limiter.allotment(None) is None
    unlimited = Tenant("ann", key="ann-1", limits=replace(NO_LIMITS, max_open_requests=3))
    assert replica.limiter.allotment(unlimited) is None
    assert replica.limiter.allotment(unlimited) is None


async def test_as_many_requests_are_let_in_as_the_limit_says() -> None:
    replica, tenant = Replica(ScriptedBooks()), ann(requests_per_minute=1000)
    replica.books.own = OwnBooks(replica.clock)
    async with running(replica):
        assert await granted(replica, tenant) == 1000
        assert replica.events.limited_by == [Limit.REQUESTS]
        replica.now = 60.0
        assert await granted(replica, tenant) == 1000


async def test_who_is_over_is_told_when_to_come_again_in_openais_words() -> None:
    replica, tenant = Replica(ScriptedBooks()), ann(requests_per_minute=2, tokens_per_minute=9000)
    replica.books.own = OwnBooks(replica.clock)
    async with running(replica):
        permit = await replica.admit(tenant)
        replica.now = 12.5
        assert permit.headers() == {
            "x-ratelimit-limit-requests": "2",
            "x-ratelimit-remaining-requests": "1",
            "x-ratelimit-reset-requests": "47.500s",
            "x-ratelimit-limit-tokens": "9000",
            "x-ratelimit-remaining-tokens": str(9000 - 10 - FIRST_OUTPUT_TOKENS),
            "x-ratelimit-reset-tokens": "47.500s",
        }
        await replica.admit(tenant)
        with pytest.raises(LimitReached) as caught:
            await replica.admit(tenant)
    error = caught.value
    assert (error.status, error.kind, error.code) == (429, "requests", "rate_limit_exceeded")
    assert error.retry_after_seconds == 48
    assert error.message == "Rate limit reached for requests per minute: 2. Try again in 48 s."
    assert error.headers["x-ratelimit-remaining-requests"] == "0"


async def test_a_request_over_one_limit_takes_nothing_of_the_other() -> None:
    replica, tenant = Replica(ScriptedBooks()), ann(requests_per_minute=10, tokens_per_minute=300)
    async with running(replica):
        permit = await replica.admit(tenant)
        await granted(replica, tenant)
        with pytest.raises(LimitReached) as caught:
            await replica.admit(tenant)
        assert caught.value.kind == "tokens"
        assert permit.headers()["x-ratelimit-remaining-requests"] == "9"
        permit.settle(tokens=12, cost_pico=0)
        assert permit.headers()["x-ratelimit-remaining-tokens"] == "288"
        await replica.admit(tenant)


async def test_what_a_request_took_beyond_its_guess_is_missing_to_the_next() -> None:
    replica, tenant = Replica(ScriptedBooks()), ann(tokens_per_minute=1000)
    async with running(replica):
        permit = await replica.admit(tenant, Demand(10, most_output=20))
        permit.settle(tokens=1500, cost_pico=None)
        permit.settle(tokens=0, cost_pico=None)  # it is told once
        with pytest.raises(LimitReached):
            await replica.admit(tenant)


async def test_nobody_has_to_have_more_free_than_there_is_in_a_window() -> None:
    replica, tenant = Replica(ScriptedBooks()), ann(tokens_per_minute=1000)
    async with running(replica):
        permit = await replica.admit(tenant, Demand(5000, most_output=100_000))
        assert permit.headers()["x-ratelimit-remaining-tokens"] == "0"


async def test_guesses_learn_from_answers_and_keep_to_the_clients_bound() -> None:
    replica, tenant = Replica(ScriptedBooks()), ann(tokens_per_minute=10_000)
    async with running(replica):
        (await replica.admit(tenant)).settle(tokens=50, cost_pico=None)
        allotment = replica.limiter.allotment(tenant)
        assert allotment is not None
        assert allotment.amounts(SMALL) == {Limit.TOKENS: 10 + 40}
        assert allotment.amounts(replace(SMALL, most_output=7)) == {Limit.TOKENS: 17}
        assert allotment.amounts(replace(SMALL, choices=3)) == {Limit.TOKENS: 10 + 3 * 40}


async def test_a_limit_that_is_changed_holds_at_once_and_what_was_used_stays_used() -> None:
    replica = Replica(ScriptedBooks())
    async with running(replica):
        assert await granted(replica, ann(requests_per_minute=10), 8) == 8
        assert await granted(replica, ann(requests_per_minute=12)) == 4
        await replica.look()
        assert await granted(replica, ann(requests_per_minute=5)) == 0
        assert replica.limiter.allotment(ann()) is None


# --- replicas ---


async def test_two_replicas_grant_together_what_one_would() -> None:
    own = OwnBooks(lambda: 0.0)
    one, other = (Replica(ScriptedBooks(own)) for _ in range(2))
    tenant = ann(requests_per_minute=1000)
    count = 0
    async with running(one, other):
        for number in range(1500):
            for replica in (one, other, other)[: 1 + number % 3]:
                replica.now += 0.001
                count += await granted(replica, tenant, 1)
    assert count == 1000


async def test_what_is_in_hand_in_vain_goes_back_for_others() -> None:
    own = OwnBooks(lambda: 0.0)
    one, other = (Replica(ScriptedBooks(own)) for _ in range(2))
    tenant = ann(requests_per_minute=1000)
    async with running(one, other):
        assert await granted(one, tenant, 300) == 300
        for _ in range(3):
            await one.look()
        assert await granted(other, tenant) == 700


async def test_a_replica_that_ends_gives_back_what_it_has() -> None:
    own = OwnBooks(lambda: 0.0)
    one, other = (Replica(ScriptedBooks(own)) for _ in range(2))
    tenant = ann(requests_per_minute=1000)
    async with running(other):
        async with running(one):
            assert await granted(one, tenant, 300) == 300
        assert one.books.is_closed
        assert await granted(other, tenant) == 700


async def test_who_is_over_may_come_again_once_others_gave_something_back() -> None:
    own = OwnBooks(lambda: 0.0)
    one, other = (Replica(ScriptedBooks(own)) for _ in range(2))
    tenant = ann(tokens_per_minute=1000)
    async with running(one, other):
        permit = await one.admit(tenant, Demand(900, most_output=0))
        await other.admit(tenant, Demand(90, most_output=0))
        with pytest.raises(LimitReached):
            await other.admit(tenant, Demand(90, most_output=0))
        permit.settle(tokens=10, cost_pico=None)
        for _ in range(3):
            await one.look()
        other.now += 1.0
        with pytest.raises(LimitReached):  # which has its replica ask, and does not wait for it
            await other.admit(tenant, Demand(90, most_output=0))
        await other.look(0.0)
        await other.admit(tenant, Demand(90, most_output=0))


# --- waiting ---


async def test_requests_wait_for_the_draw_that_is_under_way_and_are_served_by_one() -> None:
    books = ScriptedBooks()
    replica, tenant = Replica(books), ann(requests_per_minute=100)
    books.answers.clear()
    async with running(replica):
        waiting = [asyncio.create_task(replica.admit(tenant)) for _ in range(50)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
        books.answers.set()
        await asyncio.gather(*waiting)
    drawn = [order for order in books.orders if order.asks[Limit.REQUESTS].needed]
    assert len(drawn) <= 2


async def test_a_slice_is_drawn_before_the_last_one_is_spent() -> None:
    books = ScriptedBooks()
    replica, tenant = Replica(books), ann(requests_per_minute=100_000)
    async with running(replica):
        await replica.admit(tenant)
        await replica.look(0.0)
        asked = len(books.orders)
        allotment = replica.limiter.allotment(tenant)
        assert allotment is not None
        while len(books.orders) == asked:
            await replica.admit(tenant)
            await replica.look(0.0)
        assert allotment.leases[Limit.REQUESTS].left > 0


# --- money ---


async def test_a_budget_that_is_spent_leaves_the_student() -> None:
    replica, tenant = Replica(ScriptedBooks()), ann(usd_per_day=1_000_000)
    async with running(replica):
        first = await replica.admit(tenant)
        assert not first.is_student_only
        first.settle(tokens=100, cost_pico=1_200_000)
        permit = await replica.admit(tenant)
        assert permit.is_student_only
        assert replica.events.limited_by == [Limit.SPEND]
        error = permit.budget_spent()
        assert isinstance(error, BudgetSpent)
        assert (error.status, error.code) == (429, "insufficient_quota")
        assert error.retry_after_seconds == 86_400
        permit.settle(tokens=100, cost_pico=100)
        await replica.look()
    assert replica.books.own._books["ann-1", Limit.SPEND].used == 1_200_100


async def test_what_is_in_flight_is_reserved() -> None:
    """At 1 USD a million tokens read and 2 written, 10 and 256 tokens come to 522,000."""
    replica, tenant = Replica(ScriptedBooks()), ann(usd_per_day=1_500_000)
    demand = replace(SMALL, dearest=PRICE)
    async with running(replica):
        permits = [await replica.admit(tenant, demand) for _ in range(3)]
        assert [permit.is_student_only for permit in permits] == [False, False, True]
        permits[0].settle(tokens=20, cost_pico=1000)
        later = await replica.admit(tenant, demand)
        assert not later.is_student_only


async def test_an_unknown_bill_costs_what_was_reserved() -> None:
    replica, tenant = Replica(ScriptedBooks()), ann(usd_per_day=1_000_000)
    demand = replace(SMALL, dearest=PRICE)
    async with running(replica):
        (await replica.admit(tenant, demand)).settle(tokens=None, cost_pico=None)
        assert (await replica.admit(tenant, demand)).is_student_only


async def test_what_would_cost_more_than_a_day_may_is_not_paid_and_draws_nothing_in_vain() -> None:
    replica, tenant = Replica(ScriptedBooks()), ann(usd_per_day=500_000)
    async with running(replica):
        permit = await replica.admit(tenant, replace(SMALL, dearest=PRICE))
        assert permit.is_student_only
        assert permit.budget_spent().retry_after_seconds == 86_400
        assert replica.books.own._books["ann-1", Limit.SPEND].used < 500_000 // 10
        permit.settle(tokens=266, cost_pico=7)
        assert (await replica.admit(tenant, replace(SMALL, dearest=PRICE))).is_student_only


# --- without the store ---


@pytest.mark.parametrize("when_down", list(WhenStoreDown))
async def test_what_is_in_hand_is_spent_while_the_store_is_away(when_down: WhenStoreDown) -> None:
    books = ScriptedBooks()
    replica, tenant = Replica(books, when_down), ann(requests_per_minute=8000)
    async with running(replica):
        await replica.admit(tenant)
        await replica.look(0.0)
        books.is_away = True
        permits = [await replica.admit(tenant) for _ in range(40)]
        is_student_only = [permit.is_student_only for permit in permits]
        assert not is_student_only[0]
        is_degraded = when_down is WhenStoreDown.DEGRADE
        assert is_student_only[-1] is is_degraded
        assert replica.events.limited_by == [None] * sum(is_student_only)
        assert replica.events.changes == [AWAY]
        assert replica.events.failed_draws == 1
        if is_degraded:
            error = permits[-1].budget_spent()
            assert error.retry_after_seconds == UNKNOWN_RETRY_SECONDS


async def test_a_spent_budget_degrades_where_the_store_is_away_and_rates_are_allowed() -> None:
    books = ScriptedBooks()
    books.is_away = True
    replica = Replica(books, WhenStoreDown.ALLOW)
    async with running(replica):
        assert (await replica.admit(ann(usd_per_day=10**12))).is_student_only


async def test_the_store_is_tried_again_until_it_is_back_and_hears_then_what_was_spent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.drawing.RETRY_SECONDS", 0.01)
    books = ScriptedBooks()
    books.is_away = True
    replica, tenant = Replica(books, WhenStoreDown.ALLOW), ann(usd_per_day=10**12)
    async with running(replica):
        (await replica.admit(tenant)).settle(tokens=10, cost_pico=777)
        await eventually(lambda: replica.events.failed_draws >= 3)
        books.is_away = False
        await eventually(lambda: replica.events.changes[-1:] == [None])
        assert not (await replica.admit(tenant)).is_student_only
    assert replica.events.changes == [AWAY, None]
    assert books.own._books["ann-1", Limit.SPEND].used >= 777


async def test_a_store_that_says_nothing_has_one_request_wait_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.limiting.WAIT_SECONDS", 0.05)
    assert WAIT_SECONDS <= 1.0
    books = ScriptedBooks()
    books.answers.clear()
    replica, tenant = Replica(books), ann(requests_per_minute=100)
    async with running(replica):
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(replica.admit(tenant))
        until = loop.time() + 5
        while not waiting.done() and loop.time() < until:
            replica.now = loop.time()
            await asyncio.sleep(0.005)
        assert (await waiting).is_student_only
        began = loop.time()
        assert (await replica.admit(tenant)).is_student_only
        assert loop.time() - began < 0.04
        books.answers.set()
        await replica.look(0.0)
        assert not (await replica.admit(tenant)).is_student_only


async def test_a_bug_in_the_books_does_not_end_the_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.drawing.RETRY_SECONDS", 0.01)
    books = ScriptedBooks()
    replica, tenant = Replica(books), ann(requests_per_minute=100)

    async def raises(_: object) -> list[object]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(books, "draw", raises)
    async with replica.drawing.running():
        assert (await replica.admit(tenant)).is_student_only
        assert replica.bugs
        allotment = replica.limiter.allotment(tenant)
        assert allotment is not None
        monkeypatch.undo()
        monkeypatch.setattr("gateway.drawing.RETRY_SECONDS", 0.01)
        await eventually(lambda: not allotment.is_away)
        assert not (await replica.admit(tenant)).is_student_only
