"""What audits may spend: so much an hour, paid after the fact."""

import time

from gateway.ports import Clock

# So much of an hour's money may be spent at once: audits come as their coins fall, not evenly.
BURST_HOURS = 0.25


class Purse:
    """Fills evenly, and is spent from by whole audits, whose cost is known when they are over.

    It holds for one process.  ``pico_per_hour`` is None where nobody set a bound.
    """

    def __init__(self, pico_per_hour: int | None = None, clock: Clock = time.monotonic) -> None:
        self._pico_per_hour = pico_per_hour
        self._clock = clock
        self._most = (pico_per_hour or 0) * BURST_HOURS
        self._left = self._most
        self._since = clock()

    @property
    def has_money(self) -> bool:
        """Whether an audit may begin."""
        if self._pico_per_hour is None:
            return True
        now = self._clock()
        hours, self._since = (now - self._since) / 3600.0, now
        self._left = min(self._most, self._left + hours * self._pico_per_hour)
        return self._left > 0

    def pay(self, pico: int) -> None:
        """An audit is over, and took so much."""
        self._left -= pico
