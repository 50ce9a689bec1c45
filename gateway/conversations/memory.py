"""What is remembered of conversations: so many at most, and each for a time after its last turn."""

from collections import OrderedDict

from msgspec import Struct

from routing.conversation import Talk

# In some 45 MB.
MOST_REMEMBERED = 100_000


class Known(Struct, frozen=True):
    """A conversation as it stood after one of its turns.

    ``conversation`` is its id; None where it has had but one turn, and no name: others may have
    begun with the same words.
    """

    conversation: bytes | None
    talk: Talk


class Memory:
    """Knows conversations by their ids and, where they have no names, each turn by its words."""

    def __init__(self, idle_seconds: float, most: int = MOST_REMEMBERED) -> None:
        self._idle_seconds = idle_seconds
        self._most = most
        self._known: OrderedDict[bytes, tuple[float, Known]] = OrderedDict()

    def recall(self, key: bytes, now: float) -> Known | None:
        """What is known of it; None where that is nothing, or too long ago."""
        found = self._known.get(key)
        if found is None or found[0] + self._idle_seconds < now:
            return None
        return found[1]

    def keep(self, key: bytes, known: Known, now: float) -> None:
        """Know this of it from now on, in place of what was known.  Time never goes back."""
        self._known[key] = (now, known)
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def count(self, now: float) -> int:
        """How many are remembered; those that were idle for too long are forgotten by this."""
        known = self._known
        while known and next(iter(known.values()))[0] + self._idle_seconds < now:
            known.popitem(last=False)
        return len(known)
