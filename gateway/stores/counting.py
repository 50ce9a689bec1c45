"""Counts now and then what is in the store, and how far the exports are: never while a client, or
Prometheus, waits."""

from collections.abc import Mapping
from typing import Any

from gateway.ports import PairEvents
from gateway.stores.redis_keys import EXPORT_GROUP, pairs_key
from gateway.stores.store import Store, StoreFailed

COUNT_SECONDS = 30.0


async def count_pairs(store: Store, events: PairEvents) -> None:
    """Count the pairs of all cascades that are served; what cannot be counted now is unknown."""
    for cascade in sorted(store.cascades):
        key = pairs_key(cascade)
        stored = unread = None
        try:
            stored = int(await store.command(cascade, "XLEN", key))
            if await store.command(cascade, "EXISTS", key):  # or XINFO fails
                unread = _unread(await store.command(cascade, "XINFO", "GROUPS", key), stored)
        except StoreFailed:
            pass  # whoever ships meets an outage too, and tells of it
        events.pairs_counted(cascade, stored, unread)


def _unread(groups: list[Any], stored: int) -> int | None:
    """How many pairs the exporters' group was not given yet, or has not acknowledged.

    A pair that was handed out is in no export before it is acknowledged.  A server does not know
    how far a group lags behind once something was deleted out of the middle of a stream.
    """
    for told in groups:
        group = _named(told)
        if group.get(b"name") != EXPORT_GROUP.encode():
            continue
        lag = group.get(b"lag")
        if group.get(b"last-delivered-id") == b"0-0":
            return stored
        return None if lag is None else int(lag) + int(group[b"pending"])
    return None


def _named(told: Any) -> Mapping[bytes, Any]:
    """A reply that alternates names and values, or is a mapping already."""
    return told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
