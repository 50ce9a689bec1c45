"""What one client's key has in hand of its limits here, what its requests wait for, and what they
typically take.  It knows no clock, and not where the books are.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from routing.lease import Ask, Drawn, Lease, Stand, Typical
from routing.money import Price, Usage, cost_of
from routing.vocabulary import Limit

# What an answer is taken to have before any is known.
FIRST_OUTPUT_TOKENS = 256
_RATES = (Limit.REQUESTS, Limit.TOKENS)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request may take, as far as that is known before it is answered.

    ``input_tokens`` is a guess; ``most_output`` is None where the client set no bound; ``dearest``
    is the price of the dearest model that may answer, None where its tokens have none.
    """

    input_tokens: int
    most_output: int | None = None
    choices: int = 1
    dearest: Price | None = None


class Allotment:
    """One key's leases at this replica.

    ``is_away``: its books could not be asked the last time.  ``is_asked``: an answer of theirs is
    under way.  ``open_requests`` were let in and are not over.
    """

    def __init__(self, key: str, limits: Mapping[Limit, int]) -> None:
        self.key = key
        self.leases: dict[Limit, Lease] = {}
        self.is_away = False
        self.is_asked = False
        self.open_requests = 0
        self._needs: dict[Limit, int] = {}
        self._waiting: asyncio.Event | None = None
        self._woken: asyncio.Event | None = None
        self._output, self._cost = Typical(), Typical()
        self.agree(limits)

    def agree(self, limits: Mapping[Limit, int]) -> None:
        """Have these limits hold from now on."""
        self.limits = limits
        self.leases = {limit: self.leases.get(limit, Lease(most)) for limit, most in limits.items()}
        for limit, most in limits.items():
            self.leases[limit].limit = most

    def amounts(self, demand: Demand) -> dict[Limit, int]:
        """What is reserved for a request.

        Of tokens never more than a whole window has, for they are a guess that may be too high.
        What is taken to cost more than a whole day may cost is not to be paid.
        """
        output = self._output.value
        output = FIRST_OUTPUT_TOKENS if output is None else output
        if demand.most_output is not None:
            output = min(output, demand.most_output)
        output *= demand.choices
        cost = self._cost.value
        if cost is None:
            cost = cost_of(Usage(demand.input_tokens, output), demand.dearest) or 0
        tokens = min(demand.input_tokens + output, self.limits.get(Limit.TOKENS, 0))
        guess = {Limit.REQUESTS: 1, Limit.TOKENS: tokens, Limit.SPEND: cost}
        return {limit: max(1, guess[limit]) for limit in self.limits}

    def stands(self, amounts: Mapping[Limit, int], now: float) -> dict[Limit, Stand]:
        """Whether each of these amounts can be taken."""
        return {limit: self.leases[limit].stand(amount, now) for limit, amount in amounts.items()}

    def learn(self, demand: Demand, tokens: int | None, cost: int | None) -> None:
        """Learn from what a request took; None is unknown, or says nothing of others."""
        if tokens is not None:
            self._output.seen(max(0, tokens - demand.input_tokens) // demand.choices)
        if cost is not None:
            self._cost.seen(cost)

    def need(self, limit: Limit, amount: int) -> asyncio.Event:
        """Have the next ask hold so much more; gives what is set once that is answered.

        What no window has is not asked for, only how the window stands.
        """
        wanted = amount if amount <= self.leases[limit].limit else 0
        self._needs[limit] = self._needs.get(limit, 0) + wanted
        if self._waiting is None:
            self._waiting = asyncio.Event()
        return self._waiting

    def begin(self, now: float, *, is_look: bool) -> Mapping[Limit, Ask]:
        """What is to be asked now; ``end`` must follow where that is anything.

        ``is_look``: the time has come to see what is in hand in vain, and what is owed.
        """
        asks, needs = {}, self._needs
        self._needs = {}
        for limit, lease in self.leases.items():
            excess = lease.excess(now) if is_look else 0
            if limit in needs or lease.is_low(now):
                asks[limit] = lease.draw(now, needs.get(limit, 0))
            elif excess or (is_look and lease.left < 0):
                asks[limit] = lease.give_back(now, excess)
        return self._begun(asks)

    def begin_again(self, now: float) -> Mapping[Limit, Ask]:
        """The same after a failure: of every limit something is asked."""
        needs = self._needs
        self._needs = {}
        return self._begun(
            {limit: one.draw(now, needs.get(limit, 0)) for limit, one in self.leases.items()}
        )

    def begin_last(self, now: float) -> Mapping[Limit, Ask]:
        """The same at the end of the process: all that is in hand is given back."""
        return self._begun(
            {
                limit: lease.give_back(now, lease.left)
                for limit, lease in self.leases.items()
                if lease.left and not lease.is_over(now)
            }
        )

    def _begun(self, asks: Mapping[Limit, Ask]) -> Mapping[Limit, Ask]:
        self.is_asked = bool(asks)
        self._woken, self._waiting = self._waiting, None
        if not asks:
            self._wake()
        return asks

    def end(
        self,
        asks: Mapping[Limit, Ask],
        drawn: Mapping[Limit, Drawn] | None,
        asked_at: float,
        now: float,
    ) -> None:
        """Take the answer, None where there was none, and wake whoever waits for it."""
        self.is_asked, self.is_away = False, drawn is None
        for limit, ask in asks.items():
            lease = self.leases.get(limit)
            if lease is None:  # it is not agreed any more
                continue
            if drawn is None:
                lease.failed(ask)
            else:
                lease.drawn(drawn[limit], asked_at, now)
        self._wake()

    def _wake(self) -> None:
        if self._woken is not None:
            self._woken.set()
            self._woken = None

    def is_idle(self, now: float) -> bool:
        """Whether there is nothing to look after until the next request."""
        return not (self.open_requests or self.is_asked or self.is_away or self._needs) and all(
            one.left == 0 or one.is_over(now) for one in self.leases.values()
        )

    def is_low(self, now: float) -> bool:
        """Whether it is time to draw before anybody has to wait."""
        return any(lease.is_low(now) for lease in self.leases.values())

    def rate_spent(self, stands: Mapping[Limit, Stand]) -> Limit | None:
        """The first limit a minute that has no room for a request, if there is one."""
        return next((limit for limit in _RATES if stands.get(limit) is Stand.SPENT), None)
