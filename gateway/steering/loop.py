"""Holds all steered cascades of this process: once a second, in the background.

No request waits for any of it.  While the store is away what holds goes on holding, and what was to
be reported waits.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
from structlog.typing import FilteringBoundLogger

from gateway.ports import Clock
from gateway.steering.link import Link
from gateway.stores.cancelling import goes_on, pause
from gateway.stores.failures import Failure
from gateway.stores.objective_store import ObjectiveStore, SavedObjectives
from gateway.stores.store import StoreFailed

ROUND_SECONDS = 1.0
# A start waits so long to learn what holds; then it goes by what was saved.
START_SECONDS = 2.0
END_SECONDS = 1.0
# A state is saved where another standing holds, and otherwise so often.
SAVE_SECONDS = 10.0


class LoopEvents(Protocol):
    """Who hears how the loop fares."""

    log: FilteringBoundLogger

    def steering_changed(self, cascades: Sequence[str], why: Mapping[str, Any]) -> None:
        """The store cannot be asked about these cascades any more; none: it can about all."""

    def state_not_saved(self, path: str, error: OSError) -> None:
        """A state could not be read from or written to the state directory."""


class SteeringLoop:
    """The background task of one gateway; it has nothing to do where no cascade is steered."""

    def __init__(
        self,
        links: Mapping[str, Link],
        store: ObjectiveStore | None,
        saved: SavedObjectives,
        events: LoopEvents,
        epoch: Clock,
    ) -> None:
        """``epoch`` is in seconds since 1970; ``store`` None: this process is alone."""
        self.links = links
        self._store = store
        self._saved = saved
        self._events = events
        self._epoch = epoch
        self._failures: dict[str, Failure] = {}
        self._saved_at: dict[str, float] = {}
        self._saved_revision: dict[str, int] = {}
        self._saved_version: dict[str, int] = {}
        self._unsaved: set[Path] = set()
        self._broken: set[str] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Know what holds, as far as it can be known soon; then go on in the background."""
        if not self.links:
            if self._store is not None:
                await self._store.close()
            yield
            return
        for name, link in self.links.items():
            link.start(*await self._read(name))
        first = asyncio.Event()
        task = asyncio.create_task(self._keep_going(first))
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await first.wait()
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self._end()

    async def _keep_going(self, first: asyncio.Event) -> None:
        while goes_on():
            try:
                await self.round()
            except Exception:
                self._events.log.exception("bug", message="steering failed")
            first.set()
            await pause(ROUND_SECONDS)

    async def round(self) -> None:
        """Each cascade once: report, look, steer, save."""
        found = await asyncio.gather(*(self._one(link) for link in self.links.values()))
        names = zip(self.links, found, strict=True)
        failures = {name: failure for name, failure in names if failure is not None}
        if failures.keys() != self._failures.keys():
            self._events.steering_changed(sorted(failures), _told(failures))
        self._failures = failures
        for name in self.links:
            await self._save(name)

    async def _one(self, link: Link) -> Failure | None:
        try:
            if self._store is None:
                link.round_alone(self._epoch())
            else:
                await link.round(self._store, self._epoch())
        except StoreFailed as failed:
            return failed.failure
        except Exception:
            # The others go on; what it is about would be said again in each second.
            if link.cascade not in self._broken:
                self._broken.add(link.cascade)
                self._events.log.exception(
                    "bug", cascade=link.cascade, message="steering failed: the last standing stays"
                )
            return None
        self._broken.discard(link.cascade)
        return None

    async def _read(self, name: str) -> tuple[bytes | None, bytes | None]:
        """The state and the order that were saved."""
        found: list[bytes | None] = [None, None]
        for place, read in enumerate((self._saved.read, self._saved.read_order)):
            try:
                found[place] = await asyncio.to_thread(read, name)
            except OSError as error:
                self._events.state_not_saved(str(self._saved.path_of(name)), error)
        return found[0], found[1]

    async def _save(self, name: str, *, is_last: bool = False) -> None:
        """Write what holds, for a start while the store is away."""
        link, now = self.links[name], self._epoch()
        if link.state is None:
            return
        await self._save_order(name, link)
        is_news = link.state.said.revision != self._saved_revision.get(name)
        is_due = now - self._saved_at.get(name, 0.0) >= SAVE_SECONDS
        if not (is_news or is_due or is_last):
            return
        revision, path = link.state.said.revision, self._saved.path_of(name)
        if await self._written(path, partial(self._saved.write, name, link.content)):
            self._saved_at[name], self._saved_revision[name] = now, revision

    async def _save_order(self, name: str, link: Link) -> None:
        """Without a store whoever takes the order saves it, before it says that it holds."""
        if self._store is None or link.orders.version == self._saved_version.get(name, 0):
            return
        latest, path = link.orders.latest, self._saved.order_path_of(name)
        order = msgspec.json.encode(latest)
        if await self._written(path, partial(self._saved.write_order, name, order)):
            self._saved_version[name] = latest.version

    async def _written(self, path: Path, write: Callable[[], None]) -> bool:
        """Write a file, and say whether that went well; of one that cannot be, it is told once."""
        try:
            await asyncio.to_thread(write)
        except OSError as error:
            if path not in self._unsaved:
                self._unsaved.add(path)
                self._events.state_not_saved(str(path), error)
            return False
        self._unsaved.discard(path)
        return True

    async def _end(self) -> None:
        """What was collected is told, and the lease given back, so that nobody waits for it."""
        with suppress(TimeoutError, StoreFailed):
            async with asyncio.timeout(END_SECONDS):
                await self.round()
                for name, link in self.links.items():
                    if self._store is not None and link.is_controller:
                        await self._store.leave(name, link.here.replica)
        for name in self.links:
            await self._save(name, is_last=True)
        if self._store is not None:
            await self._store.close()


def _told(failures: Mapping[str, Failure]) -> Mapping[str, Any]:
    """What the log has of one of them: mostly they are one and the same."""
    if not failures:
        return {}
    failure = next(iter(failures.values()))
    trouble = failure.trouble
    return {
        "error": failure.kind,
        "place": trouble.place,
        "errno": trouble.errno,
        "strerror": trouble.strerror,
    }
