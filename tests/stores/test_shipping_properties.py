"""Whatever a store does, every record gets there, and none that was not written."""

import asyncio
import itertools
import random
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from gateway.ports import Trouble
from gateway.stores.deletions import Deletions
from gateway.stores.failures import Failure
from gateway.stores.progress import Identity, Stream
from gateway.stores.reading import Placed
from gateway.stores.shipper import Chances, Shipper
from gateway.stores.store import Added, Taker
from tests.stores.opening import opened, record

CASCADES = ("a", "b", "c")


@dataclass
class MoodyStore:
    """Takes records as it likes.  What it has not synced is gone when it starts anew."""

    dice: random.Random
    cascades: frozenset[str] = frozenset(CASCADES)
    deletions: Deletions = field(default_factory=Deletions)
    synced: dict[Stream, list[bytes]] = field(default_factory=dict)
    unsynced: dict[Stream, list[bytes]] = field(default_factory=dict)
    starts: int = 0
    mood: float = 0.3

    async def exchange(
        self, records: Sequence[Placed], cascades: Iterable[str] = (), *, is_durable_wanted: bool
    ) -> Added:
        if self.dice.random() < self.mood / 3:
            self.starts += 1
            self.unsynced.clear()
        added = Added([None] * len(records))
        is_away = self.dice.random() < self.mood
        refused = {name for name in CASCADES if self.dice.random() < self.mood}
        failure = Failure("Moody", Trouble("here"), is_away, False)
        if is_away and self.dice.random() < 0.5:  # the connection breaks: nobody knows how far
            for placed in records[: self.dice.randrange(len(records) + 1)]:
                self.unsynced.setdefault(placed.stream, []).append(placed.frame.record)
            added.away = failure
            return added
        for number, placed in enumerate(records):
            if is_away and self.dice.random() < 0.5:
                added.away = failure
                break
            if placed.frame.cascade in refused:
                added.failures.setdefault(placed.stream, failure)
                continue
            self.unsynced.setdefault(placed.stream, []).append(placed.frame.record)
            added.entries[number] = b"1-0"
        is_durable = is_durable_wanted and self.dice.random() > self.mood
        if is_durable:
            for stream, taken in self.unsynced.items():
                self.synced.setdefault(stream, []).extend(taken)
            self.unsynced.clear()
        names = frozenset({placed.frame.cascade for placed in records} | set(cascades))
        identity = Identity(str(self.starts), "")
        added.takers.append(Taker(identity, names, is_durable, is_durable, False))
        return added

    async def remove_condemned(self) -> dict[str, int]:
        return {}


async def live(seed: int, folder: Path) -> None:
    dice = random.Random(seed)
    store = MoodyStore(dice)
    written: dict[str, list[bytes]] = {name: [] for name in CASCADES}
    number = 0
    for _ in range(4):  # processes, one after the other
        one = opened(folder, 10**8, segment_bytes=dice.choice([200, 2000]))
        seconds = itertools.accumulate(iter(lambda: dice.choice([0.0, 1.0, 10.0]), -1.0))
        chances = Chances(partial(next, seconds), lambda: 0.0, dice.random)
        shipper = Shipper(one.journal, one.holdings, store, one.events, chances)  # type: ignore[arg-type]  # a fake
        for _ in range(25):
            for _ in range(dice.randrange(20)):
                name = dice.choice(CASCADES)
                number += 1
                written[name].append(record(number, dice.randrange(40)))
                assert one.journal.append(name, written[name][-1])
            await shipper.ship_round()
            if dice.random() < 0.5:
                one.holdings.tidy(0.0, 3600.0)
        if dice.random() < 0.5:
            one.close()
        else:  # killed
            one.journal.close()
            for each in one.holdings.folders:
                each.close()
    store.mood = 0.0
    one = opened(folder, 10**8)
    shipper = Shipper(
        one.journal,
        one.holdings,
        store,  # type: ignore[arg-type]  # a fake
        one.events,
        Chances(lambda: 1e9, lambda: 0.0, dice.random),
    )
    for _ in range(200):
        await shipper.ship_round()
    assert one.holdings.unshipped_bytes == 0
    one.journal.rotate()
    one.holdings.tidy(0.0, 3600.0)
    one.close()
    is_any_unsynced = bool(store.unsynced)
    for stream, taken in store.unsynced.items():
        store.synced.setdefault(stream, []).extend(taken)
    for (_, name), taken in store.synced.items():
        assert set(taken) == set(written[name])
    assert sum(len(set(taken)) for taken in store.synced.values()) == number
    assert list(folder.glob("journals/*")) == [] or is_any_unsynced


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_lost_whatever_the_store_does(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(seed, Path(folder)))


@pytest.mark.full
@pytest.mark.timeout(600)
def test_nothing_is_lost_in_many_more_lives() -> None:
    for seed in range(100, 200):
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(live(seed, Path(folder)))
