"""Has replicas hear of each other's turns, about once a second.

No request waits for Redis: while it is away each replica goes by the turns that it answered itself.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from gateway.api.context import Context
from gateway.conversations.talks import Heard, Talks
from gateway.stores.cancelling import goes_on, pause
from gateway.stores.failures import Failure
from gateway.stores.store import StoreFailed
from gateway.stores.turn_store import MOST_IN_ENTRY, Page

ROUND_SECONDS = 1.0
# So long the end waits to tell of the last turns.
END_SECONDS = 1.0
# Who begins hears of what was answered so long before, as far as the stream has it.
BEGIN_SECONDS = 600.0
# So many pages are read in one round; what is left comes with the next.
MOST_PAGES = 20


class TurnLog(Protocol):
    """Where replicas tell each other of turns."""

    async def tell(self, cascade: str, turns: Sequence[Heard]) -> None:
        """Tell of turns, at most MOST_IN_ENTRY.  Raises StoreFailed."""

    async def read(self, cascade: str, after: bytes) -> Page:
        """What others told after a place, or a time in milliseconds.  Raises StoreFailed."""

    async def close(self) -> None:
        """Close all connections."""


class TurnSharing:
    """The background task of one gateway; it has nothing to do where no Redis is configured, and
    for cascades that remember no conversations."""

    def __init__(self, context: Context, store: TurnLog | None) -> None:
        self.context = context
        self._store = store
        self._read: dict[str, bytes] = {}
        self._is_failing = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tell and hear while this is open; at the end tell of the last turns, within a bound."""
        if self._store is None:
            yield
            return
        for one in self.context.served.values():
            if one.talks is not None:
                one.talks.is_shared = True
        task = asyncio.create_task(self._keep_going(self._store))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            with suppress(TimeoutError, StoreFailed):
                async with asyncio.timeout(END_SECONDS):
                    for cascade, talks in self._remembering().items():
                        await self._tell(self._store, cascade, talks)
            await self._store.close()

    def _remembering(self) -> dict[str, Talks]:
        served = self.context.served
        return {
            name: one.talks
            for name, one in served.items()
            if one.talks is not None and one.is_remembering
        }

    async def _keep_going(self, store: TurnLog) -> None:
        while goes_on():
            try:
                await self.round(store)
            except Exception:
                self.context.observer.log.exception("bug", message="sharing turns failed")
            await pause(ROUND_SECONDS)

    async def round(self, store: TurnLog) -> None:
        """Have every cascade that remembers conversations tell and hear once."""
        cascades = self._remembering()
        found = await asyncio.gather(
            *(self._exchange(store, name, talks) for name, talks in cascades.items())
        )
        failures = [failure for failure in found if failure is not None]
        if bool(failures) is not self._is_failing:
            self._is_failing = bool(failures)
            told = (failures[0].kind, failures[0].trouble) if failures else None
            self.context.observer.turns_shared(told)

    async def _exchange(self, store: TurnLog, cascade: str, talks: Talks) -> Failure | None:
        if talks.dropped:
            self.context.observer.metrics.conversations.dropped(cascade, talks.dropped)
            talks.dropped = 0
        try:
            await self._tell(store, cascade, talks)
            await self._hear(store, cascade, talks)
        except StoreFailed as failed:
            return failed.failure
        return None

    async def _tell(self, store: TurnLog, cascade: str, talks: Talks) -> None:
        """What could not be told is told again: who has heard it before learns nothing new."""
        unshared = talks.unshared
        while unshared:
            batch = [unshared.popleft() for _ in range(min(len(unshared), MOST_IN_ENTRY))]
            try:
                await store.tell(cascade, batch)
            except BaseException:
                talks.keep_unshared(batch)
                raise

    async def _hear(self, store: TurnLog, cascade: str, talks: Talks) -> None:
        context = self.context
        after = self._read.get(cascade)
        if after is None:
            after = b"%d" % max(0.0, (context.epoch() - BEGIN_SECONDS) * 1000.0)
        for _ in range(MOST_PAGES):
            page = await store.read(cascade, after)
            after = self._read[cascade] = page.last
            talks.hear(page.turns, context.clock())
            if not page.is_full:
                return
