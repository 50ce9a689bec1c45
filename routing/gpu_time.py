"""Whose the rent of a model server's GPUs is: the calls' that are open there, in equal parts.

Every instant's rent is shared equally among the calls that are open at the server; with none open
it is idle.  Exact to the pico-dollar: what calls took and what was idle come to the rent.  Time is
an argument, in whole nanoseconds of any steady clock.

The meter keeps one running number, what a call that was always open would have taken; a call took
what that grew by while it was open, so that no event looks at more than one call.  (The virtual
time of processor sharing: Parekh and Gallager 1993, "A Generalized Processor Sharing Approach to
Flow Control", section III.)
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from routing.money import PICO_PER_USD

NANOSECONDS_PER_SECOND = 10**9
_SECONDS_PER_HOUR = 3600


def pico_per_hour(usd_per_hour: Decimal) -> int:
    """Convert a rent, or what may be spent, in USD per hour.

    Raises ValueError where it is negative, not finite, or finer than a pico-dollar.
    """
    if not usd_per_hour.is_finite() or usd_per_hour < 0:
        raise ValueError(f"USD an hour must be a finite number of at least 0, got {usd_per_hour}")
    pico = Fraction(usd_per_hour) * PICO_PER_USD
    if pico.denominator != 1:
        raise ValueError(f"USD an hour have at most twelve decimals, got {usd_per_hour}")
    return int(pico)


@dataclass(frozen=True, slots=True)
class Rent:
    """What a server's GPUs cost together in pico-dollars an hour, at least 0.

    ``gateways``, at least 1, is among how many gateways that is shared in equal parts.
    """

    pico_per_hour: int
    gateways: int = 1

    def of(self, nanoseconds: int) -> int:
        """One gateway's part for the first so many nanoseconds, in whole pico-dollars."""
        hour = _SECONDS_PER_HOUR * NANOSECONDS_PER_SECOND
        return self.pico_per_hour * nanoseconds // (hour * self.gateways)

    def per_token(self, tokens_per_second: Fraction) -> int:
        """What a token costs a server that is never idle, rounded to whole pico-dollars."""
        return round(Fraction(self.pico_per_hour, _SECONDS_PER_HOUR) / tokens_per_second)


class GpuMeter:
    """One server's rent since ``now``, and how far it is shared out.

    A clock that goes back is taken to stand still.
    """

    def __init__(self, rent: Rent, now: int) -> None:
        self._rent = rent
        self._began = self._now = now
        self._paid = 0
        self._each = 0
        self._rest = 0  # of the rent so far, less than a pico-dollar for each open call
        self._idle = 0
        self._open = 0
        self._lanes = 0

    def lane(self) -> "GpuLane":
        """A lane for one of the models that the server serves."""
        self._lanes += 1
        return GpuLane(self, self._lanes - 1)

    def begin(self, now: int) -> int:
        """A call opens: the running number by then."""
        self._advance(now)
        self._open += 1
        return self._each

    def end(self, now: int) -> int:
        """A call is over: the running number by then."""
        self._advance(now)
        self._open -= 1
        if not self._open:
            self._idle += self._rest
            self._rest = 0
        return self._each

    def lap(self, now: int) -> int:
        """The running number by now."""
        self._advance(now)
        return self._each

    def standing(self, now: int, place: int) -> tuple[int, int]:
        """The running number, and one lane's equal part of what is idle, without a change."""
        part = self._due(now)
        each = self._each + (part // self._open if self._open else 0)
        idle = self._idle + (0 if self._open else part)
        return each, (idle + self._lanes - 1 - place) // self._lanes

    def _due(self, now: int) -> int:
        """The rent that is not shared out yet."""
        return self._rent.of(max(now, self._now) - self._began) - self._paid + self._rest

    def _advance(self, now: int) -> None:
        if now <= self._now:
            return
        part = self._due(now)
        self._paid += part - self._rest
        self._now = now
        if self._open:
            each, self._rest = divmod(part, self._open)
            self._each += each
        else:
            self._idle += part


class GpuLane:
    """What the calls to one model take of its server's rent; several models may share a server."""

    def __init__(self, meter: GpuMeter, place: int) -> None:
        self._meter = meter
        self._place = place
        self._open = 0
        self._taken = 0
        self._at = 0

    def open(self, now: int) -> int:
        """A call opens.  Its mark is for ``close`` or ``lap``."""
        mark = self._meter.begin(now)
        self._settle(mark)
        self._open += 1
        return mark

    def close(self, now: int, mark: int) -> int:
        """A call is over: what it took since its mark, in pico-dollars."""
        each = self._meter.end(now)
        self._settle(each)
        self._open -= 1
        return each - mark

    def lap(self, now: int, mark: int) -> tuple[int, int]:
        """What a call took since its mark, and the mark from which it goes on."""
        each = self._meter.lap(now)
        return each - mark, each

    def rent(self, now: int) -> int:
        """The lane's part of the rent so far: what its calls took, and an equal part of the idle.

        The parts of all lanes are the server's rent, but for what is less than a pico-dollar for
        each call that is open.  It never falls.
        """
        each, idle = self._meter.standing(now, self._place)
        return self._taken + self._open * (each - self._at) + idle

    def _settle(self, each: int) -> None:
        self._taken += self._open * (each - self._at)
        self._at = each
