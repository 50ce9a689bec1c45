"""The end of the event loop's turn: what was written in it leaves then, all of it together.

A write wakes whoever reads at the other end, and that takes longer than judging a draft does.  Of
several requests under way each write would find its reader asleep again; those that leave together
wake it once.
"""

import asyncio
from contextlib import suppress
from typing import ClassVar
from weakref import WeakKeyDictionary

# No write waits for more than so many others to be made.
MOST_WRITES = 8
# A larger one waits for none: until it is written nobody knows that its reader is slow.
MOST_BYTES = 16 * 2**10


class Turn:
    """What one event loop writes.

    ``exchanges`` is how many requests are being answered there, ``flushes`` how often what waited
    was written.
    """

    _of: ClassVar["WeakKeyDictionary[asyncio.AbstractEventLoop, Turn]"] = WeakKeyDictionary()

    def __init__(self) -> None:
        self.exchanges = 0
        self.flushes = 0
        self._writes: list[tuple[asyncio.WriteTransport, bytes]] = []
        self._is_due = False

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "Turn":
        """That loop's, the same for all who ask."""
        turn = cls._of.get(loop)
        if turn is None:
            turn = cls._of[loop] = cls()
        return turn

    def write(self, transport: asyncio.WriteTransport, data: bytes) -> bool:
        """Have that written behind all that waits: at once where no other request is under way and
        nothing waits, or where it is large.  Returns whether it was.

        Nothing is written any more to a transport that closes meanwhile: ``flush`` before that.
        """
        writes = self._writes
        if self.exchanges < 2 and not writes:
            transport.write(data)
            return True
        writes.append((transport, data))
        if len(writes) >= MOST_WRITES or len(data) > MOST_BYTES:
            self.flush()
            return True
        if not self._is_due:
            asyncio.get_running_loop().call_soon(self._end)
            self._is_due = True
        return False

    def flush(self) -> None:
        """Write what waits."""
        self.flushes += 1
        writes, self._writes = self._writes, []
        for transport, data in writes:
            if not transport.is_closing():
                # uvloop's word for a reader that left this very moment
                with suppress(RuntimeError):
                    transport.write(data)

    def _end(self) -> None:
        self._is_due = False
        self.flush()
