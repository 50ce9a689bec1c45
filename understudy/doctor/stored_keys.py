"""Reads the clients' keys in Redis as a gateway does."""

import asyncio
from collections.abc import Collection

from redis.exceptions import NoPermissionError

from gateway.key_sources import tenants_in
from gateway.stores.key_store import KeyStore
from gateway.stores.redis_keys import KEYS_KEY
from gateway.stores.store import StoreFailed
from gateway.stores.store_url import StoreUrl
from understudy.doctor.findings import Fault, Finding, State, Subject
from understudy.doctor.process import keys_finding
from understudy.doctor.store import fault_of

PLACE = f"{KEYS_KEY} in Redis"
_LOST = (
    "nobody may ask. Where Redis has lost them, put back what `keys.json` in a gateway's state "
    "directory has (docs/keys.md); only where there never were any: `understudy keys create NAME`"
)
_RIGHTS = "a gateway knows none of them: ACL SETUSER USER +hget +hlen +hgetall"


async def stored_keys(
    url: StoreUrl, models: Collection[str], seconds: float, now: float
) -> Finding:
    """What is to be said of them."""
    store = KeyStore(url)
    try:
        async with asyncio.timeout(seconds):
            await store.mark()
            kept = await store.read()
    except TimeoutError:
        return Finding(Subject.KEYS, State.AWAY, f"{PLACE}: timed out", "ask again")
    except StoreFailed as failed:
        if isinstance(failed.__cause__, NoPermissionError):
            fault = Fault(f"{PLACE}: this user may not read them", _RIGHTS)
        else:
            fault = fault_of(failed)
        return fault.finding(Subject.KEYS, f"look at {KEYS_KEY}")
    finally:
        await store.close()
    if kept is None:
        return Finding(Subject.KEYS, State.HINT, f"there is no {PLACE}", _LOST)
    tenants, left_out = tenants_in(kept)
    if left_out:
        name, why = next(iter(left_out.items()))
        return Finding(
            Subject.KEYS,
            State.PROBLEM,
            f"{len(left_out)} of {len(kept.entries)} in {PLACE} are none",
            f"{name}: {why}; `understudy keys revoke {name}` removes it",
        )
    return keys_finding(tuple(tenants.values()), PLACE, models, now)
