"""All that keeps pairs, as one thing: the journal, its directories, and their way to Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.ports import JournalState, PairEvents, StreamKind
from gateway.stores.cancelling import goes_on, pause
from gateway.stores.completions import keep_within
from gateway.stores.counting import COUNT_SECONDS, count_pairs
from gateway.stores.deletions import Deletions
from gateway.stores.holdings import Holdings
from gateway.stores.journal import Journal, JournalOptions
from gateway.stores.reading import oldest_time
from gateway.stores.retention import RETENTION_SECONDS, Retention, enforce
from gateway.stores.servers import Servers
from gateway.stores.shipper import Chances, Shipper
from gateway.stores.store import Store
from gateway.stores.store_url import StoreUrl

FLUSH_SECONDS = 5.0
RESTART_SECONDS = 5.0
TIDY_SECONDS = 1.0
ADOPT_SECONDS = 10.0
# One part of so many of the journal's bound.
BACKED_UP_PART = 8


@dataclass(frozen=True, slots=True)
class PairStoreOptions:
    """``url`` is None without a Redis: then records stay in the journal.

    ``retention`` has every cascade that is served, ``completions`` the bounds of those whose
    completions are stored, or once were.
    """

    state_dir: Path
    journal: JournalOptions
    keep_seconds: float
    url: StoreUrl | None
    retention: Mapping[str, Retention] = field(default_factory=dict)
    completions: Mapping[str, Retention] = field(default_factory=dict)


class PairStore:
    """What the gateway knows of its pairs: it writes them here, and this does all the rest."""

    def __init__(
        self,
        options: PairStoreOptions,
        events: PairEvents,
        chances: Chances,
        new_name: Callable[[], str],
    ) -> None:
        """Open the journal.  Raises OSError where the state directory is no use."""
        self._options = options
        self._events = events
        self._chances = chances
        self._holdings = Holdings(options.state_dir, new_name, options.journal.max_bytes, events)
        self._journal = Journal(
            self._holdings.own, self._holdings, options.journal, events, chances.epoch
        )
        self._oldest: float | None = None
        self._store: Store | None = None
        self._shipper: Shipper | None = None
        if options.url is not None:
            self._store = Store(Servers(options.url), Deletions(), options.retention)
            self._shipper = Shipper(self._journal, self._holdings, self._store, events, chances)

    @property
    def has_room(self) -> bool:
        """Whether a record of usual size could be written now."""
        return self._journal.has_room

    def state(self) -> JournalState:
        """How the journal stands now, and a second ago how old the oldest record was."""
        unshipped = self._holdings.unshipped_bytes
        return JournalState(
            unshipped_bytes=unshipped,
            kept_bytes=self._holdings.held_bytes - unshipped,
            oldest_unshipped=self._oldest if unshipped else None,
            has_room=self.has_room,
        )

    @property
    def is_backed_up(self) -> bool:
        """Whether so much waits for the store that an outage of a few hours does not explain it."""
        return self._holdings.unshipped_bytes > self._options.journal.max_bytes // BACKED_UP_PART

    def append(self, cascade: str, record: bytes, *, kind: StreamKind = StreamKind.PAIRS) -> bool:
        """Write one record so that it survives the process; False where it is lost."""
        return self._journal.append(cascade, record, kind=kind)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ship and tidy in the background; at the end flush, and close everything."""
        self._holdings.take(self._holdings.find_orphans())
        work: list[Callable[[], Awaitable[None]]] = [self._keep_tidy]
        if self._shipper is not None:
            work += [self._shipper.run, self._retain, self._count]
        tasks = [asyncio.create_task(self._keep_going(each)) for each in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if self._shipper is not None:
                await self._shipper.flush(FLUSH_SECONDS)
            await self._close()

    async def tidy(self) -> None:
        """Look after the directories, and tell how they stand."""
        now = self._chances.epoch()
        await asyncio.to_thread(self._journal.probe)
        self._journal.tidy(now)
        self._holdings.tidy(now, self._options.keep_seconds)
        unshipped = self._holdings.unshipped()
        self._oldest = await asyncio.to_thread(oldest_time, unshipped) if unshipped else None

    async def _close(self) -> None:
        self._journal.close()
        self._holdings.tidy(self._chances.epoch(), self._options.keep_seconds)
        self._holdings.close()
        if self._store is not None:
            await self._store.close()

    async def _keep_tidy(self) -> None:
        last_adoption = self._chances.clock()
        while goes_on():
            await self.tidy()
            await pause(TIDY_SECONDS)
            if self._chances.clock() - last_adoption >= ADOPT_SECONDS:
                last_adoption = self._chances.clock()
                # Not in a thread: who is cancelled there would hold locks that nobody knows of.
                self._holdings.take(self._holdings.find_orphans())

    async def _retain(self) -> None:
        bounded = {
            name: bounds
            for name, bounds in self._options.retention.items()
            if bounds != Retention()
        }
        stored = self._options.completions
        while self._store is not None and (bounded or stored) and goes_on():
            await enforce(self._store, bounded, self._chances.epoch, self._events)
            await keep_within(self._store, stored, self._chances.epoch, self._events)
            await pause(RETENTION_SECONDS)

    async def _count(self) -> None:
        while self._store is not None and goes_on():
            await count_pairs(self._store, self._events)
            await pause(COUNT_SECONDS)

    async def _keep_going(self, work: Callable[[], Awaitable[None]]) -> None:
        """Start it again should it ever end: the journal must not fill up in silence."""
        while True:
            try:
                return await work()  # it returns once this task is cancelled
            except Exception:  # noqa: BLE001  # the listener logs it
                self._events.shipping_ended()
                await pause(RESTART_SECONDS)
