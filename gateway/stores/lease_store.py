"""Where replicas draw from the books of keys' limits: Redis, one pipeline for each server of it.

It has connections of its own, which wait less long than those that ship pairs: requests wait here.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from redis.exceptions import RedisError, ResponseError

from gateway.ports import DrawFailed, Order
from gateway.stores.failures import Failure, failure_of
from gateway.stores.lease_script import command_of, drawn_of
from gateway.stores.redis_keys import limits_key
from gateway.stores.servers import Servers
from gateway.stores.store import REDIRECTS
from gateway.stores.store_url import Address, StoreUrl
from routing.lease import Drawn
from routing.vocabulary import Limit

# For connecting, and then for each reply.
DRAW_SECONDS = 1.0

Told = Mapping[Limit, Drawn] | DrawFailed


@dataclass(slots=True)
class _Moved:
    """The cluster says that the key is elsewhere, and has said where."""

    failure: Failure


class LeaseStore:
    """The books in Redis."""

    def __init__(self, url: StoreUrl) -> None:
        bounds = {"socket_timeout": DRAW_SECONDS, "socket_connect_timeout": DRAW_SECONDS}
        self._servers = Servers(replace(url, options={**url.options, **bounds}))

    async def draw(self, orders: Sequence[Order]) -> Sequence[Told]:
        """Book orders; what is sent elsewhere by a cluster is sent on."""
        told: dict[int, Told | _Moved] = {}
        waiting = list(range(len(orders)))
        for _ in range(REDIRECTS):
            by_server = await self._by_server(waiting, orders, told)
            found = await asyncio.gather(
                *(
                    self._ask_one(address, [orders[number] for number in numbers])
                    for address, numbers in by_server.items()
                )
            )
            for numbers, replies in zip(by_server.values(), found, strict=True):
                told.update(zip(numbers, replies, strict=True))
            waiting = [number for number in waiting if isinstance(told[number], _Moved)]
            if not waiting:
                break
        return [_settled(told[number]) for number in range(len(orders))]

    async def close(self) -> None:
        """Close all connections."""
        await self._servers.close()

    async def _by_server(
        self, numbers: Sequence[int], orders: Sequence[Order], told: dict[int, Told | _Moved]
    ) -> Mapping[Address, list[int]]:
        by_server: dict[Address, list[int]] = {}
        for number in numbers:
            try:
                address = await self._servers.address_of(limits_key(orders[number].key))
            except (RedisError, OSError) as error:  # no sentinel is to be had
                told[number] = _failed(failure_of(error, self._servers.place))
            else:
                by_server.setdefault(address, []).append(number)
        return by_server

    async def _ask_one(self, address: Address, orders: Sequence[Order]) -> list[Told | _Moved]:
        try:
            pipeline = self._servers.client(address).pipeline(transaction=False)
            async with pipeline:
                for order in orders:
                    pipeline.execute_command(*command_of(order.key, order.asks))
                replies = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            return [await self._look_again(error, order, address) for order in orders]
        found: list[Told | _Moved] = []
        for order, reply in zip(orders, replies, strict=True):
            if isinstance(reply, Exception):
                found.append(await self._look_again(reply, order, address))
                continue
            try:
                found.append(drawn_of(order.asks, reply))
            except (TypeError, ValueError):
                found.append(_failed(failure_of(ResponseError("UNREADABLE reply"), address)))
        return found

    async def _look_again(
        self, error: Exception, order: Order, address: Address
    ) -> DrawFailed | _Moved:
        failure = failure_of(error, address)
        if failure.moved_to is not None:
            self._servers.move(limits_key(order.key), failure.moved_to)
            return _Moved(failure)
        if failure.is_of_place:
            await self._servers.forget(address)
        return _failed(failure)


def _failed(failure: Failure) -> DrawFailed:
    return DrawFailed(failure.kind, failure.trouble)


def _settled(told: Told | _Moved) -> Told:
    """It still says MOVED, to and fro: a cluster that is being rebuilt."""
    return _failed(told.failure) if isinstance(told, _Moved) else told
