"""Where replicas tell each other of turns: a stream of Redis, with digests and counts alone.

An entry has what one replica answered in about a second.  What is lost of it is known to the
replica that answered, and to no other.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.conversations.memory import Known
from gateway.conversations.talks import Heard
from gateway.stores.deletions import Deletions
from gateway.stores.redis_keys import turns_key
from gateway.stores.servers import Servers
from gateway.stores.store import Store
from gateway.stores.store_url import StoreUrl
from routing.conversation import ID_BYTES, Talk

# Together some 100,000 turns where there are many of them, and at most 24 MB.
MOST_ENTRIES = 2000
MOST_IN_ENTRY = 250
# So many entries are read at a time, in some 5 ms of processor time.
PAGE = 50
# Of a turn: the digest that its next one has, the conversation's, and what ``Talk`` counts.
_TURN = struct.Struct(f">{ID_BYTES}s{ID_BYTES}sHHHHII")
_NO_ID = bytes(ID_BYTES)
VERSION = 1


@dataclass(frozen=True, slots=True)
class Page:
    """Turns that were answered elsewhere.  ``last`` is where the next page begins."""

    turns: Sequence[Heard]
    last: bytes
    is_full: bool


class TurnStore:
    """The streams.  It has connections of its own: what ships pairs may be slow."""

    def __init__(self, url: StoreUrl, replica: str) -> None:
        """``replica`` names this process, and no other before or after it."""
        self._store = Store(Servers(url), Deletions())
        self._replica = replica.encode()

    async def tell(self, cascade: str, turns: Sequence[Heard]) -> None:
        """Tell of turns, at most MOST_IN_ENTRY.  Raises StoreFailed."""
        bound = ("MAXLEN", "~", MOST_ENTRIES, "*")
        fields = ("replica", self._replica, "version", VERSION, "turns", packed(turns))
        await self._store.follow(cascade, "XADD", turns_key(cascade), *bound, *fields)

    async def read(self, cascade: str, after: bytes) -> Page:
        """What others told after an entry, or a time in milliseconds.  Raises StoreFailed."""
        found = await self._store.follow(
            cascade, "XRANGE", turns_key(cascade), b"(" + after, "+", "COUNT", PAGE
        )
        turns: list[Heard] = []
        for _, fields in found:
            is_other = fields.get(b"replica") != self._replica
            if is_other and fields.get(b"version") == b"%d" % VERSION:
                turns.extend(unpacked(fields.get(b"turns", b"")))
        return Page(turns, found[-1][0] if found else after, len(found) == PAGE)

    async def close(self) -> None:
        """Close all connections."""
        await self._store.close()


def packed(turns: Sequence[Heard]) -> bytes:
    """Turns as they stand in an entry."""
    return b"".join([_packed(turn.key, turn.known) for turn in turns])


def unpacked(turns: bytes) -> Iterator[Heard]:
    """The same as they were; none where that is no whole number of turns."""
    if len(turns) % _TURN.size:
        return
    for key, conversation, *counts in _TURN.iter_unpack(turns):
        yield Heard(key, Known(None if conversation == _NO_ID else conversation, Talk(*counts)))


def _packed(key: bytes, known: Known) -> bytes:
    talk = known.talk
    return _TURN.pack(
        key,
        known.conversation or _NO_ID,
        talk.turns,
        talk.judged,
        talk.deferred,
        talk.sticky,
        talk.student_read,
        talk.teacher_read,
    )
