"""Stored completions as their readers find them in Redis, one tenant's at a time, and their bounds.

Nothing is read here but by a client's own request: what is written goes through the journal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.ports import Clock, Fate, PairEvents, StreamKind
from gateway.stores.completion_scripts import (
    member_of,
    microseconds,
    removal_of,
    replacement_of,
)
from gateway.stores.deletions import Deletions
from gateway.stores.redis_keys import completion_keys
from gateway.stores.retention import Retention, time_of_store
from gateway.stores.servers import Servers
from gateway.stores.store import Store, StoreFailed
from gateway.stores.store_url import StoreUrl

# One command removes so many at most: a server does nothing else meanwhile.
REMOVED_AT_ONCE = 200


class Place(NamedTuple):
    """Where a completion stands among its tenant's: ``time`` in microseconds since 1970."""

    time: int
    id: str


class CompletionStore:
    """What a gateway asks Redis for its clients.  All of it raises StoreFailed.

    It has connections of its own: what ships pairs may be slow.
    """

    def __init__(self, url: StoreUrl) -> None:
        self._store = Store(Servers(url), Deletions())

    async def places(
        self,
        cascade: str,
        tenant: str | None,
        after: Place | None,
        count: int,
        *,
        is_ascending: bool,
    ) -> Sequence[Place]:
        """So many of a tenant's completions, in the order of time, those behind ``after`` alone."""
        own = tenant or ""
        lowest, highest = f"({own}/", f"({own}0"  # "0" comes behind "/"
        if after is not None:
            bound = f"({own}/{after.time:016d}/{after.id}"
            lowest, highest = (bound, highest) if is_ascending else (lowest, bound)
        span = (lowest, highest, "BYLEX") if is_ascending else (highest, lowest, "BYLEX", "REV")
        key = completion_keys(cascade)[3]
        found = await self._store.follow(cascade, "ZRANGE", key, *span, "LIMIT", 0, count)
        return [_place(each) for each in found]

    async def place_of(self, cascade: str, tenant: str | None, completion_id: str) -> Place | None:
        """Where it stands, or stood before a client deleted it; None where it never did."""
        *_, times, deleted, _ = completion_keys(cascade)
        for key in (times, deleted):
            member = member_of(tenant, completion_id)
            score = await self._store.follow(cascade, "ZSCORE", key, member)
            if score is not None:
                return Place(int(float(score)), completion_id)
        return None

    async def heads(
        self, cascade: str, tenant: str | None, ids: Sequence[str]
    ) -> Sequence[bytes | None]:
        """What is said of each; None where it is gone."""
        return await self._values(cascade, 0, tenant, ids)

    async def answers(
        self, cascade: str, tenant: str | None, ids: Sequence[str]
    ) -> Sequence[bytes | None]:
        """The completion of each, or None."""
        return await self._values(cascade, 1, tenant, ids)

    async def request(self, cascade: str, tenant: str | None, completion_id: str) -> bytes | None:
        """What it answers, or None."""
        (found,) = await self._values(cascade, 2, tenant, [completion_id])
        return found

    async def replace_head(
        self, cascade: str, tenant: str | None, completion_id: str, heads: tuple[bytes, bytes]
    ) -> bool:
        """Change what is said of it from the first to the second; False where it was not that."""
        command = replacement_of(cascade, member_of(tenant, completion_id), *heads)
        return bool(await self._store.follow(cascade, *command))

    async def delete(
        self, cascade: str, tenant: str | None, completion_id: str, now: float
    ) -> bool:
        """Have it go for good; whether it was there.  ``now`` counts seconds from 1970."""
        members = [member_of(tenant, completion_id)]
        command = removal_of(cascade, members, is_by_client=True, now=now)
        return bool(await self._store.follow(cascade, *command))

    async def close(self) -> None:
        """Close all connections."""
        await self._store.close()

    async def _values(
        self, cascade: str, number: int, tenant: str | None, ids: Sequence[str]
    ) -> Sequence[bytes | None]:
        if not ids:
            return []
        key = completion_keys(cascade)[number]
        members = [member_of(tenant, each) for each in ids]
        found: Any = await self._store.follow(cascade, "HMGET", key, *members)
        return list(found)


def _place(entry: bytes) -> Place:
    _, time, completion_id = entry.decode().split("/", 2)
    return Place(int(time), completion_id)


@dataclass(frozen=True, slots=True)
class _Excess:
    """Those before ``until``, or as many as have to go so that all take ``most_bytes``."""

    cause: str
    until: str = "+inf"
    most_bytes: int | None = None


async def keep_within(
    store: Store, bounds: Mapping[str, Retention], epoch: Clock, events: PairEvents
) -> None:
    """Remove what is too old or too much, the oldest first; what fails is for the next time."""
    for cascade, bound in bounds.items():
        try:
            now = min(epoch(), await time_of_store(store, cascade))
            if bound.max_age_seconds is not None:
                old = _Excess("age", f"({microseconds(now - bound.max_age_seconds)}")
                await _remove(store, cascade, old, now, events)
            if bound.max_bytes is not None:
                large = _Excess("size", most_bytes=bound.max_bytes)
                await _remove(store, cascade, large, now, events)
        except StoreFailed as error:
            failure = error.failure
            events.store_failed(failure.kind, failure.trouble, cascade, StreamKind.STORED)


async def _remove(
    store: Store, cascade: str, excess: _Excess, now: float, events: PairEvents
) -> None:
    span = ("-inf", excess.until, "BYSCORE", "LIMIT", 0, REMOVED_AT_ONCE)
    while True:
        found = await store.command(cascade, "ZRANGE", completion_keys(cascade)[4], *span)
        command = removal_of(cascade, list(found), now=now, most_bytes=excess.most_bytes)
        count = int(await store.command(cascade, *command))
        if count:
            events.completions_became(cascade, Fate.EXPIRED, excess.cause, count)
        if count < REMOVED_AT_ONCE:
            return
