"""Books of limits that fail, or let their answer wait, when they are told to; and a listener."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.drawing import OwnBooks
from gateway.ports import DrawFailed, Order, Trouble
from routing.lease import Drawn
from routing.vocabulary import Limit

AWAY = DrawFailed("ConnectionError", Trouble("redis:6379"))


class ScriptedBooks:
    """``orders`` are those that came; ``answers`` is clear while no answer goes out."""

    def __init__(self, own: OwnBooks | None = None) -> None:
        """``own`` may be shared, as Redis is."""
        self.own = own or OwnBooks(lambda: 0.0)
        self.orders: list[Order] = []
        self.is_away = False
        self.is_closed = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def draw(self, orders: Sequence[Order]) -> Sequence[Mapping[Limit, Drawn] | DrawFailed]:
        self.orders += orders
        await self.answers.wait()
        return [AWAY] * len(orders) if self.is_away else await self.own.draw(orders)

    async def close(self) -> None:
        self.is_closed = True


@dataclass
class RememberedLimits:
    """What was told of limits."""

    limited_by: list[Limit | None] = field(default_factory=list)
    failed_draws: int = 0
    changes: list[DrawFailed | None] = field(default_factory=list)

    def limited(self, limit: Limit | None) -> None:
        self.limited_by.append(limit)

    def draw_failed(self) -> None:
        self.failed_draws += 1

    def limits_changed(self, failure: DrawFailed | None) -> None:
        self.changes.append(failure)
