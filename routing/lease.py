"""Limits that replicas share: what each of them draws from the books of all, and spends from that.

A limit counts in windows, minutes or days of the books' own clock.  A replica draws a slice of what
a window has left, and decides by what it has in hand; slices shrink as the window runs out, so that
little is left in hands that do not need it.  Whoever is not sure whether a draw was booked takes it
as booked: together replicas never grant more than the limit.

Amounts are whole numbers of requests, tokens or pico-dollars.  ``now`` is a lease's steady clock.
"""

from dataclasses import dataclass
from enum import Enum, auto
from math import ceil, inf

from routing.vocabulary import Limit

WINDOW_SECONDS = {Limit.REQUESTS: 60, Limit.TOKENS: 60, Limit.SPEND: 86_400}
# A slice that nobody waits for is at most this part of what a window has left, and need not be
# smaller than that part of the limit.
MOST_PART = 16
LEAST_PART = 400
# A slice is to last for so long, at the pace since the last draw; no pace is read off less time
# than that.
AHEAD_SECONDS = 0.5
PACE_SECONDS = 0.1
# What is spent may be given back by others: so often it is worth asking.
ASK_AGAIN_SECONDS = 0.25
# What is in hand beyond the needs of so many times the time since the last look is given back.
KEEP_TIMES = 2
# What a request typically takes is an average in which the last so many weigh about two thirds.
LATE_REQUESTS = 16


@dataclass(frozen=True, slots=True)
class Ask:
    """What a replica asks of the books.

    ``owed`` was spent beyond what was drawn, and is booked whatever the limit says; below 0 it is
    given back, which counts in ``window`` alone.  ``needed`` is what requests wait for; ``wanted``
    would last for a while.
    """

    limit: int
    window: int
    owed: int
    needed: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the books say: ``granted`` is the replica's from now on, ``free`` still anybody's.

    The window ends ``seconds_left`` after the books said so.
    """

    window: int
    granted: int
    free: int
    seconds_left: float


@dataclass(slots=True)
class Books:
    """The books of one limit, where a process has them to itself.

    ``gateway/stores/lease_script.py`` keeps the same ones in Redis, for all replicas.
    """

    window: int = 0
    used: int = 0

    def draw(self, ask: Ask, window_seconds: int, epoch: float) -> Drawn:
        """Book an ask at ``epoch``, in seconds since 1970."""
        current = int(epoch // window_seconds)
        if current == self.window - 1:  # the clock was set back: no window is had twice
            current = self.window
        if current != self.window:
            self.window, self.used = current, 0
        if ask.owed > 0 or ask.window == current:
            self.used = max(0, self.used + ask.owed)
        free = max(0, ask.limit - self.used)
        granted = min(free, max(ask.needed, min(ask.wanted, free // MOST_PART)))
        self.used += granted
        return Drawn(current, granted, free - granted, (current + 1) * window_seconds - epoch)


class Stand(Enum):
    """Whether an amount can be taken: from the hand, perhaps after a draw, or not any more."""

    IN_HAND = auto()
    TO_DRAW = auto()
    SPENT = auto()


@dataclass(slots=True)
class Lease:
    """What one replica has in hand of one limit.

    ``left`` is below 0 where more was spent than drawn; ``free`` is what the books had for anybody
    after the last draw.  Nothing of either counts from ``ends_at`` on, but for what is owed.
    """

    limit: int
    window: int = -1
    ends_at: float = -inf
    left: int = 0
    free: int = 0
    _slice: int = 0
    _drawn_at: float = -inf
    _taken: int = 0
    _taken_since_look: int = 0

    def stand(self, amount: int, now: float) -> Stand:
        """Whether so much can be taken."""
        if now >= self.ends_at:
            return Stand.TO_DRAW
        if self.left >= amount:
            return Stand.IN_HAND
        return Stand.TO_DRAW if self.left + self.free >= amount else Stand.SPENT

    def take(self, amount: int) -> None:
        """Spend from the hand, which has as much."""
        self.left -= amount
        self._taken += amount
        self._taken_since_look += amount

    def correct(self, window: int, reserved: int, actual: int) -> None:
        """Say what came of an amount that was taken in ``window``.

        What it was too much goes back into the hand while that window lasts; what it was too
        little is owed, whenever it becomes known.
        """
        if window == self.window or actual > reserved:
            self.left += reserved - actual

    def remaining(self, now: float) -> int:
        """What the window has left for this replica's requests, as far as it knows."""
        return max(0, self.left) + self.free if now < self.ends_at else self.limit

    def is_over(self, now: float) -> bool:
        """Whether nothing is in hand or owed of a window that has ended."""
        return self.left >= 0 and now >= self.ends_at

    def is_low(self, now: float) -> bool:
        """Whether it is time to draw, before anybody has to wait for it."""
        is_live = now < self.ends_at and self.free > 0
        return is_live and self._slice > 1 and self.left <= self._slice // 2

    def is_worth_asking(self, now: float) -> bool:
        """Whether others may have given something back since the last draw."""
        return now >= self._drawn_at + ASK_AGAIN_SECONDS

    def excess(self, now: float) -> int:
        """What is in hand beyond the needs of late; to be asked at even times."""
        keep, self._taken_since_look = KEEP_TIMES * self._taken_since_look, 0
        return max(0, self.left - keep) if now < self.ends_at else 0

    def draw(self, now: float, needed: int) -> Ask:
        """Ask for what requests wait for, or a slice, and pay what is owed.

        Exactly one of ``drawn`` and ``failed`` must follow, before anything else is asked.
        """
        self._forget(now)
        owed = max(0, -self.left)
        self.left += owed
        pace = self._taken / max(now - self._drawn_at, PACE_SECONDS)
        wanted = max(1, self.limit // LEAST_PART, ceil(pace * AHEAD_SECONDS))
        missing = max(0, needed - self.left)
        return Ask(self.limit, self.window, owed, missing, max(0, wanted - self.left))

    def give_back(self, now: float, amount: int) -> Ask:
        """Hand back a part of what is in hand, and pay what is owed; the same must follow."""
        self._forget(now)
        owed = -self.left if self.left < 0 else -min(amount, self.left)
        self.left += owed
        return Ask(self.limit, self.window, owed, 0, 0)

    def drawn(self, drawn: Drawn, asked_at: float, now: float) -> None:
        """Take what the books say; ``asked_at`` is when they were asked.

        The window ends no sooner than it is taken to: its end is counted from the question.
        """
        if drawn.window != self.window:
            self.left, self.window = min(self.left, 0), drawn.window
        self.left += drawn.granted
        self.free, self.ends_at = drawn.free, asked_at + drawn.seconds_left
        self._slice, self._drawn_at, self._taken = drawn.granted, now, 0

    def failed(self, ask: Ask) -> None:
        """Nobody knows whether the ask was booked.  Then what was given back is gone, and what is
        owed is still owed: too little is granted rather than too much."""
        self.left -= max(0, ask.owed)

    def _forget(self, now: float) -> None:
        if now >= self.ends_at:
            self.left = min(self.left, 0)


class Typical:
    """What one request takes of something, on average of late."""

    __slots__ = ("_sum",)

    def __init__(self) -> None:
        self._sum: int | None = None

    @property
    def value(self) -> int | None:
        """The average, rounded down; None before the first request."""
        return None if self._sum is None else self._sum // LATE_REQUESTS

    def seen(self, amount: int) -> None:
        """Learn from one request."""
        if self._sum is None:
            self._sum = amount * LATE_REQUESTS
        else:
            self._sum += amount - self._sum // LATE_REQUESTS
