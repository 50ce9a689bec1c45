"""How far a stream may be trimmed: never beyond what some reader has yet to do."""

from typing import Any, cast

import redis


def trim(client: redis.Redis, key: str) -> int:
    """Drop the entries that every group has been given and has acknowledged; how many."""
    until = safe_until(client, key)
    if until is None:
        return 0
    return int(cast("Any", client.xtrim(key, minid=until, approximate=False)))


def safe_until(client: redis.Redis, key: str) -> str | None:
    """The first entry that must stay; None where nothing is known to be done with.

    The groups are asked first, and then what they have in hand: what is handed out in between lies
    behind the place that they had reached, and what is acknowledged in between is done with.
    """
    groups = client.xinfo_groups(key)
    bounds = []
    for group in groups:
        reached = _number(group["last-delivered-id"])
        waiting = cast("Any", client.xpending(key, group["name"]))
        if waiting["pending"]:
            bounds.append(_number(waiting["min"]))
        else:
            bounds.append((reached[0], reached[1] + 1))
    if not bounds:
        return None
    milliseconds, sequence = min(bounds)
    return f"{milliseconds}-{sequence}"


def _number(entry: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry.decode().partition("-")
    return int(milliseconds), int(sequence)
