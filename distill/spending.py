"""What a job may still ask of a teacher: a purse that is never overdrawn, and a pace.

It knows neither clock nor server.  Before a call its highest possible cost is put aside; after it
the true cost is taken, or all that was put aside where nobody knows the true one.
"""

from dataclasses import dataclass

from routing.money import Price

SECONDS_PER_MINUTE = 60.0
# What a chat template adds to a prompt, at most, for each message and once.
MESSAGE_TOKENS = 64


class Spent(Exception):
    """Nothing more may be asked; the message says which limit was reached."""


@dataclass(slots=True)
class Purse:
    """Pico-dollars and requests: how many may be spent, and how many were.

    ``is_exact`` is False once a cost was put down at its highest, because nobody knew it.
    """

    limit_pico: int | None = None
    most_requests: int | None = None
    spent_pico: int = 0
    requests: int = 0
    is_exact: bool = True
    _held_pico: int = 0
    _held: int = 0

    @property
    def is_waiting(self) -> bool:
        """Whether calls are under way, after which there may be more left than now."""
        return self._held > 0

    def hold(self, most_pico: int | None) -> None:
        """Put aside what a call may cost; None is unknown.  Raises Spent where it is not there."""
        if self.most_requests is not None and self.requests + self._held >= self.most_requests:
            raise Spent(f"all of {self.most_requests:,} requests are made")
        if self.limit_pico is not None:
            if most_pico is None:
                raise Spent("a budget is set, and nobody knows what a request costs")
            if self.spent_pico + self._held_pico + most_pico > self.limit_pico:
                raise Spent("the next request may cost more than what is left of the budget")
        self._held_pico += most_pico or 0
        self._held += 1

    def release(self, most_pico: int | None) -> None:
        """Give back what was put aside for a call that was never made."""
        self._held_pico -= most_pico or 0
        self._held -= 1

    def settle(self, most_pico: int | None, cost_pico: int | None) -> int:
        """Take what a call cost, of which ``most_pico`` was put aside; what was taken."""
        self.release(most_pico)
        if cost_pico is None:
            self.is_exact = False
        taken = (most_pico or 0) if cost_pico is None else cost_pico
        self.spent_pico += taken
        self.requests += 1
        return taken

    def recall(self, spent_pico: int, requests: int, *, is_exact: bool) -> None:
        """Count what an earlier run has spent."""
        self.spent_pico += spent_pico
        self.requests += requests
        self.is_exact &= is_exact


def most_cost(price: Price | None, body: bytes, messages: int, max_tokens: int) -> int | None:
    """The highest that a call can cost in pico-dollars; None where the price is unknown.

    A token is at least a byte of what is sent; of images and of tokens beyond ``max_tokens``
    nothing is known here, and none are sent or asked for.
    """
    if price is None:
        return None
    read = len(body) + MESSAGE_TOKENS * (messages + 1)
    dearest_input = max(price.input, price.cached_input)
    return read * dearest_input + max_tokens * max(price.output, price.reasoning)


@dataclass(slots=True)
class Pace:
    """At most so many calls a minute, evenly: no 60 seconds hold more, wherever they begin.

    None is no limit.  Times are seconds of any clock that never goes back.
    """

    per_minute: float | None
    _next: float | None = None

    def wait(self, now: float) -> float:
        """How many seconds the next call has to wait; the call counts as made then."""
        if self.per_minute is None:
            return 0.0
        at = now if self._next is None else max(now, self._next)
        self._next = at + SECONDS_PER_MINUTE / self.per_minute
        return at - now
