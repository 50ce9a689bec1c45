"""Asks Redis what the gateway relies on, over the gateway's own way there; changes nothing."""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from gateway.roots import root_of
from gateway.stores.deletions import Deletions
from gateway.stores.failures import Failure
from gateway.stores.redis_keys import generations_key, replicas_key
from gateway.stores.servers import Servers
from gateway.stores.store import Store, StoreFailed
from gateway.stores.store_url import StoreUrl
from understudy.doctor.clocks import Drift, drift_by_time
from understudy.doctor.findings import Cause, Fault
from understudy.doctor.listing import fault_of_connection
from understudy.doctor.rights import RIGHTS, Right

_SECTIONS = ("server", "replication", "memory", "persistence", "cluster")
# What a server says while it starts, or another takes its place.
_SOON = frozenset({"BusyLoadingError", "MasterDownError", "ClusterDownError", "TryAgainError"})


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """One server.  ``info`` is all that INFO told; empty where this user may not ask.

    ``fsync`` is its ``appendfsync``, None where this user may not ask, as most may not.
    """

    place: str
    info: Mapping[str, Any]
    fsync: str | None
    drift: Drift | None


@dataclass(slots=True)
class StoreSeen:
    """What was seen of the Redis, or of the servers of it.

    ``unknown`` are commands that a server does not have, ``missing`` those that the user may not
    send, ``states`` the documents of cascades' generations, ``heartbeats`` what replicas say; both
    lack a cascade where the user may not ask.
    """

    servers: list[ServerSeen] = field(default_factory=list)
    missing: list[Right] = field(default_factory=list)
    unknown: list[Right] = field(default_factory=list)
    states: dict[str, bytes | None] = field(default_factory=dict)
    heartbeats: dict[str, Mapping[str, bytes]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Visit:
    """One look at the Redis of ``url``, for so many seconds at most; ``epoch`` is our clock."""

    url: StoreUrl
    cascades: Sequence[str]
    seconds: float
    epoch: Callable[[], float]

    async def pay(self) -> StoreSeen | Fault:
        """Look at everything; a Fault where that cannot be done."""
        servers = Servers(self.url)
        store = Store(servers, Deletions(), self.cascades)
        try:
            async with asyncio.timeout(self.seconds):
                return await self._look(store)
        except StoreFailed as failed:
            return fault_of(failed)
        except (RedisError, OSError) as error:  # no sentinel is to be had, or no time is left
            return fault_of_connection(error)
        finally:
            await store.close()

    async def _look(self, store: Store) -> StoreSeen:
        seen, places = StoreSeen(), set()
        for cascade in self.cascades:
            await self._try_rights(store, cascade, seen)
            place = str(await store.servers.address_of(cascade))
            if place not in places:
                places.add(place)
                seen.servers.append(await self._server(store, cascade, place))
            if not any(right.name == "get" for right in seen.missing):
                key = generations_key(cascade)
                seen.states[cascade] = await _allowed(store, cascade, "GET", key)
            told = await _allowed(store, cascade, "HGETALL", replicas_key(cascade))
            if told is not None:
                seen.heartbeats[cascade] = {_text(name): one for name, one in _pairs(told).items()}
        return seen

    async def _try_rights(self, store: Store, cascade: str, seen: StoreSeen) -> None:
        for right in RIGHTS:
            try:
                await store.follow(cascade, *right.command(cascade))
            except StoreFailed as failed:
                if failed.failure.is_of_server:
                    raise
                found = _without(failed.__cause__, seen)
                if found is not None and right not in found:
                    found.append(right)

    async def _server(self, store: Store, cascade: str, place: str) -> ServerSeen:
        info: dict[str, Any] = {}
        for section in _SECTIONS:
            info |= await _allowed(store, cascade, "INFO", section) or {}
        settings = await _allowed(store, cascade, "CONFIG", "GET", "appendfsync")
        fsync = {_text(name): _text(value) for name, value in _pairs(settings).items()}
        return ServerSeen(place, info, fsync.get("appendfsync"), await self._drift(store, cascade))

    async def _drift(self, store: Store, cascade: str) -> Drift | None:
        sent = self.epoch()
        told = await _allowed(store, cascade, "TIME")
        if told is None:
            return None
        seconds, microseconds = told
        return drift_by_time(int(seconds) + int(microseconds) / 1e6, sent, self.epoch())


def _without(error: BaseException | None, seen: StoreSeen) -> list[Right] | None:
    """The list of what is lacking; None where the command was only meant to fail."""
    if isinstance(error, NoPermissionError):
        return seen.missing
    is_unknown = isinstance(error, ResponseError) and "unknown command" in str(error).lower()
    return seen.unknown if is_unknown else None


async def _allowed(store: Store, cascade: str, *parts: str) -> Any:
    """What a command gives, None where this user may not send it."""
    try:
        return await store.follow(cascade, *parts)
    except StoreFailed as failed:
        if isinstance(failed.__cause__, ResponseError) and not failed.failure.is_of_server:
            return None
        raise


def fault_of(failed: StoreFailed) -> Fault:
    """What to say of a server that does not do at all."""
    failure, error = failed.failure, failed.__cause__
    saw = f"{failure.trouble.place}: {_words(failure)}"
    if isinstance(error, AuthenticationError) or "NOAUTH" in failure.kind:
        return Fault(saw, "mend user and password in UNDERSTUDY_REDIS_URL")
    if isinstance(error, ResponseError) or failure.kind in _SOON:
        if failure.kind in _SOON:
            return Fault(saw, "it is starting, or another takes over: ask again", Cause.AWAY)
        return Fault(saw, _ADVICE.get(failure.kind, "see its log, and `redis-cli info`"))
    fault = fault_of_connection(error or failed)
    root = root_of(error or failed)
    cause = Cause.BROKEN if isinstance(root, ssl.SSLError) else fault.cause
    return Fault(saw, fault.advice, cause)


_ADVICE = {
    "ReadOnlyError": "it is a replica: name the server that it copies, or sentinels, in the URL",
    "OutOfMemoryError": "it is full: raise maxmemory, or export pairs with --trim",
    "ResponseError (MISCONF)": "it cannot save, and takes nothing: see its log and its disk",
    "ResponseError (NOREPLICAS)": "it wants more replicas: see min-replicas-to-write",
}


def _words(failure: Failure) -> str:
    said = failure.trouble.strerror
    return failure.kind if not said else f"{failure.kind}: {said}"


def _pairs(told: Any) -> Mapping[Any, Any]:
    """A reply that alternates names and values, or is a mapping already."""
    if told is None or isinstance(told, dict):
        return told or {}
    return dict(zip(told[::2], told[1::2], strict=True))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
