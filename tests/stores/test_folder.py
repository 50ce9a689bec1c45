"""Directories that are found, adopted, damaged and removed, also under several processes' hands."""

import errno
import fcntl
import json
import os
import shutil
import threading
import zlib
from pathlib import Path

import pytest

from gateway.ports import StreamKind
from gateway.stores import folder as folder_module
from gateway.stores.folder import LOCK, PROGRESS, Folder, NewerFormat, adopted, created
from gateway.stores.progress import Position, Stream
from gateway.stores.segment import HEADER_BYTES, MAGIC, VERSION
from tests.fakes.journals import all_records
from tests.fakes.pair_events import RememberingEvents
from tests.stores.opening import NOW, Opened, journal_in, opened, record, segments


def killed(one: Opened) -> Path:
    """End as a killed process does; gives its directory."""
    one.holdings.tidy(NOW, 3600)
    one.journal.close()
    for each in one.holdings.folders:
        each.close()
    return one.holdings.own.path


def left_behind(folder: Path, count: int = 3) -> Path:
    """What a killed process leaves beside one that lives."""
    one = opened(folder)
    for number in range(count):
        one.journal.append("a", record(number))
    return killed(one)


def test_directories_of_dead_processes_are_adopted_and_removed_once_shipped(
    tmp_path: Path,
) -> None:
    with journal_in(tmp_path) as one:
        other = opened(tmp_path)
        other.journal.append("a", record(1))
        place = killed(other)
        one.holdings.take(one.holdings.find_orphans())
        assert one.events.adopted == [str(place)]
        assert one.holdings.unshipped_bytes > 0
        orphan = one.holdings.folders[1]
        orphan.progress.main = orphan.end
        one.holdings.tidy(NOW, 3600)
        assert not place.exists()
        assert [each.path for each in one.holdings.folders] == [one.holdings.own.path]


def test_the_directory_that_a_process_goes_on_with_is_told_too(tmp_path: Path) -> None:
    place = left_behind(tmp_path)
    with journal_in(tmp_path) as one:
        assert one.holdings.own.path == place
        assert one.events.adopted == [str(place)]


def test_directories_that_somebody_holds_are_left_alone(tmp_path: Path) -> None:
    with journal_in(tmp_path) as one, journal_in(tmp_path) as other:
        assert one.holdings.find_orphans() == []
        assert other.holdings.find_orphans() == []
        assert one.events.troubles == []


def test_a_crash_leaves_what_was_shipped_and_the_next_process_goes_on_there(
    tmp_path: Path,
) -> None:
    one = opened(tmp_path)
    for number in range(3):
        one.journal.append("a", record(number))
    one.ship(2)
    killed(one)
    with journal_in(tmp_path) as one:
        assert one.ids() == [2]


@pytest.mark.parametrize("content", [b"", b"x", b'{"main": 5}', b"[" * 100_000, b"\xff"])
def test_progress_that_makes_no_sense_ships_again_rather_than_losing(
    tmp_path: Path, content: bytes
) -> None:
    (left_behind(tmp_path) / PROGRESS).write_bytes(content)
    with journal_in(tmp_path) as one:
        assert one.ids() == [0, 1, 2]


def test_what_a_later_release_says_of_its_progress_beside_it_is_left_out(tmp_path: Path) -> None:
    one = opened(tmp_path)
    for number in range(3):
        one.journal.append("a", record(number))
    one.ship(2)
    path = killed(one) / PROGRESS
    path.write_bytes(path.read_bytes().replace(b"{", b'{"later": [1], ', 1))
    with journal_in(tmp_path) as one:
        assert one.ids() == [2]


