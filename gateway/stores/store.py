"""Puts records into their streams, wherever those are, and says how sure that is.

Failures are values here, and nothing is tried again but what a cluster sends elsewhere.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError, ResponseError

from gateway.ports import StreamKind
from gateway.stores.completion_scripts import member_in, removal_of
from gateway.stores.deletions import Deletions, Entry
from gateway.stores.failures import Failure, failure_of
from gateway.stores.pipeline import DELETIONS_PAGE, Question, Reply, ask
from gateway.stores.progress import Identity, Stream
from gateway.stores.reading import Placed
from gateway.stores.redis_keys import stream_key
from gateway.stores.servers import Servers
from gateway.stores.store_url import Address

# A cascade may have moved since it was last looked for, and while that is found out.
REDIRECTS = 3


class StoreFailed(Exception):
    """A single command failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Taker:
    """A server that answered.

    ``is_durable``: all that it took is on its disk; None where it was not asked, or the connection
    that could be asked is gone.  ``is_final``: and
    no replica, which may not have all of it, could take its place.  ``is_evicting``: it throws
    keys away when it is full.
    """

    identity: Identity
    cascades: frozenset[str]
    is_durable: bool | None
    is_final: bool
    is_evicting: bool


@dataclass(slots=True)
class Added:
    """What became of records: ``entries`` has the id of each, None where it was not added.

    ``failures`` are those of streams, ``away`` is one that concerns all.  ``newly_deleted`` are
    cascades of which something is to be deleted that was not known before.
    """

    entries: list[bytes | None]
    failures: dict[Stream, Failure] = field(default_factory=dict)
    away: Failure | None = None
    takers: list[Taker] = field(default_factory=list)
    newly_deleted: set[str] = field(default_factory=set)


