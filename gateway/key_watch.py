"""Keeps a gateway at the keys that stand in the keys file and in Redis, looking once a second.

No request waits for it: whoever asks is held against the keys that are in force.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from gateway.key_sources import KeySource
from gateway.keys import Keys, Tenant
from gateway.stores.cancelling import goes_on, in_background, pause
from gateway.telemetry.observer import Observer

READ_SECONDS = 1.0
# So long a start waits to learn which keys there are.
START_SECONDS = 2.0


class KeyWatch:
    """The background task of one gateway; it has nothing to do where no keys are asked for."""

    def __init__(self, keys: Keys, sources: Sequence[KeySource], observer: Observer) -> None:
        """Where two sources have a key of the same name, or the same key, the first one has it."""
        self._keys = keys
        self._sources = sources
        self._observer = observer
        self._current: Sequence[Mapping[bytes, Tenant] | None] = [None] * len(sources)
        self._unseen = len(sources)
        self._all_seen = asyncio.Event()
        self._began = 0.0
        if sources:
            self._take()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look in the background, at each source at its own pace: Redis may be long in failing."""
        self._began = asyncio.get_running_loop().time()
        try:
            async with in_background(*map(self._follow, self._sources)):
                yield
        finally:
            for source in self._sources:
                await source.close()

    async def wait_known(self) -> None:
        """Wait for the first look at each, but not for long: then it goes by what was saved."""
        if not self._sources:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._began + START_SECONDS):
                await self._all_seen.wait()

    async def _follow(self, source: KeySource) -> None:
        is_first = True
        while goes_on():
            try:
                await source.look()
                self._take()
            except Exception:
                self._observer.log.exception("bug", message="reading keys failed")
            self._unseen -= is_first
            is_first = False
            if not self._unseen:
                self._all_seen.set()
            await pause(READ_SECONDS)

    def _take(self) -> None:
        self._keys.is_waiting = not all(source.is_known for source in self._sources)
        current = [each.tenants for each in self._sources]
        if all(new is old for new, old in zip(current, self._current, strict=True)):
            return
        self._current = current
        found: dict[bytes, Tenant] = {}
        names: set[str] = set()
        doubled: set[str] = set()
        for tenants in current:
            for digest, tenant in tenants.items():
                if digest in found or tenant.key in names:
                    doubled.add(tenant.key)
                else:
                    found[digest] = tenant
                    names.add(tenant.key)
        self._keys.take(found)
        for name in sorted(doubled):
            self._observer.log.warning(
                "key_doubled",
                key=name,
                message="this key, or its name, stands in the keys file too or twice in Redis: the "
                "first one holds",
            )
