"""Watches the event loop: whatever holds it up, holds up every request and every stream.

A virtual machine may have its processor taken away, and then nobody in here is to blame.  So the
processor time of the loop's thread is read along with the clock.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.ports import Clock

LOOK_SECONDS = 0.02


@dataclass(slots=True)
class LagWatch:
    """Has the loop call it 50 times a second, and tells how late it did.

    ``clock`` is steady; ``thread_clock`` counts the processor time of the thread that asks.
    """

    clock: Clock
    thread_clock: Clock
    on_look: Callable[[float, float], None]
    _due: float = 0.0
    _computed: float = 0.0
    _next: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch the loop that this is called in."""
        self._wait()
        try:
            yield
        finally:
            if self._next is not None:
                self._next.cancel()

    def look(self) -> None:
        """Tell how late it is, and how much of that the thread may have computed: all that it
        computed since the last look, if that is less."""
        lag = max(0.0, self.clock() - self._due)
        computed = self.thread_clock() - self._computed
        self.on_look(lag, min(lag, computed))
        self._wait()

    def _wait(self) -> None:
        self._due = self.clock() + LOOK_SECONDS
        self._computed = self.thread_clock()
        self._next = asyncio.get_running_loop().call_later(LOOK_SECONDS, self.look)
