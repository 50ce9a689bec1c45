"""Lets requests in within the limits of their keys, by what this replica has drawn of them.

A request with something in hand waits for nothing.  One whose replica has nothing left waits for
the draw that is under way, with a bound; what is drawn, and when, ``drawing.py`` says.
"""

import asyncio
import math
from collections.abc import Mapping
from contextlib import suppress

from gateway.allotment import Allotment, Demand
from gateway.drawing import Drawing
from gateway.errors import BudgetSpent, LimitReached
from gateway.keys import KeyLimits, Tenant
from gateway.ports import Clock, LimitEvents
from routing.lease import Stand
from routing.vocabulary import Limit, WhenStoreDown

# So long a request waits for a draw; once one has waited in vain, none does until a draw succeeds.
WAIT_SECONDS = 1.0
# When to come again where nobody can say how much is spent.
UNKNOWN_RETRY_SECONDS = 5
_PER = {Limit.REQUESTS: "requests per minute", Limit.TOKENS: "tokens per minute"}


class Permit:
    """One request that was let in.  ``settle`` it, whatever becomes of it.

    ``is_student_only``: it may not spend what others than the student cost.
    """

    def __init__(
        self,
        limiter: "Limiter",
        allotment: Allotment,
        demand: Demand,
        taken: Mapping[Limit, tuple[int, int]],
        *,
        is_student_only: bool,
    ) -> None:
        """``taken`` are the window and the amount that was reserved of each limit."""
        self._limiter = limiter
        self._allotment = allotment
        self._demand = demand
        self._taken = taken
        self._is_settled = False
        self.is_student_only = is_student_only
        allotment.open_requests += 1

    def headers(self) -> dict[str, str]:
        """What the key has left, in OpenAI's words."""
        return self._limiter.headers(self._allotment)

    def budget_spent(self) -> BudgetSpent:
        """The answer where there is no student to serve instead."""
        return self._limiter.budget_spent(self._allotment)

    def settle(self, tokens: int | None, cost_pico: int | None) -> None:
        """Say what the request took, once; None is unknown: then what was reserved is taken."""
        if self._is_settled:
            return
        self._is_settled = True
        allotment = self._allotment
        allotment.open_requests -= 1
        allotment.learn(self._demand, tokens, None if self.is_student_only else cost_pico)
        actual = {Limit.TOKENS: tokens, Limit.SPEND: cost_pico}
        for limit, (window, reserved) in self._taken.items():
            came_to, lease = actual.get(limit), allotment.leases.get(limit)
            if came_to is not None and lease is not None:
                lease.correct(window, reserved, came_to)
        spend = allotment.leases.get(Limit.SPEND)
        if Limit.SPEND not in self._taken and spend is not None and cost_pico is not None:
            spend.correct(spend.window, 0, cost_pico)  # the student's, which nobody reserved
        self._limiter.look_after(allotment)


