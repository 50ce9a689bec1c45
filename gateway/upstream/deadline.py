"""When an exchange has taken too long: one timer for all exchanges of a connection."""

import asyncio
from collections.abc import Callable

# By so much the loop's timers may be early.
ROUNDING_SECONDS = 0.001


class Deadline:
    """A time that is set anew for each exchange, and hardly ever passes.

    A timer that an exchange has left behind is let run, and looks then whether it is needed: making
    and cancelling one for each costs more than the exchange's own arithmetic.  ``close`` it with
    its connection.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_passed: Callable[[], None]) -> None:
        self._loop = loop
        self._on_passed = on_passed
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    def set(self, seconds: float) -> None:
        """Have it pass in so many seconds, and not when it was to pass before."""
        self._at = at = self._loop.time() + seconds
        if self._timer is None or self._rings_at > at:
            self.close()
            self._rings_at, self._at = at, at
            self._timer = self._loop.call_at(at, self._ring)

    def clear(self) -> None:
        """Have it not pass: nothing is waited for."""
        self._at = None

    def close(self) -> None:
        """End the timer too."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if self._at is None:
            return
        left = self._at - self._loop.time()
        if left > ROUNDING_SECONDS:
            self.set(left)
        else:
            self._at = None
            self._on_passed()
