"""How many calls a server is given at once, learnt from how it answers.

A server of language models is faster with more calls, in all, up to where they wait for each
other.  What tells is how the time of a call grows with the calls that are open: by Little's law
the throughput grows by a share of one minus that elasticity.  Where it grows no more, a call more
only waits.  The time is that to the first byte, or of an answer by its tokens: long answers are no
sign of anything.

Additive increase, multiplicative decrease, as in TCP.  Netflix' and Envoy's limits compare with
the least time ever seen, or measured by refusing calls now and then; here what was seen of late
with fewer calls is the measure.  Where fewer calls take as long as more did a moment ago, that no
longer holds: the server is slower whatever it is given, and all is measured anew.  Time is an
argument, in seconds of any steady clock.
"""

import math
from dataclasses import dataclass, field

LEAST_CALLS = 4
FIRST_CALLS = 16
# Where twice the calls take 1.62 times as long, they come to 1.23 times the throughput.
MOST_ELASTICITY = 0.7
# From the first call to its first token an answer takes as long as for so many tokens.
FIRST_TOKENS = 32
# A window ends with so many calls and after so many seconds.
WINDOW_CALLS = 16
WINDOW_SECONDS = 1.0
# A limit of which less is used is neither confirmed nor refuted.
USED_SHARE = 0.8
# The measure is what was seen with so many of the calls, at most.
FEWER_SHARE = 0.6
# Of so many fewer calls, shrinking must have made each faster by more than this elasticity.
LEAST_ELASTICITY = 0.35
MEMORY = 32
FIRST_GROWTH = 1.5
SHRINKING = 0.9


@dataclass(slots=True)
class Mean:
    """How long calls took, by and large: the mean of logarithms, of loads and of seconds."""

    count: int = 0
    load: float = 0.0
    log_seconds: float = 0.0

    def add(self, load: int, log_seconds: float) -> None:
        """Take in one call; old ones are forgotten."""
        self.count += 1
        weight = 1.0 / min(self.count, MEMORY)
        self.load += weight * (load - self.load)
        self.log_seconds += weight * (log_seconds - self.log_seconds)


@dataclass(slots=True)
class Curve:
    """The time of calls by how many were open: for 1, 2 to 3, 4 to 7 and so on."""

    means: dict[int, Mean] = field(default_factory=dict)
    window: Mean = field(default_factory=Mean)
    before: Mean | None = None  # a window of more calls, since which the limit only shrank

    def add(self, load: int, log_seconds: float, *, is_used: bool) -> None:
        """Take in a call; ``is_used``: it is one of those that the limit is judged by."""
        self.means.setdefault(load.bit_length(), Mean()).add(load, log_seconds)
        if is_used:
            self.window.add(load, log_seconds)

    def elasticity(self) -> float | None:
        """How the time grew with the calls, in the window; None: there is nothing to compare."""
        at = self.window
        for place in range(int(at.load).bit_length(), 0, -1):
            fewer = self.means.get(place)
            if fewer is not None and fewer.load <= FEWER_SHARE * at.load:
                grown = at.log_seconds - fewer.log_seconds
                return grown / math.log(at.load / fewer.load)
        return None

    def is_slow_anyway(self) -> bool:
        """Whether calls take as long as with many more, while the limit shrinks: it is no use."""
        at, before = self.window, self.before
        if not at.count:
            return False
        if before is None or at.load <= FEWER_SHARE * before.load:
            self.before = at
        if before is None or at.load > FEWER_SHARE * before.load:
            return False
        fallen = before.log_seconds - at.log_seconds
        return fallen < LEAST_ELASTICITY * math.log(before.load / at.load)

    def begin_anew(self) -> None:
        """Know only what the window says."""
        at = self.window
        self.means = {int(at.load).bit_length(): at} if at.count else {}
        self.before = None


class AdaptiveLimit:
    """How many calls one server is given, between a floor and ``most``."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.calls = min(most, FIRST_CALLS)
        self._least = min(most, LEAST_CALLS)
        self._exact = float(self.calls)
        self._is_first = True
        self._is_overloaded = False
        self._since = 0.0
        self._seen = 0
        self._used = 0
        self._first_bytes, self._tokens = Curve(), Curve()

    def first_byte(self, load: int, seconds: float, now: float) -> None:
        """A call that began with so many open, itself included, got its first byte."""
        self._look(self._first_bytes, load, seconds, seconds, now)

    def answered(self, load: int, seconds: float, tokens: int, now: float) -> None:
        """One got its whole answer, of so many tokens."""
        self._look(self._tokens, load, seconds, seconds / (tokens + FIRST_TOKENS), now)

    def overloaded(self, now: float) -> None:
        """The server says itself that it has too much to do, or lets too many wait."""
        self._is_overloaded = True
        if now - self._since >= WINDOW_SECONDS:
            self._end(now)

    def _look(self, curve: Curve, load: int, seconds: float, scaled: float, now: float) -> None:
        if now - seconds < self._since:  # it tells of the limit before
            return
        is_used = load >= USED_SHARE * self.calls
        curve.add(load, math.log(max(scaled, 1e-6)), is_used=is_used)
        self._seen += 1
        self._used += is_used
        if self._seen >= WINDOW_CALLS and now - self._since >= WINDOW_SECONDS:
            self._end(now)

    def _end(self, now: float) -> None:
        curves = self._first_bytes, self._tokens
        known = [one for curve in curves if (one := curve.elasticity()) is not None]
        is_too_much = max(known, default=0.0) > MOST_ELASTICITY
        if self._is_overloaded or is_too_much:
            in_vain = [curve.is_slow_anyway() for curve in curves] if is_too_much else []
            self._shrink(is_vain=any(in_vain))
        elif self._used:
            self._grow(is_known=bool(known))
        self._exact = min(float(self.most), max(float(self._least), self._exact))
        changed = int(self._exact)
        if changed != self.calls or self._is_overloaded:
            self.calls, self._since = changed, now
        self._is_overloaded = False
        self._seen = self._used = 0
        for curve in curves:
            curve.window = Mean()

    def _shrink(self, *, is_vain: bool) -> None:
        self._exact *= SHRINKING
        self._is_first = is_vain
        if is_vain:
            self._begin_anew()
        if self._exact < self._least:
            self._first_bytes, self._tokens, self._is_first = Curve(), Curve(), True

    def _grow(self, *, is_known: bool) -> None:
        if not is_known:  # all that was seen with more calls is older than this
            self._begin_anew()
            self._is_first = True
        self._first_bytes.before = self._tokens.before = None
        self._exact += self._exact * (FIRST_GROWTH - 1) if self._is_first else self._exact**0.5 / 2

    def _begin_anew(self) -> None:
        self._first_bytes.begin_anew()
        self._tokens.begin_anew()
