"""Where replicas of one gateway agree on what holds for a cascade: Redis.

One of them is the controller, by a lease; what it writes is fenced by a revision, so that one whose
lease has run out while it was thinking writes nothing.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.stores.deletions import Deletions
from gateway.stores.redis_keys import (
    controller_key,
    objective_key,
    objectives_key,
    reports_key,
)
from gateway.stores.servers import Servers
from gateway.stores.state_file import read_state, write_state
from gateway.stores.store import Store
from gateway.stores.store_url import StoreUrl

# A controller that says nothing for so long is followed by another.
LEASE_MILLISECONDS = 3_000
# For connecting, and then for each reply.
SECONDS = 1.0
# Of reports that nobody takes up so many are kept: an hour of nine replicas.
MOST_REPORTS = 32_768
FIRST = "0-0"

_LOOK = """
local time = redis.call('TIME')
local owner = redis.call('GET', KEYS[2])
if not owner and ARGV[2] == '1' then
  owner = ARGV[1]
  redis.call('SET', KEYS[2], owner, 'PX', ARGV[5])
elseif owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
local state = false
if revision ~= ARGV[3] then state = redis.call('HGET', KEYS[1], 'state') end
local version = redis.call('HGET', KEYS[1], 'version') or '0'
local order = false
if version ~= ARGV[4] then order = redis.call('HGET', KEYS[1], 'order') end
return {time[1], time[2], owner or '', revision, state or '', version, order or ''}
"""

_WRITE = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[3], 'state', ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
redis.call('XTRIM', KEYS[3], 'MINID', ARGV[5])
return 1
"""

_RESTORE = """
if tonumber(redis.call('HGET', KEYS[1], 'revision') or '0') >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'state', ARGV[2])
return 1
"""

_ORDER = """
local version = redis.call('HGET', KEYS[1], 'version') or '0'
if version ~= ARGV[1] then return {0, version} end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'order', ARGV[3])
redis.call('XADD', KEYS[2], '*', 'entry', ARGV[4])
return {1, ARGV[2]}
"""


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks what holds: the revision and version need not be told again; ``may_lead``: the lease
    may be taken where it is free."""

    replica: str
    revision: int
    version: int
    may_lead: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What the store says: its time in seconds since 1970, the controller, None without one, the
    state's revision and the order's version; state and order themselves only where these are others
    than were asked for."""

    now: float
    owner: str | None
    revision: int
    state: bytes | None
    version: int
    order: bytes | None


@dataclass(frozen=True, slots=True)
class Change:
    """A state of the controller ``replica`` with its revision, in place of that which is ``known``.

    ``cursor`` is the last report that is in it.
    """

    replica: str
    known: int
    revision: int
    state: bytes
    cursor: str


@dataclass(frozen=True, slots=True)
class Ordered:
    """An order with its version, and its line in the history."""

    version: int
    order: bytes
    entry: bytes