def test_two_that_adopt_at_once_never_both_get_a_directory(tmp_path: Path) -> None:
    left_behind(tmp_path)
    (place,) = (tmp_path / "journals").iterdir()
    got: list[Folder] = []
    start = threading.Barrier(8)

    def adopt() -> None:
        start.wait(10)
        folder = adopted(place, RememberingEvents())
        if folder is not None:
            got.append(folder)

    threads = [threading.Thread(target=adopt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(got) == 1
    got[0].close()


@pytest.mark.parametrize("is_made_again", [True, False])
def test_a_directory_removed_between_opening_and_locking_is_not_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_made_again: bool
) -> None:
    place = left_behind(tmp_path)
    lock = fcntl.flock

    def late(file: int, operation: int) -> None:
        (place / LOCK).unlink()  # its last holder was just about to remove it
        if is_made_again:
            (place / LOCK).touch()
        lock(file, operation)

    monkeypatch.setattr("gateway.stores.folder.fcntl.flock", late)
    assert adopted(place, RememberingEvents()) is None


def test_a_directory_without_a_lock_goes_if_it_is_empty_and_stays_if_it_is_not(
    tmp_path: Path,
) -> None:
    empty, full = tmp_path / "empty", tmp_path / "full"
    for each in (empty, full):
        each.mkdir()
    (full / "something").touch()
    assert adopted(empty, RememberingEvents()) is None
    assert adopted(full, RememberingEvents()) is None
    assert not empty.exists()
    assert (full / "something").exists()


def test_records_without_a_lock_are_told_for_nobody_ships_them(tmp_path: Path) -> None:
    place = left_behind(tmp_path)
    (place / LOCK).unlink()
    with journal_in(tmp_path) as one:
        for _ in range(3):
            assert one.holdings.find_orphans() == []
        (trouble,) = one.events.troubles
        assert (trouble.place, LOCK in (trouble.strerror or "")) == (str(place), True)
    assert segments(tmp_path)


def test_a_name_that_is_taken_or_adopted_before_it_is_locked_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    names = iter(["taken", "free"])
    folder = created(tmp_path, lambda: next(names), RememberingEvents())
    assert folder.path.name == "free"
    folder.close()
    with pytest.raises(OSError, match="no directory"):
        created(tmp_path, lambda: "taken", RememberingEvents())


def test_a_file_among_the_directories_disturbs_nobody(tmp_path: Path) -> None:
    (tmp_path / "journals").mkdir()
    (tmp_path / "journals" / "a-file").touch()
    with journal_in(tmp_path) as one:
        assert one.holdings.find_orphans() == []
        assert one.events.troubles == []


def test_a_directory_that_cannot_be_used_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    place = left_behind(tmp_path)
    (path,) = place.glob("*.seg")
    newer = bytearray(path.read_bytes())
    newer[16:18] = (VERSION + 1).to_bytes(2, "little")
    newer[HEADER_BYTES - 4 : HEADER_BYTES] = zlib.crc32(newer[: HEADER_BYTES - 4]).to_bytes(
        4, "little"
    )
    path.write_bytes(newer)
    with pytest.raises(NewerFormat):
        adopted(place, RememberingEvents())
    with journal_in(tmp_path) as one:
        assert one.holdings.own.path != place
        for _ in range(3):
            assert one.holdings.find_orphans() == []
        (trouble,) = one.events.troubles
        assert (trouble.place, f"format {VERSION + 1}" in (trouble.strerror or "")) == (
            str(place),
            True,
        )
    assert path.read_bytes() == newer


def test_a_state_directory_that_is_gone_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    with journal_in(tmp_path) as one:
        shutil.rmtree(tmp_path / "journals")
        for _ in range(3):
            assert one.holdings.find_orphans() == []
        assert [trouble.errno for trouble in one.events.troubles] == [errno.ENOENT]
        (tmp_path / "journals").mkdir()
        left_behind(tmp_path)
        assert len(one.holdings.find_orphans()) == 1
        shutil.rmtree(tmp_path / "journals")
        assert one.holdings.find_orphans() == []
        assert [trouble.errno for trouble in one.events.troubles] == [errno.ENOENT] * 2


@pytest.mark.parametrize("cut", [1, 5, 30, 60])
def test_the_torn_end_of_a_killed_process_is_kept_aside_and_told_once(
    tmp_path: Path, cut: int
) -> None:
    place = left_behind(tmp_path, 3)
    (path,) = place.glob("*.seg")
    os.truncate(path, path.stat().st_size - cut)
    with journal_in(tmp_path) as one:
        for _ in range(2):
            batch = one.read()
            one.holdings.own.note_damage(batch)
        assert one.ids() in ([0, 1], [0])
        (damage,) = one.events.damaged
        assert damage.is_torn
        assert damage.place == str(path)
        kept = Path(damage.kept or "")
        assert kept.read_bytes() == path.read_bytes()[damage.offset :]
        assert kept.stat().st_mode & 0o077 == 0
        one.ship()
        one.journal.append("a", record(7))
        assert one.ids() == [7]
    with journal_in(tmp_path) as one:  # nor is it told again by the next process
        one.holdings.own.note_damage(one.read())
        assert one.events.damaged == []


def test_damage_amid_a_segment_costs_what_it_hit(tmp_path: Path) -> None:
    place = left_behind(tmp_path, 5)
    (path,) = place.glob("*.seg")
    data = bytearray(path.read_bytes())
    third = [at for at in range(len(data)) if data.startswith(MAGIC, at)][2]
    data[third + 20] ^= 1
    path.write_bytes(data)
    with journal_in(tmp_path) as one:
        batch = one.read()
        one.holdings.own.note_damage(batch)
        assert one.ids() == [0, 1, 3, 4]
        (damage,) = one.events.damaged
        assert not damage.is_torn
        assert damage.offset == third


def test_what_is_kept_aside_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "DAMAGED_MAX_BYTES", 5)
    place = left_behind(tmp_path)
    (path,) = place.glob("*.seg")
    os.truncate(path, path.stat().st_size - 5)
    with journal_in(tmp_path) as one:
        one.holdings.own.note_damage(one.read())
        (damage,) = one.events.damaged
        assert damage.kept is None
    assert list((tmp_path / "damaged").iterdir()) == []


