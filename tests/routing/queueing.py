"""A model server with a queue, simulated: so many answers are written at once, the others wait.

Writing slows down as more is written at once.  What asks is a stream of arrivals that does not
care how the server fares.  Time is simulated, in seconds.
"""

import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import quantiles

from routing.concurrency import AdaptiveLimit


@dataclass(frozen=True, slots=True)
class Server:
    """``slots`` answers are written at once, each token in ``seconds_per_token`` where it is alone;
    with all slots in use it takes ``slowdown`` times as long."""

    slots: int = 32
    first_byte_seconds: float = 0.2
    seconds_per_token: float = 0.02
    slowdown: float = 1.5

    def pace(self, written: int) -> float:
        """Seconds a token, with so many answers written at once."""
        share = min(written, self.slots) / self.slots
        return self.seconds_per_token * (1.0 + (self.slowdown - 1.0) * share)


@dataclass(frozen=True, slots=True)
class Load:
    """Arrivals a second, and how long answers are by the time that it is."""

    per_second: float
    tokens: float = 200.0
    seconds: float = 600.0
    longer_from: float = float("inf")
    longer_tokens: float = 200.0

    def arrivals(self, dice: random.Random) -> Iterator[tuple[float, int]]:
        """When a request comes, and how many tokens its answer has."""
        at = 0.0
        while (at := at + dice.expovariate(self.per_second)) < self.seconds:
            mean = self.longer_tokens if at >= self.longer_from else self.tokens
            yield at, max(8, int(dice.gammavariate(4.0, mean / 4.0)))


@dataclass(slots=True)
class Outcome:
    """What came of it; ``tokens`` are those that were written in time.

    ``waits`` are pairs of when a request came and how long it waited.
    """

    tokens: int = 0
    denied: int = 0
    waits: list[tuple[float, float]] = field(default_factory=list)
    limits: list[tuple[float, int]] = field(default_factory=list)

    def waited(self, since: float, until: float = float("inf")) -> float:
        """The 95th percentile of how long those waited that came in that time."""
        found = [wait for at, wait in self.waits if since <= at < until]
        return quantiles(found, n=20)[-1]

    def limited(self, since: float, until: float = float("inf")) -> float:
        """The mean limit after that."""
        found = [calls for at, calls in self.limits if since <= at < until]
        return sum(found) / len(found)


@dataclass(slots=True)
class _Call:
    at: float
    tokens: int
    load: int


def simulate(
    server: Server, load: Load, seed: int, guard: AdaptiveLimit | int | None, *, streams: bool
) -> Outcome:
    """Have all arrivals asked that the guard lets through.

    ``guard`` is a limit that learns, or one that stays; None: nobody is denied.  ``streams``: first
    bytes are seen; else answers come whole.
    """
    dice = random.Random(seed)
    outcome, waiting = Outcome(), deque[_Call]()
    ends: list[tuple[float, int, _Call]] = []
    begins: list[tuple[float, int, _Call]] = []
    count = 0

    def start(call: _Call, now: float) -> None:
        nonlocal count
        count += 1
        pace = server.pace(len(ends) + 1)
        first = now + server.first_byte_seconds
        outcome.waits.append((call.at, now - call.at))
        heapq.heappush(begins, (first, count, call))
        heapq.heappush(ends, (first + call.tokens * pace, count, call))

    def pass_until(until: float) -> None:
        while ends and ends[0][0] <= until:
            now, _, call = heapq.heappop(ends)
            tell_begun(now)
            outcome.tokens += call.tokens
            if isinstance(guard, AdaptiveLimit) and not streams:
                guard.answered(call.load, now - call.at, call.tokens, now)
            if waiting:
                start(waiting.popleft(), now)
        tell_begun(until)

    def tell_begun(until: float) -> None:
        while begins and begins[0][0] <= until:
            now, _, call = heapq.heappop(begins)
            if isinstance(guard, AdaptiveLimit) and streams:
                guard.first_byte(call.load, now - call.at, now)

    for at, tokens in load.arrivals(dice):
        pass_until(at)
        most = guard.calls if isinstance(guard, AdaptiveLimit) else guard
        outcome.limits.append((at, most or 0))
        open_calls = len(ends) + len(waiting)
        if most is not None and open_calls >= most:
            outcome.denied += 1
            continue
        call = _Call(at, tokens, open_calls + 1)
        if len(ends) < server.slots:
            start(call, at)
        else:
            waiting.append(call)
    pass_until(load.seconds)
    in_time = outcome.tokens
    pass_until(float("inf"))  # for the waits of those that are still there
    outcome.tokens = in_time
    return outcome
