import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from distill.deletions import Deletion
from tests.fakes.pair_log import fill
from tests.fakes.pairs import NOON, encoded, pair, pair_of_version_one
from tests.understudy.pairs.making import consolidated
from understudy.pairs import drain, parts
from understudy.pairs.delete import remove
from understudy.pairs.drain import Course, Drained, Exporter
from understudy.pairs.parts import part_paths
from understudy.pairs.places import Place
from understudy.pairs.store import Log
from understudy.pairs.wishes import saved_deletions
from understudy.telling import CommandError

AT_ONCE = Course(reclaim_seconds=0)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    monkeypatch.setattr(drain, "READ_ENTRIES", 4)


def run(log: Log, place: Place, course: Course = AT_ONCE) -> Drained:
    return Exporter(log, place, course).run(lambda _: None)


def numbers(place: Place) -> list[int]:
    """The numbers of the pairs in all parts, in order, doubles included."""
    found: list[int] = []
    for path in part_paths(place):
        rows = pq.ParquetFile(place.path(path)).read(columns=["id"]).to_pylist()
        found += [int(row["id"], 16) for row in rows]
    return sorted(found)


def pending(log: Log, group: str = "export") -> int:
    found: Any = log.client.xpending(log.key("pairs"), group)
    return int(found["pending"])


def test_everything_is_exported_and_acknowledged(log: Log, place: Place) -> None:
    fill(log, [pair(number) for number in range(25)])
    drained = run(log, place)
    assert (drained.pairs, drained.taken, drained.elsewhere) == (25, 25, 0)
    assert numbers(place) == list(range(25))
    assert pending(log) == 0
    assert len(drained.parts) == 3


@pytest.mark.parametrize("changes", [{"time": 1e300}, {"time": -1.0}, {"samples": 2**63}])
def test_a_record_that_no_table_can_hold_stops_nobody(
    log: Log, place: Place, changes: dict[str, Any]
) -> None:
    fill(log, [pair(1, **changes), pair(2)])
    drained = run(log, place)
    assert (drained.pairs, drained.unreadable) == (1, 1)
    assert pending(log) == 0


def test_deletions_outlive_the_redis_that_they_were_written_to(log: Log, place: Place) -> None:
    log.delete(Deletion(NOON, request_id="req-1"))
    fill(log, [pair(1)])
    run(log, place)
    log.client.flushall()
    log.delete(Deletion(NOON, request_id="req-2"))
    fill(log, [pair(2)])
    run(log, place)
    assert saved_deletions(place)["assistant"].requests == {"req-1", "req-2"}
    (_,) = place.matching("deletions/cascade=assistant/*")


def test_deletions_that_cannot_be_read_stop_an_export(log: Log, place: Place) -> None:
    log.delete(Deletion(NOON, request_id="req-1"))
    fill(log, [pair(1)])
    run(log, place)
    (name,) = place.matching("deletions/cascade=assistant/*")
    for broken in (b"{", b"\xff", b'{"time": 1}'):
        with place.writing(name) as file:
            file.write(broken)
        with pytest.raises(CommandError, match=f"{name}: is no list of deletions"):
            saved_deletions(place)


def test_what_nobody_can_read_is_deleted_all_the_same(log: Log, place: Place) -> None:
    later = [pair(number, schema_version=3) for number in (1, 3)]
    fill(log, [*later, pair(2, samples="many"), pair(4), b"nonsense"])
    assert run(log, place, Course(group="before")).unreadable == 4
    wishes = [Deletion(NOON, request_id=f"req-{number}") for number in (1, 2)]
    for wish in wishes:
        log.delete(wish)
    drained = run(log, place)
    assert (drained.deleted, drained.unreadable) == (2, 2)
    assert sum(remove(log, "pairs", wish) for wish in wishes) == 2
    consolidated(place, wishes=dict(saved_deletions(place)))
    kept = []
    for name in place.matching("unreadable/cascade=assistant/*"):
        with place.reading(name) as file:
            kept.append(file.read())
    told = b"".join(kept)
    for word, times in ((b"req-1", 0), (b"req-2", 0), (b"req-3", 2), (b"nonsense", 2)):
        assert told.count(word) == times


def test_another_run_exports_what_is_new(log: Log, place: Place) -> None:
    fill(log, [pair(1)])
    run(log, place)
    assert run(log, place).parts == []
    fill(log, [pair(2), pair_of_version_one(3)])
    assert run(log, place).pairs == 2
    assert numbers(place) == [1, 2, 3]


def test_another_group_exports_everything_once_more(log: Log, place: Place) -> None:
    fill(log, [pair(1), pair(2)])
    run(log, place)
    assert run(log, place, Course(group="another")).pairs == 2


def test_no_consumer_is_left_behind(log: Log, place: Place) -> None:
    fill(log, [pair(1)])
    run(log, place)
    assert log.client.xinfo_consumers(log.key("pairs"), "export") == []


def test_what_comes_meanwhile_does_not_keep_an_export_from_ending(log: Log, place: Place) -> None:
    fill(log, [pair(number) for number in range(8)])
    coming = iter(range(100, 10_000))

    def progress(_: Drained) -> None:
        fill(log, [pair(next(coming)) for _ in range(10)])

    drained = Exporter(log, place, AT_ONCE).run(progress)
    assert 8 <= drained.pairs < 20
    assert set(range(8)) <= set(numbers(place))


