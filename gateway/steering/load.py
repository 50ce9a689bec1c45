"""Watches how hard teachers with a queue are pressed, and has thresholds and limits give way.

The servers are asked in the background.  One that shows no queue is asked again much later; what
it has no room for presses it all the same.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from gateway.ports import Clock
from gateway.steering.queue import QueueConfig
from gateway.steering.steered import Steered
from gateway.stores.cancelling import goes_on, in_background, pause
from gateway.upstream.load_page import ServerLoad, ask_for_load
from gateway.upstream.openai import OpenAIModel
from gateway.upstream.pool import ServerPool, Tally
from routing.pressure import Pressure, Seen

# A vendor has no such page, and will not have one in two seconds.
AGAIN_SECONDS = 600.0


class LoadEvents(Protocol):
    """Who hears how pressed a teacher is."""

    def teacher_pressed(self, cascade: str, pressure: Pressure, seen: Seen) -> None:
        """That was seen of it, and makes for this pressure."""

    def load_unknown(self, cascade: str, *, is_unknown: bool) -> None:
        """None of its servers says how it is; or some do again."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A teacher, from when on it is pressed, and who gives way; None: no threshold does."""

    pool: ServerPool
    queue: QueueConfig
    steered: Steered | None = None
    tally: Tally = field(default_factory=Tally)


class LoadWatch:
    """The background task of one gateway; it has nothing to do where no queue is configured."""

    def __init__(self, watched: Mapping[str, Watched], clock: Clock, events: LoadEvents) -> None:
        """``clock`` is steady."""
        self._watched = watched
        self._clock = clock
        self._events = events
        self._silent_until: dict[OpenAIModel, float] = {}
        for one in watched.values():
            one.pool.tally = one.tally

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask in the background."""
        asking = (self._keep_asking(name, one) for name, one in self._watched.items())
        async with in_background(*asking):
            yield

    async def _keep_asking(self, cascade: str, one: Watched) -> None:
        pressure, asked_at, was_unknown = Pressure(), self._clock(), False
        while goes_on():
            loads = await asyncio.gather(*(self.load_of(each) for each in one.pool.servers))
            limit_crowded(one, loads)
            seen, now = seen_in(loads, one.tally.take()), self._clock()
            pressure = pressure.after(seen, one.queue.bounds, now - asked_at)
            asked_at = now
            if one.steered is not None:
                one.steered.pressure, one.steered.pressed_by = pressure.value, pressure.why
            self._events.teacher_pressed(cascade, pressure, seen)
            is_unknown = seen.waiting is None and seen.cache is None
            if is_unknown is not was_unknown:
                was_unknown = is_unknown
                self._events.load_unknown(cascade, is_unknown=is_unknown)
            await pause(one.queue.poll_seconds)

    async def load_of(self, server: OpenAIModel) -> ServerLoad | None:
        """What a server says; None while it is not worth asking, or does not answer."""
        if self._clock() < self._silent_until.get(server, 0.0):
            return None
        load = await ask_for_load(server.endpoint)
        if load == ServerLoad():
            self._silent_until[server] = self._clock() + AGAIN_SECONDS
        return load


def limit_crowded(one: Watched, loads: Sequence[ServerLoad | None]) -> None:
    """Have the limits of those servers shrink at which too many wait."""
    for server, load in zip(one.pool.servers, loads, strict=True):
        if load is not None and (load.waiting or 0.0) > one.queue.waiting_at_most:
            server.overloaded()


def seen_in(loads: Sequence[ServerLoad | None], denied: float | None = None) -> Seen:
    """What all servers of a teacher say together: whoever waits anywhere, and the fullest cache.

    ``denied`` is the share of calls that had no room at any.
    """
    waiting = [load.waiting for load in loads if load is not None and load.waiting is not None]
    caches = [load.cache for load in loads if load is not None and load.cache is not None]
    return Seen(
        waiting=sum(waiting) if waiting else None,
        cache=max(caches) if caches else None,
        denied=denied,
    )