@pytest.mark.parametrize("is_removed", [True, False])
def test_a_segment_that_somebody_shortened_is_told_and_stops_nothing(
    tmp_path: Path, is_removed: bool
) -> None:
    with journal_in(tmp_path) as one:
        for number in range(3):
            one.journal.append("a", record(number))
        one.ship(2)
        (path,) = segments(tmp_path)
        if is_removed:
            path.unlink()
        else:
            os.truncate(path, HEADER_BYTES)
        assert one.holdings.own.note_damage(one.read())
        one.journal.rotate()
        assert one.events.lost == [(None, "journal_shortened")]
        one.journal.append("a", record(7))
        assert one.ids() == [7]
        assert not one.holdings.own.note_damage(one.read())


def test_progress_that_cannot_be_written_is_told_once_until_it_can(tmp_path: Path) -> None:
    with journal_in(tmp_path) as one:
        (one.holdings.own.path / "progress.part").mkdir()
        for number in range(3):
            one.journal.append("a", record(number))
            one.ship()
            one.holdings.tidy(NOW, 3600)
        (trouble,) = one.events.troubles
        assert trouble.place == str(one.holdings.own.path / "progress.part")
        (one.holdings.own.path / "progress.part").rmdir()
        one.holdings.tidy(NOW, 3600)
        saved = json.loads((one.holdings.own.path / PROGRESS).read_bytes())
        assert tuple(saved["main"]) == one.holdings.own.end


def test_a_segment_that_cannot_be_removed_is_told_and_counts_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    with journal_in(tmp_path) as one:
        one.journal.append("a", record(1))
        one.ship()
        one.journal.rotate()
        monkeypatch.setattr(Path, "unlink", fail)
        one.holdings.tidy(NOW, 0)
        assert not one.holdings.drop_oldest_kept()
        assert one.holdings.held_bytes > HEADER_BYTES
        assert len(one.events.troubles) == 1
        monkeypatch.undo()


def test_streams_that_are_behind_hold_their_segments(tmp_path: Path) -> None:
    with journal_in(tmp_path, segment_bytes=1) as one:
        for number in range(4):
            one.journal.append("b" if number == 1 else "a", record(number))
        progress = one.holdings.own.progress
        one.journal.rotate()
        progress.advance(
            one.lane(), one.holdings.own.end, {Stream(StreamKind.PAIRS, "b"): Position(2, 0)}
        )
        one.holdings.tidy(NOW, 0)
        assert [json.loads(frame.record)["id"] for frame in all_records(tmp_path)] == [1, 2, 3]
