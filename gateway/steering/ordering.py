"""Takes orders of operators: what a cascade is held to from now on, for all replicas.

In Redis, where there is one; else in the state directory, and then for this process.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from gateway.config_file import ConfigError
from gateway.errors import RequestError, StoreUnavailable
from gateway.ports import Clock
from gateway.steering.config import SteeredConfig
from gateway.steering.link import Link, ordered
from gateway.steering.orders import Entry, Order, refuse_stale
from gateway.stores.objective_store import ObjectiveStore, SavedObjectives
from gateway.stores.store import StoreFailed

_entries = msgspec.json.Decoder(Entry)
_AWAY = "Nobody can say at the moment whether that holds: read the objective again."


@dataclass(frozen=True, slots=True)
class Ordering:
    """The cascades that can be held to something else; ``epoch`` is in seconds since 1970."""

    links: Mapping[str, Link]
    store: ObjectiveStore | None
    saved: SavedObjectives
    epoch: Clock
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def give(
        self, cascade: str, expected: int, objective: SteeredConfig | None, by: str | None
    ) -> Order:
        """Have a cascade held to this, or to its file again, where ``expected`` is the version yet.

        ``by`` is the name of the key.  Raises RequestError, ObjectiveChanged and StoreUnavailable.
        """
        async with self.one_at_a_time:
            return await self._give(cascade, expected, objective, by)

    async def _give(
        self, cascade: str, expected: int, objective: SteeredConfig | None, by: str | None
    ) -> Order:
        link = self.links[cascade]
        if objective is not None:
            try:
                link.allows(objective)
            except ConfigError as error:
                raise RequestError(f"{error}.") from None
        refuse_stale(expected, link.orders.version)
        order, entry = link.orders.next(objective, by, self.epoch())
        change = ordered(order, entry)
        try:
            if self.store is None:
                await asyncio.to_thread(self.saved.write_order, cascade, change.order)
                await asyncio.to_thread(self.saved.add_entry, cascade, change.entry)
            else:
                has_changed, version = await self.store.order(cascade, expected, change)
                if not has_changed:
                    refuse_stale(expected, version)
        except (StoreFailed, OSError) as error:
            raise StoreUnavailable(_AWAY) from error
        link.obey(change.order)
        return order

    async def history(self, cascade: str) -> Sequence[Entry]:
        """All that was ordered, oldest first.  Raises StoreUnavailable."""
        try:
            if self.store is None:
                found = await asyncio.to_thread(self.saved.history, cascade)
            else:
                found = await self.store.history(cascade)
        except (StoreFailed, OSError) as error:
            raise StoreUnavailable("What was ordered cannot be read at the moment.") from error
        return [_entries.decode(each) for each in found]
