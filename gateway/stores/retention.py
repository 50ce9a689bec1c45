"""Keeps streams within their age and size: the oldest records go from the store, now and then."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.ports import Clock, PairEvents, StreamKind
from gateway.stores.redis_keys import stream_key
from gateway.stores.store import Store, StoreFailed

RETENTION_SECONDS = 60.0
# One command trims so many entries at most: a server does nothing else meanwhile.
TRIM_ENTRIES = 10_000
# MEMORY USAGE looks at so many parts of a stream, and takes the others to be like them.
SAMPLES = 50
TRIES = 20
# Books expire by themselves, after the same time everywhere.
TRIMMED = (StreamKind.PAIRS, StreamKind.AUDITS)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long records of a cascade stay, and how many bytes of them; None: for ever, and all."""

    max_age_seconds: float | None = None
    max_bytes: int | None = None


async def enforce(
    store: Store, retention: Mapping[str, Retention], epoch: Clock, events: PairEvents
) -> None:
    """Trim all streams; what fails is told, and is for the next time."""
    for cascade, bounds in retention.items():
        for kind in TRIMMED:
            key = stream_key(kind, cascade)
            try:
                if bounds.max_age_seconds is not None:
                    now = min(epoch(), await time_of_store(store, cascade))
                    oldest = max(0, int((now - bounds.max_age_seconds) * 1000))
                    count = await _trim(store, cascade, key, "MINID", oldest)
                    _tell(events, cascade, "age", count)
                if bounds.max_bytes is not None:
                    count = await _shrink(store, cascade, key, bounds.max_bytes)
                    _tell(events, cascade, "size", count)
            except StoreFailed as error:
                failure = error.failure
                events.store_failed(failure.kind, failure.trouble, cascade, kind)


async def time_of_store(store: Store, cascade: str) -> float:
    """Entries are dated by the store: one gateway with a clock ahead of it must not trim them."""
    seconds, microseconds = await store.command(cascade, "TIME")
    return float(int(seconds) + int(microseconds) / 1e6)


async def _shrink(store: Store, cascade: str, key: str, most: int) -> int:
    """Trim from the oldest until the stream takes at most so many bytes."""
    trimmed = 0
    for _ in range(TRIES):
        used = await store.command(cascade, "MEMORY", "USAGE", key, "SAMPLES", SAMPLES)
        if used is None or int(used) <= most:
            break
        length = int(await store.command(cascade, "XLEN", key))
        if length == 0:
            break
        keep = min(int(length * most / int(used)), length - 1)
        trimmed += await _trim(store, cascade, key, "MAXLEN", keep)
    return trimmed


async def _trim(store: Store, cascade: str, key: str, strategy: str, bound: int) -> int:
    """Trim in steps, and at last to the entry."""
    trimmed = 0
    while True:
        count = int(
            await store.command(cascade, "XTRIM", key, strategy, "~", bound, "LIMIT", TRIM_ENTRIES)
        )
        trimmed += count
        if count == 0:
            break
    return trimmed + int(await store.command(cascade, "XTRIM", key, strategy, "=", bound))


def _tell(events: PairEvents, cascade: str, cause: str, count: int) -> None:
    if count:
        events.pairs_expired(cascade, cause, count)
