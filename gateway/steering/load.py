"""Watches how hard the teachers of steered cascades are pressed, and has their thresholds give way.

The servers are asked in the background.  One that does not say is taken to be at ease: what it
refuses is denied then, as ever.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from gateway.ports import Clock
from gateway.steering.queue import QueueConfig
from gateway.steering.steered import Steered
from gateway.stores.cancelling import goes_on, pause
from gateway.upstream.load_page import ServerLoad, ask_for_load
from gateway.upstream.openai import Endpoint
from routing.pressure import Pressure, Seen


class LoadEvents(Protocol):
    """Who hears how pressed a teacher is."""

    def teacher_pressed(self, cascade: str, pressure: Pressure, seen: Seen) -> None:
        """That was seen of it, and makes for this pressure."""

    def load_unknown(self, cascade: str, *, is_unknown: bool) -> None:
        """None of its servers says how it is; or some do again."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A teacher's servers, from when on they are pressed, and the cascade that gives way."""

    steered: Steered
    endpoints: Sequence[Endpoint]
    queue: QueueConfig


class LoadWatch:
    """The background task of one gateway; it has nothing to do where no queue is configured."""

    def __init__(self, watched: Mapping[str, Watched], clock: Clock, events: LoadEvents) -> None:
        """``clock`` is steady."""
        self._watched = watched
        self._clock = clock
        self._events = events

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask in the background."""
        tasks = [
            asyncio.create_task(self._keep_asking(name, one)) for name, one in self._watched.items()
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _keep_asking(self, cascade: str, one: Watched) -> None:
        pressure, asked_at, was_unknown = Pressure(), self._clock(), False
        while goes_on():
            loads = await asyncio.gather(*map(ask_for_load, one.endpoints))
            seen, now = seen_in(loads), self._clock()
            pressure = pressure.after(seen, one.queue.bounds, now - asked_at)
            asked_at, one.steered.pressure = now, pressure.value
            self._events.teacher_pressed(cascade, pressure, seen)
            is_unknown = seen == Seen()
            if is_unknown is not was_unknown:
                was_unknown = is_unknown
                self._events.load_unknown(cascade, is_unknown=is_unknown)
            await pause(one.queue.poll_seconds)


def seen_in(loads: Sequence[ServerLoad | None]) -> Seen:
    """What all servers of a teacher say together: whoever waits anywhere, and the fullest cache."""
    waiting = [load.waiting for load in loads if load is not None and load.waiting is not None]
    caches = [load.cache for load in loads if load is not None and load.cache is not None]
    return Seen(waiting=sum(waiting) if waiting else None, cache=max(caches) if caches else None)