class ObjectiveStore:
    """The agreement in Redis.  It has connections of its own: what ships pairs may be slow."""

    def __init__(self, url: StoreUrl) -> None:
        bounds = {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS}
        servers = Servers(replace(url, options={**url.options, **bounds}))
        self._store = Store(servers, Deletions())

    async def tell(self, cascade: str, report: bytes) -> None:
        """Add a report.  Raises StoreFailed; then it may be there all the same."""
        key = reports_key(cascade)
        await self._store.follow(
            cascade, "XADD", key, "MAXLEN", "~", MOST_REPORTS, "*", "report", report
        )

    async def look(self, cascade: str, asking: Asking) -> Seen:
        """What is in force; take the lease where it is free, hold on to it where it is ours.

        Raises StoreFailed.
        """
        keys = objective_key(cascade), controller_key(cascade)
        known = asking.revision, asking.version
        parts = asking.replica, int(asking.may_lead), *known, LEASE_MILLISECONDS
        told: Any = await self._store.follow(cascade, "EVAL", _LOOK, 2, *keys, *parts)
        seconds, micros, owner, revision, state, version, order = (bytes(part) for part in told)
        return Seen(
            now=int(seconds) + int(micros) / 1e6,
            owner=owner.decode() or None,
            revision=int(revision),
            state=state or None,
            version=int(version),
            order=order or None,
        )

    async def order(self, cascade: str, expected: int, change: Ordered) -> tuple[bool, int]:
        """Have an order hold in place of the ``expected`` version; whether it does, and which
        version holds now.  Raises StoreFailed; then it may hold all the same.
        """
        keys = objective_key(cascade), objectives_key(cascade)
        parts = expected, change.version, change.order, change.entry
        told: Any = await self._store.follow(cascade, "EVAL", _ORDER, 2, *keys, *parts)
        return int(told[0]) == 1, int(told[1])

    async def history(self, cascade: str) -> Sequence[bytes]:
        """What was ordered, oldest first.  Raises StoreFailed."""
        told: Any = await self._store.follow(cascade, "XRANGE", objectives_key(cascade), "-", "+")
        return [content.get(b"entry", b"") for _, content in _entries(told)]

    async def reports(self, cascade: str, after: str, most: int) -> Sequence[tuple[str, bytes]]:
        """The reports behind one, oldest first, with their ids.  Raises StoreFailed."""
        told: Any = await self._store.follow(
            cascade, "XRANGE", reports_key(cascade), f"({after}", "+", "COUNT", most
        )
        return [(entry, content.get(b"report", b"")) for entry, content in _entries(told)]

    async def write(self, cascade: str, change: Change) -> bool:
        """Have a state take the place of another, and say whether it did.

        It does not where another is the controller by now.  Reports before the cursor go.  Raises
        StoreFailed; then it may have all the same.
        """
        keys = objective_key(cascade), controller_key(cascade), reports_key(cascade)
        fence = change.replica, change.known
        parts = *fence, change.revision, change.state, change.cursor, LEASE_MILLISECONDS
        told = await self._store.follow(cascade, "EVAL", _WRITE, 3, *keys, *parts)
        return int(told) == 1

    async def restore(self, cascade: str, revision: int, state: bytes) -> bool:
        """Tell a state again to a store that was emptied or went back, and say whether that was so.

        No lease is needed: states only ever become later ones.  Raises StoreFailed.
        """
        key = objective_key(cascade)
        told = await self._store.follow(cascade, "EVAL", _RESTORE, 1, key, revision, state)
        return int(told) == 1

    async def leave(self, cascade: str, replica: str) -> None:
        """Give the lease back, where it is ours.  Raises StoreFailed."""
        script = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"
        await self._store.follow(cascade, "EVAL", script, 1, controller_key(cascade), replica)

    async def close(self) -> None:
        """Close all connections."""
        await self._store.close()


class SavedObjectives:
    """The states, and what was ordered, as files of the state directory, a cascade each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path_of(self, cascade: str) -> Path:
        """Where a cascade's state is."""
        return self._folder / f"objective-{cascade}.json"

    def read(self, cascade: str) -> bytes | None:
        """The state that was last saved; None without one.  Raises OSError."""
        return read_state(self.path_of(cascade))

    def write(self, cascade: str, state: bytes) -> None:
        """Save a state, whole or not at all.  Raises OSError."""
        write_state(self.path_of(cascade), state)

    def order_path_of(self, cascade: str) -> Path:
        """Where a cascade's latest order is."""
        return self._folder / f"ordered-{cascade}.json"

    def read_order(self, cascade: str) -> bytes | None:
        """The order that was last saved; None without one.  Raises OSError."""
        return read_state(self.order_path_of(cascade))

    def write_order(self, cascade: str, order: bytes) -> None:
        """Save an order, whole or not at all.  Raises OSError."""
        write_state(self.order_path_of(cascade), order)

    def add_entry(self, cascade: str, entry: bytes) -> None:
        """Add a line to the history.  Raises OSError."""
        with open(self._history_path(cascade), "ab") as file:
            file.write(entry + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def history(self, cascade: str) -> Sequence[bytes]:
        """What was ordered, oldest first.  Raises OSError."""
        return (read_state(self._history_path(cascade)) or b"").splitlines()

    def _history_path(self, cascade: str) -> Path:
        return self._folder / f"ordered-{cascade}.jsonl"


def _entries(told: Any) -> Iterator[tuple[str, Mapping[bytes, bytes]]]:
    """The ids and contents of a stream's entries, by either version of the protocol."""
    for entry, fields in told or ():
        pairs = fields.items() if isinstance(fields, dict) else _pairs(fields)
        yield bytes(entry).decode(), {bytes(name): bytes(value) for name, value in pairs}


def _pairs(flat: Sequence[Any]) -> Sequence[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
