"""A journal, a real store and a shipper between them, with a clock that tests turn on."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from gateway.ports import StreamKind
from gateway.stores.deletions import Deletions
from gateway.stores.redis_keys import stream_key
from gateway.stores.servers import Servers
from gateway.stores.shipper import Chances, Shipper
from gateway.stores.store import Store
from gateway.stores.store_url import parse_store_url
from tests.stores.opening import Opened, opened

KEEP_SECONDS = 3600.0


@dataclass
class Shipping(Opened):
    """``seconds`` is the steady clock; ``now`` the one that counts from 1970."""

    store: Store = field(init=False)
    shipper: Shipper = field(init=False)
    seconds: float = 0.0

    def tidy(self, later: float = 0.0) -> None:
        """What the gateway does every second, so much later."""
        self.now += later
        self.journal.tidy(self.now)
        self.holdings.tidy(self.now, KEEP_SECONDS)

    async def rounds(self, count: int = 30) -> None:
        """So many rounds, each of them long after the one before."""
        for _ in range(count):
            self.seconds += 60
            await self.shipper.ship_round()

    async def end(self) -> None:
        """Let everything go, as the gateway does when it ends."""
        await self.store.close()
        self.close()


def begin(url: str, folder: Path, **options: float) -> Shipping:
    """Open it; whoever does has to end it."""
    one = opened(folder, 10**8, **options)  # type: ignore[arg-type]  # int and float
    parts = Shipping(one.journal, one.holdings, one.events)
    parts.store = Store(Servers(parse_store_url(url)), Deletions(), ("a", "b"))
    chances = Chances(lambda: parts.seconds, lambda: parts.now, lambda: 0.0)
    parts.shipper = Shipper(one.journal, one.holdings, parts.store, one.events, chances)
    return parts


@contextlib.asynccontextmanager
async def shipping(url: str, folder: Path, **options: float) -> AsyncIterator[Shipping]:
    """The same for a block."""
    parts = begin(url, folder, **options)
    try:
        yield parts
    finally:
        await parts.end()


def stored(
    client: "redis.Redis", cascade: str = "a", kind: StreamKind = StreamKind.PAIRS
) -> list[int]:
    """The ids of the records in a stream."""
    with client:
        entries: Any = client.xrange(stream_key(kind, cascade))
    return [json.loads(fields[b"pair"])["id"] for _, fields in entries]


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for what happens in another process."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # it happens in another process
            await asyncio.sleep(0.01)
