"""Takes pairs from the journal to Redis, off the request path, for as long as it takes.

At least once: a crash between the two steps ships a batch again, and readers tell equal pairs by
their id.  A Redis that is away is tried again, ever more slowly up to ``MAX_PAUSE_SECONDS``.
"""

import asyncio

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.ports import PairEvents
from gateway.stores.journal import Journal
from gateway.stores.redis_keys import pairs_key

BATCH_PAIRS = 100
IDLE_SECONDS = 0.2
FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 5.0


class _Line(msgspec.Struct):
    cascade: str
    pair: msgspec.Raw


_line = msgspec.json.Decoder(_Line)


class Shipper:
    """The background task of one journal and one Redis."""

    def __init__(self, journal: Journal, redis: Redis, events: PairEvents) -> None:
        self._journal = journal
        self._redis = redis
        self._events = events
        self._most = BATCH_PAIRS

    async def run(self) -> None:
        """Ship until cancelled."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                shipped = await self.ship_batch()
                pause = FIRST_PAUSE_SECONDS
                if not shipped:
                    await asyncio.sleep(IDLE_SECONDS)
            except (RedisError, OSError) as error:
                self._events.store_failed(type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE_SECONDS)

    async def ship_batch(self) -> int:
        """Ship the oldest batch; returns how many lines it had.  Raises RedisError and OSError."""
        batch = self._journal.next_batch(self._most)
        if not batch.lines:
            return 0
        # A batch of which a part fails is shipped again.  One pair at a time until that is over
        # keeps one bad stream from filling the good ones with copies.
        self._most = 1
        parsed = [self._parse(line) for line in batch.lines]
        pairs = [line for line in parsed if line is not None]
        async with self._redis.pipeline(transaction=False) as pipeline:
            for line in pairs:
                pipeline.xadd(pairs_key(line.cascade), {"pair": bytes(line.pair)})
            await pipeline.execute()
        self._most = BATCH_PAIRS
        self._journal.mark_shipped(batch.end)
        for line in pairs:
            self._events.pair_shipped(line.cascade)
        return len(batch.lines)

    async def flush(self, seconds: float) -> None:
        """Ship what is left, for at most ``seconds``; what remains is in the journal."""
        try:
            async with asyncio.timeout(seconds):
                while await self.ship_batch():
                    pass
        except (RedisError, OSError, TimeoutError) as error:
            self._events.store_failed(type(error).__name__)

    def _parse(self, line: bytes) -> _Line | None:
        try:
            return _line.decode(line)
        except msgspec.MsgspecError:  # the torn end of a process that was killed
            self._events.pair_lost(None, "torn")
            return None
