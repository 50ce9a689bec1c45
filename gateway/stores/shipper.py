"""Takes pairs from the journal to Redis, off the request path, for as long as it takes.

At least once: a crash between the two steps ships a batch again, and readers tell equal pairs by
their id.  A Redis that is away is tried again, ever more slowly up to ``MAX_PAUSE_SECONDS``.
"""

import asyncio

import msgspec
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError

from gateway.errors import root_of, words_of
from gateway.ports import PairEvents, Trouble
from gateway.stores.journal import Journal, trouble_of
from gateway.stores.redis_keys import pairs_key

DEFAULT_PORT = 6379
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
        self._place = _place_of(redis)
        self._careful = 0  # so many pairs are shipped one at a time

    async def run(self) -> None:
        """Ship until cancelled."""
        pause = FIRST_PAUSE_SECONDS
        while _goes_on():
            try:
                shipped = await self.ship_batch()
                pause = FIRST_PAUSE_SECONDS
                if not shipped:
                    await asyncio.sleep(IDLE_SECONDS)
            except (RedisError, OSError) as error:
                self._tell(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE_SECONDS)

    async def ship_batch(self) -> int:
        """Ship the oldest batch; returns how many lines it had.  Raises RedisError and OSError."""
        batch = self._journal.next_batch(1 if self._careful else BATCH_PAIRS)
        if not batch.lines:
            return 0
        # A batch of which a part fails is shipped again, one pair at a time until all of it is
        # through: that keeps one bad stream from filling the good ones with copies.
        self._careful = max(self._careful, len(batch.lines))
        parsed = [self._parse(line) for line in batch.lines]
        pairs = [line for line in parsed if line is not None]
        async with self._redis.pipeline(transaction=False) as pipeline:
            for line in pairs:
                pipeline.xadd(pairs_key(line.cascade), {"pair": bytes(line.pair)})
            await pipeline.execute()
        self._careful -= len(batch.lines)
        for line in pairs:
            self._events.pair_shipped(line.cascade)
        self._journal.mark_shipped(batch.end)
        return len(batch.lines)

    async def flush(self, seconds: float) -> None:
        """Ship what is left, for at most ``seconds``; what remains is in the journal."""
        try:
            async with asyncio.timeout(seconds):
                while _goes_on() and await self.ship_batch():
                    pass
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        root = root_of(error)
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):  # the journal's
            trouble = trouble_of(error, self._journal.path)
        else:
            number = root.errno if isinstance(root, OSError) else None
            # What the server says of a password is fixed text; other replies may quote a pair.
            said = str(error) if isinstance(error, AuthenticationError) else words_of(root)
            trouble = Trouble(self._place, number, said)
        self._events.store_failed(_kind_of(error, root), trouble)

    def _parse(self, line: bytes) -> _Line | None:
        try:
            return _line.decode(line)
        except (msgspec.MsgspecError, RecursionError):  # as a rule half a line: a killed process
            self._events.pair_lost(None, "unreadable", Trouble(str(self._journal.path)))
            return None


def _goes_on() -> bool:
    """Whether nobody has cancelled this task.

    Python 3.11's wait_for, which the Redis client uses, may swallow a cancellation that comes just
    as a write ends: then nothing but the task's own count remembers it.
    """
    task = asyncio.current_task()
    return task is None or not task.cancelling()


def _place_of(redis: Redis) -> str:
    """Where it is, without user and password."""
    options = redis.connection_pool.connection_kwargs
    path = options.get("path")
    return path or f"{options.get('host', 'localhost')}:{options.get('port', DEFAULT_PORT)}"


def _kind_of(error: Exception, root: BaseException) -> str:
    """What went wrong, without the server's whole message: that may quote a command, and a pair."""
    kind = type(error).__name__
    if root is not error:
        beneath = type(root).__name__
        return kind if beneath == kind else f"{kind} ({beneath})"
    # The client says "Command # 1 (XADD ... the pair ...) of pipeline caused error: ('OOM ...',)".
    said = str(error).rpartition("caused error: ")[2].lstrip("(\"'")
    code = said.partition(" ")[0]
    return f"{kind} ({code})" if code.isalpha() and code.isupper() and len(code) > 1 else kind
