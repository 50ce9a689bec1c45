"""When it is told what requests came to: at the end of the event loop's turn, of all together.

Counting, adding up and writing a line is the same work for each of them, and a processor that has
just done it takes half the time for the next.  Nobody waits for it, and replies leave before it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from gateway.facts import RequestSettled


class Telling:
    """Hands on the facts of requests in their order, at once as long as it is not running.

    No more of them wait than were settled in one turn.
    """

    def __init__(self, tell: Callable[[Sequence[RequestSettled]], None]) -> None:
        self._tell = tell
        self._waiting: list[RequestSettled] = []
        self._is_running = False
        self._is_due = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have facts wait for the end of the turn of the loop in which they come."""
        self._is_running = True
        try:
            yield
        finally:
            self._is_running = False
            self._tell_all()

    def add(self, fact: RequestSettled) -> None:
        """A request is over."""
        self._waiting.append(fact)
        if not self._is_running:
            self._tell_all()
        elif not self._is_due:
            asyncio.get_running_loop().call_soon(self._tell_all)
            self._is_due = True

    def _tell_all(self) -> None:
        self._is_due = False
        facts, self._waiting = self._waiting, []
        self._tell(facts)
