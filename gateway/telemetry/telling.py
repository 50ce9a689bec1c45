"""When it is told what requests came to: some turns of the event loop later, of all together.

Counting, adding up and writing a line is the same work for each of them, and a processor that has
just done it takes half the time for the next.  Nobody waits for it but who asks again as soon as
there is an answer: by then that request is with the student, which this work would keep waiting.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from gateway.facts import RequestSettled

# A client on the same machine has asked again, and its student was asked, after some four.
TURNS = 5


class Telling:
    """Hands on the facts of requests in their order, at once as long as it is not running.

    No more of them wait than were settled in so many turns.
    """

    def __init__(self, tell: Callable[[Sequence[RequestSettled]], None]) -> None:
        self._tell = tell
        self._waiting: list[RequestSettled] = []
        self._is_running = False
        self._is_due = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have facts wait for others, of the turns of the loop that follow."""
        self._is_running, self._is_due = True, False
        try:
            yield
        finally:
            self._is_running = False
            self.tell()

    def add(self, fact: RequestSettled) -> None:
        """A request is over."""
        self._waiting.append(fact)
        if not self._is_running:
            self.tell()
        elif not self._is_due:
            self._is_due = True
            self._tell_in(TURNS)

    def tell(self) -> None:
        """Hand on now what waits: whoever reads what is counted has it all."""
        facts, self._waiting = self._waiting, []
        if facts:
            self._tell(facts)

    def _tell_in(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._tell_in, turns - 1)
        else:
            self._is_due = False
            self.tell()