class Killed(Exception):
    """The process is gone at this very step."""


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the so-manieth step that reaches the disk or Redis be the last, and not happen."""
    done = 0

    def counted(call: Any) -> Any:
        def counting(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            done += 1
            if done >= step:
                raise Killed
            return call(*arguments, **options)

        return counting

    monkeypatch.setattr(os, "fsync", counted(os.fsync))
    monkeypatch.setattr(os, "replace", counted(os.replace))
    monkeypatch.setattr(Redis, "xack", counted(Redis.xack))
    monkeypatch.setattr(Redis, "xautoclaim", counted(Redis.xautoclaim))


@pytest.mark.parametrize("step", range(1, 22))
def test_an_exporter_that_ends_at_any_step_loses_nothing(
    step: int, log: Log, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, [pair(number) for number in range(25)])
    with monkeypatch.context() as patched:
        killed_at(step, patched)
        with suppress(Killed):
            for _ in range(9):
                run(log, place)
                fill(log, [pair(25)])
            pytest.fail("it took fewer steps")
    run(log, place)
    assert set(range(25)) <= set(numbers(place))
    assert pending(log) == 0


def test_two_exporters_share_the_work(log: Log, place: Place) -> None:
    fill(log, [pair(number) for number in range(40)])
    other = Exporter(log, place, Course())
    shared: list[Drained] = []

    def progress(drained: Drained) -> None:
        if drained.taken and not shared:
            shared.append(Drained())
            shared.append(other.run(lambda _: None))

    first = Exporter(log, place, Course()).run(progress)
    assert first.pairs + shared[1].pairs == 40
    assert first.pairs > 0
    assert shared[1].elsewhere >= 0
    assert numbers(place) == list(range(40))


def take_and_die(log: Log, count: int) -> None:
    """Have somebody of the group take entries, and never be heard of again."""
    key: Any = log.key("pairs")
    if not any(group["name"] == b"export" for group in log.client.xinfo_groups(key)):
        log.client.xgroup_create(key, "export", id="0")
    log.client.xreadgroup("export", "dead", {key: ">"}, count=count)


def test_what_the_dead_had_in_hand_is_taken_over(log: Log, place: Place) -> None:
    fill(log, [pair(number) for number in range(12)])
    take_and_die(log, 7)
    drained = run(log, place)
    assert (drained.reclaimed, drained.pairs) == (7, 12)
    assert numbers(place) == list(range(12))


def test_what_somebody_has_had_for_a_short_time_is_left_to_him(log: Log, place: Place) -> None:
    fill(log, [pair(number) for number in range(12)])
    take_and_die(log, 7)
    drained = run(log, place, Course(reclaim_seconds=3600))
    assert (drained.reclaimed, drained.pairs, drained.elsewhere) == (0, 5, 7)


def test_what_was_deleted_while_a_dead_exporter_had_it_is_done_with(log: Log, place: Place) -> None:
    fill(log, [pair(1), pair(2)])
    take_and_die(log, 2)
    entries: Any = log.client.xrange(log.key("pairs"))
    (first, _), _ = entries
    log.client.xdel(log.key("pairs"), first)
    assert run(log, place).pairs == 1
    assert pending(log) == 0


def test_what_is_to_be_deleted_is_not_exported(log: Log, place: Place) -> None:
    fill(log, [pair(1), pair(2, tenant="team"), pair(3, tenant="team", time=NOON + 9000)])
    log.delete(Deletion(NOON + 100, tenant="team"))
    log.delete(Deletion(NOON, request_id="req-1"))
    drained = run(log, place)
    assert (drained.pairs, drained.deleted) == (1, 2)
    assert numbers(place) == [3]
    assert pending(log) == 0
    (kept,) = place.matching("deletions/cascade=assistant/until-*.jsonl")
    with place.reading(kept) as file:
        assert len(file.read().splitlines()) == 2


def test_wishes_are_kept_once_however_often_there_are_new_ones(log: Log, place: Place) -> None:
    for number in range(3):
        fill(log, [pair(number)])
        log.delete(Deletion(NOON, request_id=f"other-{number}"))
        run(log, place)
    (kept,) = place.matching("deletions/cascade=assistant/until-*.jsonl")
    with place.reading(kept) as file:
        assert len(file.read().splitlines()) == 3


def test_what_is_no_pair_is_kept_aside(log: Log, place: Place) -> None:
    fill(log, [pair(1), b"\xffnonsense", encoded(pair(2, schema_version=9))])
    log.client.xadd(log.key("pairs"), {"other": "field"})
    drained = run(log, place)
    assert (drained.pairs, drained.unreadable) == (1, 3)
    (path,) = place.matching("unreadable/cascade=assistant/entries-*.jsonl")
    with place.reading(path) as file:
        kept = [json.loads(line) for line in file]
    assert kept[0]["pair"] == "\\xffnonsense"
    assert json.loads(kept[1]["pair"])["schema_version"] == 9
    assert kept[2]["pair"] is None


def test_redis_going_away_leaves_the_pairs_where_they_are(
    log: Log, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, [pair(number) for number in range(12)])

    def away(*_: Any, **__: Any) -> None:
        raise RedisConnectionError("away")

    with monkeypatch.context() as patched:
        patched.setattr(Redis, "xack", away)
        with pytest.raises(RedisConnectionError):
            run(log, place)
    assert pending(log) > 0
    run(log, place)
    assert set(numbers(place)) == set(range(12))


def test_partial_files_are_not_parts(log: Log, place: Place, tmp_path: Path) -> None:
    fill(log, [pair(1)])
    run(log, place)
    folder = Path(place.path(part_paths(place)[0])).parent
    (folder / ".part-9.parquet.ab.partial").write_bytes(b"half")
    assert len(part_paths(place)) == 1
