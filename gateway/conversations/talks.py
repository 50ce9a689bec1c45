"""The conversations of one cascade, as this replica knows them: what a request is a turn of, and
what becomes known by it.

Nothing here waits: what other replicas have to know is left for ``sharing.py``.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from msgspec import Struct

from gateway.conversations.memory import Known, Memory
from gateway.wire.conversation import Words
from routing.conversation import NOTHING_SAID, Talk, Turn, Whose

# While the store is away, so many turns wait; the oldest go first.
MOST_UNSHARED = 10_000


class Heard(Struct, frozen=True):
    """What is known of a conversation after a turn, and by which digest its next turn finds it."""

    key: bytes
    known: Known


class OpenTurn(Struct, frozen=True):
    """A request as a turn of a conversation.

    ``conversation`` is None where it stands alone, by all that is known.  ``talk`` is what was
    known before it; ``words`` is None where the conversation has a name.
    """

    conversation: bytes | None
    talk: Talk
    words: Words | None = None


class Talks:
    """The conversations of one cascade.

    ``is_wanted``: they are remembered whatever the policy reads.  Where they are shared,
    ``unshared`` are the turns of this replica of which the others have not been told; ``dropped``
    counts those of which they never will.
    """

    def __init__(self, cascade: str, sticky_turns: int, memory: Memory, *, is_wanted: bool) -> None:
        self.is_wanted = is_wanted
        self.unshared: deque[Heard] = deque(maxlen=MOST_UNSHARED)
        self.is_shared = False
        self.dropped = 0
        self._cascade = cascade
        self._sticky_turns = sticky_turns
        self._memory = memory

    def whose(self, tenant: str | None) -> Whose:
        """Whose conversations those of a tenant are told apart from."""
        return Whose(self._cascade, tenant)

    def begin(self, told_by: bytes | Words, now: float) -> OpenTurn:
        """A turn of the conversation with this id, or of that which these words go on with.

        The latter is that of the turn whose answer they repeat, if there is one.  A second turn
        gives the conversation its id, for others may have begun with the same words and been
        answered alike.
        """
        if isinstance(told_by, bytes):
            known = self._memory.recall(told_by, now)
            return OpenTurn(told_by, NOTHING_SAID if known is None else known.talk)
        words = told_by
        known = None if words.before is None else self._memory.recall(words.before, now)
        if known is None:
            return OpenTurn(None, NOTHING_SAID, words)
        return OpenTurn(known.conversation or words.digest, known.talk, words)

    def end(
        self, turn: OpenTurn, came_to: Turn, answer: tuple[str, Sequence[str]] | None, now: float
    ) -> None:
        """A turn was answered.  Without its answer, nobody will know the next turn by its words."""
        key = turn.conversation
        if turn.words is not None:
            key = None if answer is None else turn.words.answered(*answer)
        if key is None:
            return
        heard = Heard(key, Known(turn.conversation, turn.talk.after(came_to, self._sticky_turns)))
        self._memory.keep(heard.key, heard.known, now)
        if self.is_shared:
            self.dropped += len(self.unshared) == MOST_UNSHARED
            self.unshared.append(heard)

    def keep_unshared(self, turns: Sequence[Heard]) -> None:
        """These could not be told of, and are still the next; what is too much of them goes."""
        room = MOST_UNSHARED - len(self.unshared)
        self.dropped += max(len(turns) - room, 0)
        self.unshared.extendleft(reversed(turns[-room:] if room else ()))

    def hear(self, turns: Iterable[Heard], now: float) -> None:
        """Turns that other replicas answered.  Who knows of more turns is right."""
        for heard in turns:
            here = self._memory.recall(heard.key, now)
            if here is None or here.talk.turns < heard.known.talk.turns:
                self._memory.keep(heard.key, heard.known, now)

    def count(self, now: float) -> int:
        """How many conversations are remembered, or turns of such as have no name."""
        return self._memory.count(now)
