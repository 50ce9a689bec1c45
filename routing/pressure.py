"""How hard a teacher is pressed, and what that makes its answers cost: a threshold that gives way.

Nothing here knows a server or a clock: what was seen of it, and how long ago, are arguments.
"""

import math
from dataclasses import dataclass

# A rise is followed in seconds, for a queue grows fast; a fall slowly, so that drafts do not go
# back and forth while the queue that they made room in fills again.
RISE_SECONDS = 5.0
FALL_SECONDS = 20.0
# Less strain than pressure by no more than this changes nothing.
BAND = 0.05
# Pressure that has nearly gone is gone.
LEAST = 0.005
# Of the cache's bound: a busy server fills its cache, and that alone is no trouble.
CACHE_FROM = 0.8
# Where an adaptive limit holds, this is how a server's latency presses.
DENIED_AT_MOST = 0.5


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a teacher; None is what nobody knows.

    ``waiting`` requests in its queue, ``cache`` the part of it in use, ``denied`` the share of
    calls that had no room.
    """

    waiting: float | None = None
    cache: float | None = None
    denied: float | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is too much: at these the strain is whole."""

    waiting_at_most: float = 8.0
    cache_at_most: float = 0.9


def strain(seen: Seen, bounds: Bounds) -> tuple[float, str]:
    """How strained it is now, in [0, 1], by the worst that was seen; and which that is, in words.

    0 and an empty text where nothing was seen, or nothing that matters.
    """
    cache_from = CACHE_FROM * bounds.cache_at_most
    found = [
        (_ramp(seen.waiting, 0.0, bounds.waiting_at_most), f"{seen.waiting or 0:g} waiting"),
        (
            _ramp(seen.cache, cache_from, bounds.cache_at_most),
            f"{seen.cache or 0:.0%} of its cache in use",
        ),
        (_ramp(seen.denied, 0.0, DENIED_AT_MOST), f"{seen.denied or 0:.0%} of calls had no room"),
    ]
    worst, why = max(found, key=lambda one: one[0])
    return worst, why if worst > 0.0 else ""


@dataclass(frozen=True, slots=True)
class Pressure:
    """The strain, smoothed, in [0, 1]; ``why`` says in words what it rests on."""

    value: float = 0.0
    why: str = ""

    def after(self, seen: Seen, bounds: Bounds, seconds: float) -> "Pressure":
        """What it is once that was seen, so many seconds after the last time."""
        worst, why = strain(seen, bounds)
        if worst > self.value:
            value = _towards(self.value, worst, seconds / RISE_SECONDS)
        elif worst < self.value - BAND or worst == 0.0:
            value = _towards(self.value, worst, seconds / FALL_SECONDS)
        else:
            value = self.value
        if worst == 0.0 and value < LEAST:
            return Pressure()
        return Pressure(value, why or "what pressed it is going")


def eased(threshold: float, pressure: float, floor: float) -> float:
    """The threshold that holds under a pressure: evenly from ``threshold`` down to ``floor``.

    A draft is deferred where the gain expected of the teacher, 1 - merit, is above its price,
    1 - threshold; a queue adds a shadow price to that.  The threshold never rises, falls with the
    pressure, and is ``floor`` only under all of it.  One that is not above ``floor``, or that keeps
    nothing, stays: where less merit was never certified, as under a quality objective, ``floor`` is
    the threshold itself.
    """
    if threshold <= floor or math.isinf(threshold):
        return threshold
    share = min(1.0, max(0.0, pressure))
    return max(floor, threshold - (threshold - floor) * share)


def _ramp(value: float | None, low: float, high: float) -> float:
    """0 up to ``low``, 1 from ``high`` on, evenly between."""
    if value is None or math.isnan(value):
        return 0.0
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _towards(value: float, goal: float, time_constants: float) -> float:
    return goal + (value - goal) * math.exp(-max(0.0, time_constants))
