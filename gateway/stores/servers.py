"""Which server has a cascade's streams: that of the URL, the one that sentinels name, or the node
of a cluster that has the slot.

There is a plain client for each server, and not the client library's own for clusters: whether a
record is on disk can be asked only on the connection that wrote it.
"""

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from gateway.stores.store_url import Address, StoreUrl

# A cluster has at most a thousand nodes; so many are remembered to ask for the others.
MOST_NODES = 1000


class Servers:
    """Clients by the address of their server, and the way to those."""

    def __init__(self, url: StoreUrl) -> None:
        self._url = url
        self._clients: dict[Address, Redis] = {}
        self._routes: dict[str, Address] = {}
        # Those of the URL, and the cluster's nodes as they become known; the first one is asked.
        self._known = deque(url.addresses)
        self._chosen: Address | None = None
        self._is_cluster = False

    @property
    def is_one(self) -> bool:
        """Whether one server has everything, as far as is known."""
        return not self._is_cluster

    @property
    def place(self) -> Address:
        """The address to name where nothing more exact is known."""
        return self._chosen or self._known[0]

    async def address_of(self, cascade: str) -> Address:
        """The server with that cascade's streams.  Raises RedisError and OSError."""
        routed = self._routes.get(cascade)
        if routed is not None:
            return routed
        if self._url.service is None:
            return self._known[0]
        if self._chosen is None:
            self._chosen = await self._ask_sentinels(self._url.service)
        return self._chosen

    def client(self, address: Address) -> Redis:
        """A client of that server; it connects when it is used."""
        if address not in self._clients:
            self._clients[address] = _client(address, self._url.options)
        return self._clients[address]

    def move(self, cascade: str, address: Address) -> None:
        """The cluster says that the cascade's streams are there."""
        self._is_cluster = True
        self._routes[cascade] = address
        if address not in self._known and len(self._known) < MOST_NODES:
            self._known.append(address)

    async def forget(self, address: Address) -> None:
        """Look again where things are, over new connections; a name may mean another server now."""
        self._chosen = None
        for cascade in [name for name, place in self._routes.items() if place == address]:
            del self._routes[cascade]
        if self._known[0] == address:
            self._known.rotate(-1)
        client = self._clients.pop(address, None)
        if client is not None:
            await _close(client)

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await _close(client)
        self._clients.clear()

    async def _ask_sentinels(self, service: str) -> Address:
        error: Exception = RedisConnectionError("no sentinel")
        for _ in range(len(self._known)):
            sentinel = _client(self._known[0], self._url.sentinel_options)
            try:
                found = await sentinel.execute_command(  # type: ignore[no-untyped-call]  # untyped
                    "SENTINEL", "GET-MASTER-ADDR-BY-NAME", service
                )
                if found is not None:
                    host, port = (bytes(part).decode() for part in found)
                    return Address(host, int(port))
                error = RedisConnectionError("the sentinel knows no such service")
            except (RedisError, OSError) as failed:
                error = failed
            finally:
                await _close(sentinel)
            self._known.rotate(-1)
        raise error


def _client(address: Address, options: Mapping[str, Any]) -> Redis:
    given: dict[str, Any] = dict(options)
    if "path" not in options:
        given |= {"host": address.host, "port": address.port}
    return Redis(connection_pool=ConnectionPool(**given))


async def _close(client: Redis) -> None:
    with suppress(RedisError, OSError):  # of a connection that is broken already
        await client.connection_pool.disconnect()
        await client.aclose()
