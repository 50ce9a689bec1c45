"""One tenant's stored completions, over all cascades that store some: found, listed, changed.

Everything here is asked of Redis while the client waits.  What is another tenant's does not exist.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from gateway.errors import NotFound, RequestError, StoreUnavailable, Unreadable
from gateway.ports import Trouble
from gateway.safekeeping import Safekeeping
from gateway.stored import NotStorable, kept_metadata, sealed_in
from gateway.stores.completions import CompletionStore, Place
from gateway.stores.sealing import SealBroken, Sealer
from gateway.stores.store import StoreFailed
from gateway.stores.store_url import StoreUrl
from gateway.wire.stored import (
    ID,
    Head,
    Listing,
    Objects,
    Page,
    completion_object,
    message_objects,
    read_head,
    read_metadata,
)

# Where a page is filtered, so many completions are looked at, in steps.
MOST_LOOKED_AT = 5_000
STEP = 500
# A page ends before its completions take more than that, after one at the least.
PAGE_BYTES = 8 * 2**20
_TRIES = 5

# How a cascade keeps what clients say, by its name.
Keeper = Callable[[str], Safekeeping]
# Hears the kind of a failure, and what the system says of the store.
OnFailure = Callable[[str, Trouble], None]
_Values = Callable[[str, str | None, Sequence[str]], Awaitable[Sequence[bytes | None]]]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose completions: a tenant, None without keys, and in which ``cascades``."""

    tenant: str | None
    cascades: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Found:
    """One completion; ``raw`` is the head as Redis has it, ``metadata`` in clear."""

    cascade: str
    raw: bytes
    head: Head
    metadata: dict[str, str]