class Limiter:
    """The limits of all keys at this replica."""

    def __init__(
        self, drawing: Drawing, clock: Clock, events: LimitEvents, when_down: WhenStoreDown
    ) -> None:
        self.drawing = drawing
        self._clock = clock
        self._events = events
        self._when_down = when_down
        # By key, the limits that were last seen of it, and what it has in hand; None: no limits.
        self._known: dict[str, tuple[KeyLimits, Allotment | None]] = {}

    def allotment(self, tenant: Tenant | None) -> Allotment | None:
        """What a key has in hand here, None where it has no limits."""
        if tenant is None:
            return None
        agreed, allotment = self._known.get(tenant.key, (None, None))
        if agreed is tenant.limits:
            return allotment
        amounts = _amounts(tenant.limits)
        if allotment is not None:
            allotment.agree(amounts)
        elif amounts:
            allotment = Allotment(tenant.key, amounts)
        allotment = allotment if amounts else None
        self._known[tenant.key] = tenant.limits, allotment
        return allotment

    async def admit(self, allotment: Allotment, demand: Demand) -> Permit:
        """Let a request in.  Raises LimitReached.

        What it may take is reserved; ``Permit.settle`` corrects that.
        """
        amounts = allotment.amounts(demand)
        stands = await self._stands(allotment, amounts)
        now = self._clock()
        spent = allotment.rate_spent(stands)
        if spent is not None:
            self._ask_again(allotment, spent, amounts[spent], now)
            self._events.limited(spent)
            raise self._reached(allotment, spent, now)
        taken = {}
        for limit, stand in stands.items():
            if stand is Stand.IN_HAND:
                lease = allotment.leases[limit]
                lease.take(amounts[limit])
                taken[limit] = lease.window, amounts[limit]
        if allotment.is_low(now):
            self.drawing.poke(allotment)
        is_student_only = self._is_student_only(allotment, stands, amounts, now)
        return Permit(self, allotment, demand, taken, is_student_only=is_student_only)

    def headers(self, allotment: Allotment) -> dict[str, str]:
        """What a key has left, in OpenAI's words."""
        now, headers = self._clock(), {}
        for limit in _PER:
            lease = allotment.leases.get(limit)
            if lease is not None:
                seconds = max(0.0, lease.ends_at - now)
                headers[f"x-ratelimit-limit-{limit}"] = str(lease.limit)
                headers[f"x-ratelimit-remaining-{limit}"] = str(lease.remaining(now))
                headers[f"x-ratelimit-reset-{limit}"] = f"{seconds:.3f}s"
        return headers

    def budget_spent(self, allotment: Allotment) -> BudgetSpent:
        """Nothing may be spent with this key, or nobody can say whether it may."""
        lease = allotment.leases.get(Limit.SPEND)
        if lease is None or allotment.is_away:
            return BudgetSpent(
                "Nobody can say at the moment how much this key may still ask for, and without "
                "that only a student answers, which this request cannot have.",
                retry_after_seconds=UNKNOWN_RETRY_SECONDS,
            )
        return BudgetSpent(
            "This key has spent its budget for today. Until tomorrow only a student answers, which "
            "this request cannot have.",
            retry_after_seconds=max(1, math.ceil(lease.ends_at - self._clock())),
        )

    def look_after(self, allotment: Allotment) -> None:
        """What is in hand, or owed, has changed."""
        self.drawing.look_after(allotment)

    async def _stands(
        self, allotment: Allotment, amounts: Mapping[Limit, int]
    ) -> Mapping[Limit, Stand]:
        """Whether each amount can be taken, once that is known or was waited for long enough."""
        until: float | None = None
        while True:
            now = self._clock()
            stands = allotment.stands(amounts, now)
            is_decided = Stand.TO_DRAW not in stands.values()
            if is_decided or allotment.is_away or allotment.rate_spent(stands):
                return stands
            until = now + WAIT_SECONDS if until is None else until
            if now >= until:
                self.drawing.waited_in_vain(allotment)
                return stands
            waiting = [
                allotment.need(limit, amounts[limit])
                for limit, stand in stands.items()
                if stand is Stand.TO_DRAW
            ]
            self.drawing.poke(allotment)
            with suppress(TimeoutError):
                async with asyncio.timeout(until - now):
                    await waiting[0].wait()

    def _is_student_only(
        self,
        allotment: Allotment,
        stands: Mapping[Limit, Stand],
        amounts: Mapping[Limit, int],
        now: float,
    ) -> bool:
        spend = stands.get(Limit.SPEND)
        if spend is Stand.SPENT:
            self._ask_again(allotment, Limit.SPEND, amounts[Limit.SPEND], now)
            self._events.limited(Limit.SPEND)
            return True
        is_unknown = Stand.TO_DRAW in stands.values()
        is_degraded = is_unknown and self._when_down is WhenStoreDown.DEGRADE
        if is_degraded or spend is Stand.TO_DRAW:
            self._events.limited(None)
            return True
        return False

    def _ask_again(self, allotment: Allotment, limit: Limit, amount: int, now: float) -> None:
        """Others may have given something back; this request does not wait for it."""
        if allotment.leases[limit].is_worth_asking(now) and not allotment.is_asked:
            allotment.need(limit, amount)
            self.drawing.poke(allotment)

    def _reached(self, allotment: Allotment, limit: Limit, now: float) -> LimitReached:
        lease = allotment.leases[limit]
        seconds = max(1, math.ceil(lease.ends_at - now))
        return LimitReached(
            f"Rate limit reached for {_PER[limit]}: {lease.limit}. Try again in {seconds} s.",
            kind=limit,
            retry_after_seconds=seconds,
            headers=self.headers(allotment),
        )


def _amounts(limits: KeyLimits) -> Mapping[Limit, int]:
    """Those that there are."""
    agreed = {
        Limit.REQUESTS: limits.requests_per_minute,
        Limit.TOKENS: limits.tokens_per_minute,
        Limit.SPEND: limits.usd_per_day,
    }
    return {limit: most for limit, most in agreed.items() if most is not None}