class Store:
    """The Redis, or the servers of it."""

    def __init__(
        self, servers: Servers, deletions: Deletions, cascades: Iterable[str] = ()
    ) -> None:
        """``cascades`` are those that are served."""
        self.cascades = frozenset(cascades)
        self.servers = servers
        self.deletions = deletions
        # The connection on which each server's last record was written: no other can ask for it.
        self._written_on: dict[Address, int | None] = {}
        # Entries that were added before their deletion was seen, by cascade and key; of stored
        # completions their members.
        self._condemned: dict[str, dict[str, list[bytes]]] = {}

    async def exchange(
        self, records: Sequence[Placed], cascades: Iterable[str] = (), *, is_durable_wanted: bool
    ) -> Added:
        """Add records to their streams, in order, and read what is to be deleted of their cascades.

        ``cascades`` are further ones to ask for.
        """
        added = Added([None] * len(records))
        waiting = {placed.frame.cascade for placed in records} | set(cascades)
        for _ in range(REDIRECTS):
            if not waiting or added.away is not None:
                break
            moved = await asyncio.gather(
                *(
                    self._ask_one(address, names, records, added, is_durable_wanted)
                    for address, names in (await self._by_server(waiting, added)).items()
                )
            )
            waiting = set().union(*moved)
        for cascade in waiting if added.away is None else ():
            # It still says MOVED, to and fro: a cluster that is being rebuilt.
            address = await self.servers.address_of(cascade)
            self._fail(failure_of(ResponseError("MOVED"), address), {cascade}, records, added)
        return added

    async def command(self, cascade: str, *parts: str | int | bytes) -> Any:
        """One command to the server that has a cascade's streams.  Raises StoreFailed."""
        address = self.servers.place
        try:
            address = await self.servers.address_of(cascade)
            client = self.servers.client(address)
            return await client.execute_command(*parts)  # type: ignore[no-untyped-call]  # untyped
        except (RedisError, OSError) as error:
            failure = failure_of(error, address)
            await self._look_again(failure, {cascade}, address)
            raise StoreFailed(failure) from error

    async def follow(self, cascade: str, *parts: str | int | bytes) -> Any:
        """The same, sent on to wherever a cluster says."""
        for _ in range(REDIRECTS - 1):
            try:
                return await self.command(cascade, *parts)
            except StoreFailed as failed:
                if failed.failure.moved_to is None:
                    raise
        return await self.command(cascade, *parts)

    async def remove_condemned(self) -> dict[str, int]:
        """Remove entries that were added before their deletion was seen; how many, by cascade.

        What cannot be removed now is left for the next time.
        """
        removed: dict[str, int] = {}
        for cascade, keys in list(self._condemned.items()):
            for key, entries in list(keys.items()):
                command: tuple[str | bytes | int, ...] = ("XDEL", key, *entries)
                if key == stream_key(StreamKind.STORED, cascade):
                    command = removal_of(cascade, entries)
                try:
                    count = await self.command(cascade, *command)
                except StoreFailed:
                    continue
                removed[cascade] = removed.get(cascade, 0) + int(count)
                del keys[key]
            if not keys:
                del self._condemned[cascade]
        return removed

    async def close(self) -> None:
        """Close all connections."""
        await self.servers.close()

    async def _by_server(self, cascades: set[str], added: Added) -> dict[Address, set[str]]:
        by_server: dict[Address, set[str]] = {}
        try:
            for cascade in sorted(cascades):
                address = await self.servers.address_of(cascade)
                by_server.setdefault(address, set()).add(cascade)
        except (RedisError, OSError) as error:  # no sentinel is to be had
            added.away = failure_of(error, self.servers.place)
            return {}
        return by_server

    async def _ask_one(
        self,
        address: Address,
        cascades: set[str],
        records: Sequence[Placed],
        added: Added,
        is_durable_wanted: bool,  # noqa: FBT001  # handed through
    ) -> set[str]:
        """Talk to one server; gives the cascades that are elsewhere."""
        numbers = [
            number
            for number, placed in enumerate(records)
            if placed.frame.cascade in cascades and added.entries[number] is None
        ]
        question = Question(
            [records[number] for number in numbers],
            {cascade: self.deletions.next_of(cascade) for cascade in sorted(cascades)},
            is_durable_wanted,
        )
        try:
            reply = await ask(self.servers.client(address), question)
        except (RedisError, OSError) as error:
            failure = failure_of(error, address)
            await self._look_again(failure, cascades, address)
            self._fail(failure, cascades, question.records, added)
            return set()
        moved = await self._take(
            address, dict(zip(numbers, reply.entries, strict=True)), records, added
        )
        for cascade, page in reply.deletions.items():
            if isinstance(page, Exception):
                failure = failure_of(page, address)
                if failure.moved_to is not None:
                    self.servers.move(cascade, failure.moved_to)
                    moved.add(cascade)
            else:
                await self._learn(cascade, page, records, added)
        added.takers.append(self._taker(address, reply, frozenset(cascades - moved)))
        return moved

    async def _take(
        self,
        address: Address,
        entries: dict[int, bytes | Exception],
        records: Sequence[Placed],
        added: Added,
    ) -> set[str]:
        """Note what became of each record; gives the cascades that are elsewhere."""
        moved = set()
        for number, entry in entries.items():
            stream = records[number].stream
            if not isinstance(entry, Exception):
                added.entries[number] = entry
                continue
            failure = failure_of(entry, address)
            if failure.moved_to is not None:
                self.servers.move(stream.cascade, failure.moved_to)
                moved.add(stream.cascade)
                continue
            self._fail(failure, {stream.cascade}, [records[number]], added)
            if stream.cascade not in moved:
                await self._look_again(failure, {stream.cascade}, address)
        return moved

    def _taker(self, address: Address, reply: Reply, cascades: frozenset[str]) -> Taker:
        if any(not isinstance(entry, Exception) for entry in reply.entries):
            self._written_on[address] = reply.connection
            is_same = True
        else:
            before = self._written_on.get(address)
            is_same = before is not None and before == reply.connection
        is_durable = reply.is_durable if is_same else None
        is_final = is_durable is True and not reply.has_replicas
        return Taker(reply.identity, cascades, is_durable, is_final, reply.is_evicting)

    async def _look_again(self, failure: Failure, cascades: set[str], address: Address) -> None:
        if failure.moved_to is not None:
            for cascade in cascades:
                self.servers.move(cascade, failure.moved_to)
        elif failure.is_of_place:
            await self.servers.forget(address)

    def _fail(
        self, failure: Failure, cascades: set[str], records: Sequence[Placed], added: Added
    ) -> None:
        if failure.is_of_server and self.servers.is_one:
            added.away = added.away or failure
            return
        for placed in records:
            if placed.frame.cascade in cascades:
                added.failures.setdefault(placed.stream, failure)

    async def _learn(
        self, cascade: str, page: Sequence[Entry], records: Sequence[Placed], added: Added
    ) -> None:
        """Take what is to be deleted, and condemn what was just added of it."""
        is_any = False
        while True:
            is_any = self.deletions.learn(cascade, page) or is_any
            if len(page) < DELETIONS_PAGE:
                break
            question = Question(
                (), {cascade: self.deletions.next_of(cascade)}, is_durable_wanted=False
            )
            try:
                address = await self.servers.address_of(cascade)
                more = (await ask(self.servers.client(address), question)).deletions[cascade]
            except (RedisError, OSError):
                break  # the next exchange goes on from there
            if isinstance(more, Exception):
                break
            page = more
        if not is_any:
            return
        added.newly_deleted.add(cascade)
        for placed, entry in zip(records, added.entries, strict=True):
            if placed.frame.cascade != cascade or entry is None:
                continue
            if self.deletions.has(cascade, placed.frame.record):
                if placed.frame.kind is StreamKind.STORED:
                    entry = member_in(placed.frame.record)
                keys = self._condemned.setdefault(cascade, {})
                keys.setdefault(stream_key(*placed.stream), []).append(entry)
