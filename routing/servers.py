"""Which of a model's servers is asked, and whether a call that failed is made again on another.

Time is an argument, in seconds of any steady clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# One failed call in so many calls may be made again: an outage adds a tenth to the load, and does
# not double it.  Beyer et al., "Site Reliability Engineering", chapter 21.
CALLS_PER_RETRY = 10
# So many may be made again at once, so that a lone call is not lost for want of others before it.
BURST = 10
MOST_CREDIT = BURST * CALLS_PER_RETRY
# How often one call is tried in all.
MOST_TRIES = 3
FIRST_REST_SECONDS = 0.5
MOST_REST_SECONDS = 30.0


@dataclass(slots=True)
class RetryBudget:
    """How many calls of one model may be made again: each call earns a part of a retry."""

    credit: int = MOST_CREDIT

    @property
    def is_spent(self) -> bool:
        """Whether no call may be made again now."""
        return self.credit < CALLS_PER_RETRY

    def called(self) -> None:
        """Report a call that is made for the first time."""
        if self.credit < MOST_CREDIT:
            self.credit += 1

    def retried(self) -> None:
        """Report a call that is made again."""
        self.credit -= CALLS_PER_RETRY


@dataclass(slots=True)
class Rest:
    """Until when a server is asked only where no other is to be had.

    Without it a server that fails at once would have the fewest open calls, and so get them all.
    """

    failures: int = 0
    until: float = 0.0

    def failed(self, now: float, asked_seconds: float | None = None) -> None:
        """Report a call that failed; the server perhaps said after how many seconds to come back.

        Where it did not, the rest doubles with each failure in a row.
        """
        doubled = FIRST_REST_SECONDS * 2 ** min(self.failures, 10)
        self.failures += 1
        seconds = doubled if asked_seconds is None else asked_seconds
        self.until = max(self.until, now + min(seconds, MOST_REST_SECONDS))

    def succeeded(self) -> None:
        """Report a call that the server answered."""
        self.failures, self.until = 0, 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a server is; one that is resting is passed over where that is possible."""

    open_calls: int
    is_resting: bool = False


def by_preference(loads: Sequence[Load], first: int) -> Sequence[int]:
    """The places of servers in the order in which to ask: those that rest last, idle ones first.

    Equals take turns: of them the place ``first`` comes first, then those after it.
    """
    count = len(loads)
    turns = [(first + step) % count for step in range(count)]
    return sorted(turns, key=lambda place: (loads[place].is_resting, loads[place].open_calls))