class StoredReader:
    """Raises GatewayErrors alone: StoreUnavailable where Redis is away, Unreadable without the key.

    ``store`` is None without a Redis; ``on_failure`` hears what became of it.
    """

    def __init__(
        self,
        store: CompletionStore | None,
        sealer: Sealer | None,
        on_failure: OnFailure,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._on_failure = on_failure

    async def page(self, owner: Owner, listing: Listing) -> Page:
        """A page of completions."""
        with self._translated():
            found, has_more = await self._found(owner, listing)
            page: list[_Found] = []
            taken = 0
            for each in found:
                taken += each.head.answer_bytes
                if page and taken > PAGE_BYTES:
                    has_more = True
                    break
                page.append(each)
            return Page(await self._objects(owner, page), has_more)

    async def completion(self, owner: Owner, completion_id: str) -> msgspec.Raw:
        """One completion.  Raises NotFound."""
        with self._translated():
            objects = await self._objects(owner, [await self._one(owner, completion_id)])
        if not objects:  # it went meanwhile
            raise _nothing(completion_id)
        return objects[0][1]

    async def messages(self, owner: Owner, completion_id: str) -> Objects:
        """The messages that a completion answers.  Raises NotFound."""
        with self._translated():
            found = await self._one(owner, completion_id)
            kept = await self._asked.request(found.cascade, owner.tenant, completion_id)
            if kept is None:
                raise _nothing(completion_id)
            return await asyncio.to_thread(
                lambda: message_objects(completion_id, self._opened(kept))
            )

    async def attach(
        self, owner: Owner, completion_id: str, metadata: dict[str, str], keeper: Keeper
    ) -> None:
        """Give a completion other metadata, kept as its cascade does.  Raises NotFound."""
        with self._translated():
            for _ in range(_TRIES):
                found = await self._one(owner, completion_id)
                try:
                    kept = kept_metadata(metadata, keeper(found.cascade))
                except NotStorable:
                    raise RequestError(
                        "This metadata could not be redacted, and is not kept without that.",
                        param="metadata",
                    ) from None
                head = msgspec.json.encode(msgspec.structs.replace(found.head, metadata=kept))
                heads = (found.raw, head)
                if await self._asked.replace_head(
                    found.cascade, owner.tenant, completion_id, heads
                ):
                    return
        raise StoreUnavailable("Others are changing this stored chat completion: try again.")

    async def delete(self, owner: Owner, completion_id: str, now: float) -> None:
        """Have a completion go for good, in every cascade that has one so called.

        Raises NotFound.
        """
        with self._translated():
            await self._one(owner, completion_id)
            await asyncio.gather(
                *(
                    self._asked.delete(cascade, owner.tenant, completion_id, now)
                    for cascade in owner.cascades
                )
            )

    async def close(self) -> None:
        """Close all connections."""
        if self._store is not None:
            await self._store.close()

    @property
    def _asked(self) -> CompletionStore:
        if self._store is None:
            raise StoreUnavailable("This gateway has no place to read stored completions from.")
        return self._store

    async def _found(self, owner: Owner, listing: Listing) -> tuple[Sequence[_Found], bool]:
        """What belongs on a page, as far as it is worth looking for."""
        after = await self._cursor(owner, listing)
        wanted, looked_at = listing.limit + 1, 0
        step = STEP if listing.is_filtered else wanted
        found: list[_Found] = []
        while looked_at < MOST_LOOKED_AT:
            places = await self._places(owner, after, step, is_ascending=listing.is_ascending)
            for each in await self._at(owner, places):
                if listing.suits(each.head.model, each.metadata):
                    found.append(each)
            if len(found) >= wanted or len(places) < step:
                return found[: listing.limit], len(found) > listing.limit
            looked_at += len(places)
            after = places[-1][0]
        if not found and after is not None:
            raise RequestError(
                f"None of the first {looked_at} stored chat completions suits: go on with "
                f"after={after.id}, or ask for less",
                param="after",
            )
        return found, True

    async def _cursor(self, owner: Owner, listing: Listing) -> Place | None:
        """Behind what a page begins.

        Of an id that two cascades have it is the later in the list's order: a client that turns
        pages may miss some in between, but comes to an end.
        """
        completion_id = listing.after
        if completion_id is None:
            return None
        found: list[Place | None] = []
        if ID.fullmatch(completion_id):
            found = await asyncio.gather(
                *(
                    self._asked.place_of(cascade, owner.tenant, completion_id)
                    for cascade in owner.cascades
                )
            )
        known = [each for each in found if each is not None]
        if not known:
            raise NotFound(
                "There is no such stored chat completion to go on behind.", param="after"
            )
        return max(known) if listing.is_ascending else min(known)

    async def _places(
        self, owner: Owner, after: Place | None, count: int, *, is_ascending: bool
    ) -> Sequence[tuple[Place, str]]:
        """The next completions of all cascades together, and in which each is."""
        pages = await asyncio.gather(
            *(
                self._asked.places(cascade, owner.tenant, after, count, is_ascending=is_ascending)
                for cascade in owner.cascades
            )
        )
        places = [
            (place, cascade)
            for cascade, page in zip(owner.cascades, pages, strict=True)
            for place in page
        ]
        return sorted(places, reverse=not is_ascending)[:count]

    async def _at(self, owner: Owner, places: Sequence[tuple[Place, str]]) -> Sequence[_Found]:
        """What is there by now, in that order."""
        wanted = [(cascade, place.id) for place, cascade in places]
        heads = await self._values(self._asked.heads, owner, wanted) if wanted else {}
        there = [(each[0], heads[each]) for each in wanted if each in heads]
        return await asyncio.to_thread(lambda: [self._read(*each) for each in there])

    async def _one(self, owner: Owner, completion_id: str) -> _Found:
        """The completion of that id; the newest, should several cascades have one."""
        if not ID.fullmatch(completion_id):
            raise NotFound("There is no such stored chat completion.")
        wanted = [(cascade, completion_id) for cascade in owner.cascades]
        heads = await self._values(self._asked.heads, owner, wanted) if wanted else {}
        if not heads:
            raise _nothing(completion_id)
        found = [self._read(cascade, head) for (cascade, _), head in heads.items()]
        return max(found, key=lambda each: each.head.time)

    async def _objects(self, owner: Owner, found: Sequence[_Found]) -> Objects:
        """Completions as clients read them, without those that went meanwhile."""
        wanted = [(each.cascade, each.head.id) for each in found]
        answers = await self._values(self._asked.answers, owner, wanted) if wanted else {}

        def objects() -> Objects:
            return [
                (each.head.id, completion_object(each.head, each.metadata, self._opened(answer)))
                for each in found
                if (answer := answers.get((each.cascade, each.head.id))) is not None
            ]

        return await asyncio.to_thread(objects)

    async def _values(
        self, read: _Values, owner: Owner, wanted: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], bytes]:
        """What there is of the wanted, by cascade and id: a command for each cascade."""
        by_cascade: dict[str, list[str]] = {}
        for cascade, completion_id in wanted:
            by_cascade.setdefault(cascade, []).append(completion_id)
        pages = await asyncio.gather(
            *(read(cascade, owner.tenant, ids) for cascade, ids in by_cascade.items())
        )
        return {
            (cascade, completion_id): value
            for (cascade, ids), page in zip(by_cascade.items(), pages, strict=True)
            for completion_id, value in zip(ids, page, strict=True)
            if value is not None
        }

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except StoreFailed as error:
            self._on_failure(error.failure.kind, error.failure.trouble)
            raise StoreUnavailable(
                "Stored chat completions cannot be read at the moment."
            ) from None
        except SealBroken:
            raise Unreadable(
                "A stored chat completion is encrypted with a key that this gateway lacks."
            ) from None

    def _read(self, cascade: str, raw: bytes) -> _Found:
        head = read_head(raw)
        metadata = read_metadata(self._opened(bytes(head.metadata)))
        return _Found(cascade, raw, head, metadata)

    def _opened(self, part: bytes) -> bytes:
        token = sealed_in(part)
        if token is None:
            return part
        if self._sealer is None:
            raise SealBroken("there is no key here")
        return self._sealer.open(token)


def _nothing(completion_id: str) -> NotFound:
    return NotFound(f"There is no stored chat completion '{completion_id}'.")


def stored_reader(
    url: StoreUrl | None, sealer: Sealer | None, on_failure: OnFailure
) -> StoredReader:
    """The reader of a Redis, or of none."""
    return StoredReader(None if url is None else CompletionStore(url), sealer, on_failure)
