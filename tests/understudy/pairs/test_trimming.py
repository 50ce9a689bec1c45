from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError

from tests.fakes.pair_log import fill
from tests.fakes.pairs import pair
from understudy.pairs.drain import Course, Exporter
from understudy.pairs.places import Place
from understudy.pairs.store import Log
from understudy.pairs.tail import entries_in
from understudy.pairs.trimming import safe_until, trim

TRIMMING = Course(is_trimmed=True, reclaim_seconds=3600)


@pytest.fixture
def ids(log: Log) -> list[str]:
    """The ids of ten entries."""
    fill(log, [pair(number) for number in range(10)])
    return left(log)


def left(log: Log) -> list[str]:
    found: Any = log.client.xrange(log.key("pairs"))
    return [each.decode() for each, _ in found]


def take(log: Log, group: str, count: int, acknowledged: int) -> None:
    """Have a group take entries, of which it acknowledges the first."""
    key: Any = log.key("pairs")
    log.client.xgroup_create(key, group, id="0")
    if count:
        reply: Any = log.client.xreadgroup(group, "somebody", {key: ">"}, count=count)
        for each, _ in entries_in(reply)[:acknowledged]:
            log.client.xack(key, group, each)


def test_an_export_trims_what_it_has_exported(log: Log, place: Place, ids: list[str]) -> None:
    drained = Exporter(log, place, TRIMMING).run(lambda _: None)
    assert drained.trimmed == len(ids)
    assert left(log) == []
    assert log.client.exists(log.key("pairs"))


@pytest.mark.parametrize(
    ("taken", "acknowledged", "kept"), [(0, 0, 10), (4, 4, 6), (4, 2, 8), (4, 0, 10), (10, 10, 0)]
)
def test_another_group_keeps_what_it_has_not_done(
    log: Log, place: Place, ids: list[str], taken: int, acknowledged: int, kept: int
) -> None:
    take(log, "another", taken, acknowledged)
    Exporter(log, place, TRIMMING).run(lambda _: None)
    assert left(log) == ids[10 - kept :]


def test_what_another_exporter_has_in_hand_stays(log: Log, place: Place, ids: list[str]) -> None:
    take(log, "export", 3, 1)
    Exporter(log, place, TRIMMING).run(lambda _: None)
    assert left(log) == ids[1:]


def test_without_being_told_nothing_is_trimmed(log: Log, place: Place, ids: list[str]) -> None:
    Exporter(log, place, Course()).run(lambda _: None)
    assert left(log) == ids


def test_a_stream_that_nobody_reads_is_not_trimmed(log: Log, ids: list[str]) -> None:
    assert safe_until(log.client, log.key("pairs")) is None
    assert trim(log.client, log.key("pairs")) == 0
    assert left(log) == ids


def test_what_is_handed_out_while_the_bound_is_sought_stays(
    log: Log, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another exporter takes entries between the two questions that the bound rests on."""
    take(log, "export", 4, 4)
    key: Any = log.key("pairs")
    ask: Any = log.client.xpending

    def asked_later(*arguments: Any) -> Any:
        log.client.xreadgroup("export", "another", {key: ">"}, count=3)
        return ask(*arguments)

    monkeypatch.setattr(log.client, "xpending", asked_later)
    trim(log.client, key)
    assert left(log) == ids[4:]


@pytest.fixture
def full(log: Log, ids: list[str]) -> Iterator[None]:
    """The store has no memory left."""
    log.client.config_set("maxmemory", "1")
    yield
    log.client.config_set("maxmemory", "0")


@pytest.mark.usefixtures("full")
def test_a_store_that_is_full_is_emptied_by_the_group_that_is_there(log: Log, place: Place) -> None:
    log.client.config_set("maxmemory", "0")
    take(log, "export", 0, 0)
    log.client.config_set("maxmemory", "1")
    Exporter(log, place, TRIMMING).run(lambda _: None)
    assert left(log) == []


@pytest.mark.usefixtures("full")
def test_a_full_store_that_can_make_no_group_is_called_full(log: Log, place: Place) -> None:
    with pytest.raises(OutOfMemoryError):
        Exporter(log, place, TRIMMING).run(lambda _: None)
