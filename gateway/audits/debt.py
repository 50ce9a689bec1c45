"""What was served degraded because the teacher was away: to be audited once it is back.

It is in memory alone, within bounds: the oldest goes first, and is counted.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

MOST_OWED = 1000
MOST_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Owed:
    """An audit that is to be begun later, and about how many bytes it keeps until then."""

    begin: Callable[[], None]
    size: int


class Debt:
    """What one cascade owes, oldest first."""

    def __init__(self) -> None:
        self.bytes = 0
        self._owed: deque[Owed] = deque()

    def __len__(self) -> int:
        return len(self._owed)

    def owe(self, owed: Owed) -> int:
        """Remember it, and forget of the oldest as many as there is no room for; gives how many."""
        self._owed.append(owed)
        self.bytes += owed.size
        dropped = 0
        while len(self._owed) > MOST_OWED or self.bytes > MOST_BYTES:
            self.take()
            dropped += 1
        return dropped

    def take(self) -> Owed:
        """The oldest, which is owed no longer.  Raises IndexError where nothing is."""
        gone = self._owed.popleft()
        self.bytes -= gone.size
        return gone
