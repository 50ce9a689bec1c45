"""What was served degraded because the teacher was away: to be audited once it is back.

It is in memory alone, within bounds: the oldest goes first, and is counted.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

MOST_OWED = 1000
MOST_BYTES = 64 * 2**20
# A teacher that fails is tried again after so long.
PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Owed:
    """An audit that is to be begun later, and about how many bytes it keeps until then."""

    begin: Callable[[], None]
    size: int


class Debt:
    """What one cascade owes, oldest first.

    One audit at a time is tried until the teacher has answered it: one that is back may still fail
    at all that it is asked.  ``open`` counts the audits that have begun; after a failure the next
    is ``not_before`` a time of the steady clock.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.open = 0
        self._owed: deque[Owed] = deque()
        self._is_answering = False
        self.not_before = 0.0

    def __len__(self) -> int:
        return len(self._owed)

    def owe(self, owed: Owed) -> int:
        """Remember it, and forget of the oldest as many as there is no room for; gives how many."""
        self._is_answering = False
        self._owed.append(owed)
        self.bytes += owed.size
        dropped = 0
        while len(self._owed) > MOST_OWED or self.bytes > MOST_BYTES:
            self.take()
            dropped += 1
        return dropped

    def may_take(self, now: float) -> bool:
        """Whether another audit may begin."""
        if not self._owed:
            return False
        return self._is_answering or (not self.open and now >= self.not_before)

    def ended(self, now: float, *, is_there: bool | None) -> None:
        """An audit is over; None: the teacher was not asked, or nobody waited for its answer."""
        self.open -= 1
        if is_there is None:
            return
        self._is_answering = is_there
        if not is_there:
            self.not_before = now + PAUSE_SECONDS

    def take(self) -> Owed:
        """The oldest, which is owed no longer.  Raises IndexError where nothing is."""
        gone = self._owed.popleft()
        self.bytes -= gone.size
        return gone
