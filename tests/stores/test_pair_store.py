import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.stores import pair_store as pair_store_module
from gateway.stores.holdings import Holdings
from gateway.stores.journal import JournalOptions
from gateway.stores.pair_store import PairStore, PairStoreOptions
from gateway.stores.retention import Retention
from gateway.stores.shipper import Chances
from gateway.stores.store_url import parse_store_url
from tests.fakes.pair_events import RememberingEvents
from tests.fakes.valkey import StoreServer, store_server
from tests.stores.opening import record
from tests.stores.shipping import begin, stored, until
from tests.stores.test_deletions import release


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreServer]:
    (tmp_path / "store").mkdir()
    with store_server(tmp_path / "store") as server:
        yield server


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_store_module, "TIDY_SECONDS", 0.01)
    monkeypatch.setattr(pair_store_module, "ADOPT_SECONDS", 0.0)
    monkeypatch.setattr(pair_store_module, "RESTART_SECONDS", 0.0)
    monkeypatch.setattr(pair_store_module, "COUNT_SECONDS", 0.01)


_numbers = itertools.count()


def pair_store(
    folder: Path, url: str | None, retention: dict[str, Retention] | None = None
) -> tuple[PairStore, RememberingEvents]:
    events = RememberingEvents()
    options = PairStoreOptions(
        folder / "state",
        JournalOptions(10**7),
        3600.0,
        None if url is None else parse_store_url(url),
        retention or {"a": Retention()},
    )
    ticks = itertools.count()
    chances = Chances(lambda: float(next(ticks)), lambda: 1000.0, lambda: 0.0)
    return PairStore(options, events, chances, lambda: f"p{next(_numbers):03d}"), events


def journals(folder: Path) -> list[Path]:
    return list((folder / "state" / "journals").iterdir())


async def test_records_are_shipped_and_nothing_is_left_at_the_end(
    store: StoreServer, tmp_path: Path
) -> None:
    pairs, events = pair_store(tmp_path, store.url)
    async with pairs.running():
        assert pairs.append("a", record(1))
        await until(lambda: len(events.shipped) == 1)
        pairs.append("a", record(2))  # and this one by the flush
    assert stored(store.client()) == [1, 2]
    assert journals(tmp_path) == []
    assert pairs.state().unshipped_bytes == 0


async def test_what_is_in_the_store_is_counted_again_and_again(
    store: StoreServer, tmp_path: Path
) -> None:
    pairs, events = pair_store(tmp_path, store.url)
    async with pairs.running():
        await until(lambda: events.counted[-1:] == [("a", 0, None)])
        assert pairs.append("a", record(1))
        await until(lambda: events.counted[-1:] == [("a", 1, None)])


async def test_without_a_store_records_stay_for_the_next_process(
    store: StoreServer, tmp_path: Path
) -> None:
    pairs, _ = pair_store(tmp_path, None)
    async with pairs.running():
        pairs.append("a", record(1, time=400.0))
        await until(lambda: pairs.state().oldest_unshipped is not None)
        state = pairs.state()
        assert state.oldest_unshipped == 400.0
        assert state.unshipped_bytes > 0
        assert state.kept_bytes > 0  # the segment's header
        assert state.has_room
    pairs, _ = pair_store(tmp_path, store.url)
    async with pairs.running():
        pass
    assert stored(store.client()) == [1]


async def test_a_record_that_does_not_say_its_time_is_as_old_as_its_segment(
    tmp_path: Path,
) -> None:
    pairs, _ = pair_store(tmp_path, None)
    async with pairs.running():
        pairs.append("a", record(1))
        await until(lambda: pairs.state().oldest_unshipped == 1000.0)


async def test_directories_left_meanwhile_are_adopted_in_the_background(
    store: StoreServer, tmp_path: Path
) -> None:
    other = begin("redis://127.0.0.1:1/0", tmp_path / "state")
    other.journal.append("a", record(1))
    pairs, events = pair_store(tmp_path, store.url)
    async with pairs.running():
        await release(other)
        await until(lambda: len(events.shipped) == 1)
        assert len(events.adopted) == 1
        await until(lambda: len(journals(tmp_path)) == 1)
    assert stored(store.client()) == [1]
    assert journals(tmp_path) == []


async def test_several_processes_share_a_state_directory(
    store: StoreServer, tmp_path: Path
) -> None:
    several = [pair_store(tmp_path, store.url)[0] for _ in range(3)]
    async with several[0].running(), several[1].running(), several[2].running():
        for number in range(30):
            several[number % 3].append("a", record(number))
    assert sorted(stored(store.client())) == list(range(30))
    assert journals(tmp_path) == []


async def test_bounds_of_a_cascade_are_kept_in_the_background(
    store: StoreServer, tmp_path: Path
) -> None:
    with store.client() as client:
        client.xadd("understudy:{a}:pairs", {"pair": "{}"}, id="1-1")
    bounds = {"a": Retention(max_age_seconds=1.0), "b": Retention()}
    pairs, events = pair_store(tmp_path, store.url, bounds)
    async with pairs.running():
        await until(lambda: events.expired == [("a", "age", 1)])


async def test_what_ends_by_a_bug_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, events = pair_store(tmp_path, None)
    tidy = Holdings.tidy
    calls: list[float] = []

    def broken(self: Holdings, now: float, keep_seconds: float) -> None:
        calls.append(now)
        if len(calls) <= 3:
            raise RuntimeError("a bug")
        tidy(self, now, keep_seconds)

    monkeypatch.setattr(Holdings, "tidy", broken)
    async with pairs.running():
        await until(lambda: len(calls) > 6)
    assert events.ends == 3


async def test_a_cancellation_that_gets_lost_does_not_hold_up_the_end(
    store: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def enforce(*_: object) -> None:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):  # as Python 3.11's wait_for may
            await asyncio.sleep(60)

    monkeypatch.setattr(pair_store_module, "enforce", enforce)
    pairs, _ = pair_store(tmp_path, store.url, {"a": Retention(max_bytes=2**20)})
    async with asyncio.timeout(20):
        async with pairs.running():
            await begun.wait()


async def test_a_store_that_is_away_holds_up_neither_append_nor_the_end(tmp_path: Path) -> None:
    pairs, events = pair_store(tmp_path, "redis://127.0.0.1:1/0")
    async with asyncio.timeout(10):
        async with pairs.running():
            for number in range(100):
                assert pairs.append("a", record(number))
    assert events.failures
    assert len(journals(tmp_path)) == 1


def test_a_state_directory_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(OSError, match="exists"):
        pair_store(tmp_path, None)
