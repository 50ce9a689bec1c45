"""Keeps in mind how much the students' contexts hold, which their servers are asked now and then.

A server that is started anew may have another, and a student that is let in has its own.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from gateway.api.context import Context
from gateway.errors import UpstreamError, UpstreamRefused
from gateway.server_facts import RoomLearnt
from gateway.stores.cancelling import in_background
from gateway.upstream.listing import ask_for_room
from gateway.upstream.openai import OpenAIModel
from gateway.upstream.pool import ServerPool

LOOK_SECONDS = 30.0
# What a server said is asked again after so long.
KEEP_SECONDS = 600.0


class RoomWatch:
    """Asks the servers of all students that serve, and of those that are tried."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asked_at: WeakKeyDictionary[OpenAIModel, float] = WeakKeyDictionary()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask in the background; nobody waits for it, and no answer is no harm."""
        async with in_background(self._watch()):
            yield

    async def look(self) -> None:
        """Ask each server of which nothing is known, or not of late."""
        await asyncio.gather(*(self._ask(name, server) for name, server in self._due()))

    async def _watch(self) -> None:
        try:
            while True:
                await self.look()
                await asyncio.sleep(LOOK_SECONDS)
        except Exception:
            self._context.observer.log.exception("bug", message="asking for contexts ended")

    def _due(self) -> Iterable[tuple[str, OpenAIModel]]:
        now = self._context.clock()
        for name, served in list(self._context.served.items()):
            candidate = [] if served.trial is None else [served.trial.candidate]
            for each in (served, *candidate):
                pool = each.cascade.student.chat
                for server in pool.servers if isinstance(pool, ServerPool) else ():
                    if now - self._asked_at.get(server, float("-inf")) >= KEEP_SECONDS:
                        yield name, server

    async def _ask(self, cascade: str, server: OpenAIModel) -> None:
        try:
            room = await ask_for_room(server.endpoint)
        except UpstreamRefused:
            room = None
        except UpstreamError as failure:
            if failure.is_down:
                return
            room = None  # it has no such list to show
        is_news = room != server.room or server not in self._asked_at
        self._asked_at[server], server.room = self._context.clock(), room
        if is_news:
            tokens = None if room is None else room.tokens
            fact = RoomLearnt(cascade, server.endpoint.base_url, tokens)
            self._context.observer.room_learnt(fact)
