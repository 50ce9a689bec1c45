"""Keeps a gateway at the generations that the registry in Redis has in force, and says there once a
second how this replica stands.

Nothing waits for Redis: while it is away the state in force stays, and so it does over a restart.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from gateway.api.context import Context
from gateway.stores.cancelling import goes_on, pause
from gateway.stores.failures import Failure
from gateway.stores.generation_store import GenerationStore, SavedGenerations
from gateway.stores.store import StoreFailed
from gateway.succession import Succession
from routing.tally import heartbeat_document

READ_SECONDS = 1.0
# So long a start waits to learn what is in force; then it goes by what was saved.
START_SECONDS = 2.0
# So long the end waits to have this replica forgotten.
END_SECONDS = 1.0


class RegistryWatch:
    """The background task of one gateway; it has nothing to do where no Redis is configured."""

    def __init__(
        self,
        context: Context,
        successions: Mapping[str, Succession],
        store: GenerationStore | None,
        saved: SavedGenerations,
        replica: str,
    ) -> None:
        """``replica`` names this process, and no other before or after it."""
        self._context = context
        self._successions = successions
        self._store = store
        self._saved = saved
        self._replica = replica
        self._read_at = dict.fromkeys(successions, context.epoch())
        self._is_failing = False
        self._in_force: dict[str, bytes] = {}
        self._unsaved: dict[str, bytes] = {}
        self._told_unsaved: set[str] = set()
        self._lost: set[str] = set()
        context.is_starting = store is not None
        if store is not None:
            for name in successions:
                context.observer.metrics.rollouts.watch(name, self._age_of(name))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Know what is in force, as far as it can be known soon; then go on in the background."""
        if self._store is None:
            yield
            return
        self._take_saved()
        first = asyncio.Event()
        task = asyncio.create_task(self._keep_going(self._store, first))
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await first.wait()
        self._context.is_starting = False
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self._end(self._store)

    def _take_saved(self) -> None:
        for name, succession in self._successions.items():
            try:
                document = self._saved.read(name)
            except OSError as error:
                self._tell_of_file(name, error)
                continue
            if document is not None and succession.take_up(document, is_news=False):
                self._in_force[name] = document

    async def _keep_going(self, store: GenerationStore, first: asyncio.Event) -> None:
        while goes_on():
            try:
                await self._round(store, is_first=not first.is_set())
            except Exception:
                self._context.observer.log.exception("bug", message="reading generations failed")
            first.set()
            await pause(READ_SECONDS)

    async def _round(self, store: GenerationStore, *, is_first: bool) -> None:
        names = self._successions
        found = await asyncio.gather(
            *(self._look(store, name, is_first=is_first) for name in names)
        )
        failures = {name: one for name, one in zip(names, found, strict=True) if one is not None}
        if bool(failures) is not self._is_failing:
            self._is_failing = bool(failures)
            self._context.observer.registry_changed(
                {name: (one.kind, one.trouble) for name, one in failures.items()}
            )

    async def _look(
        self, store: GenerationStore, cascade: str, *, is_first: bool
    ) -> Failure | None:
        """Read one cascade's state, take it up, and only then say which one is in force."""
        succession = self._successions[cascade]
        try:
            document = await store.read(cascade)
            self._read_at[cascade] = self._context.epoch()
            await self._take(cascade, document, is_news=not is_first)
            succession.tidy()
            heartbeat = json.dumps(heartbeat_document(succession.heartbeat()))
            await store.tell(cascade, self._replica, heartbeat.encode())
        except StoreFailed as failed:
            succession.tidy()
            return failed.failure
        return None

    async def _take(self, cascade: str, document: bytes | None, *, is_news: bool) -> None:
        succession = self._successions[cascade]
        if document is None:
            # An emptied store says nothing: an operator who wants the first student rolls back.
            if succession.revision and cascade not in self._lost:
                self._lost.add(cascade)
                self._context.observer.generations_lost(cascade, succession.revision)
            return
        if cascade in self._lost:
            self._lost.discard(cascade)
            self._context.observer.generations_found(cascade, is_refused=succession.is_refused)
        revision = succession.revision
        if succession.take_up(document, is_news=is_news):
            if succession.revision < revision:
                await self._keep_later(cascade)
            self._in_force[cascade] = self._unsaved[cascade] = document
        if cascade in self._unsaved:
            await self._save(cascade)

    async def _save(self, cascade: str) -> None:
        """Write what is in force, and go on trying: an older file would be gone by at a start."""
        try:
            await asyncio.to_thread(self._saved.write, cascade, self._unsaved[cascade])
        except OSError as error:
            self._tell_of_file(cascade, error)
            return
        del self._unsaved[cascade]
        self._told_unsaved.discard(cascade)

    async def _keep_later(self, cascade: str) -> None:
        """A store that was restored has an older state; nobody else may have the later one."""
        try:
            await asyncio.to_thread(self._saved.keep_later, cascade, self._in_force[cascade])
        except OSError as error:
            self._tell_of_file(cascade, error)

    async def _end(self, store: GenerationStore) -> None:
        """What a replica counted stays in the store; one that counted nothing leaves no trace."""
        with suppress(TimeoutError, StoreFailed):
            async with asyncio.timeout(END_SECONDS):
                for name, succession in self._successions.items():
                    if not (self._is_failing or succession.has_tried):
                        await store.forget(name, self._replica)
        await store.close()

    def _tell_of_file(self, cascade: str, error: OSError) -> None:
        if cascade not in self._told_unsaved:
            self._told_unsaved.add(cascade)
            path = str(self._saved.path_of(cascade))
            self._context.observer.generations_not_saved(path, error)

    def _age_of(self, cascade: str) -> Callable[[], float]:
        return lambda: max(0.0, self._context.epoch() - self._read_at[cascade])
