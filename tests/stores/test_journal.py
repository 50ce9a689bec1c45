import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.ports import StreamKind
from gateway.stores import journal as journal_module
from gateway.stores.group_sync import GroupSync
from gateway.stores.journal import SEGMENT_SECONDS
from gateway.stores.segment import FRAME_BYTES, HEADER_BYTES
from tests.fakes.serving import wait_until
from tests.stores.opening import NOW, ids, journal_in, opened, record, segments

FRAME = FRAME_BYTES + len(b"p\x01a") + len(record(1, 100))


def test_records_come_back_in_order_and_once_shipped_no_more(tmp_path: Path) -> None:
    with journal_in(tmp_path) as one:
        for number in range(5):
            assert one.journal.append("a", record(number))
        assert one.ids(3) == [0, 1, 2]
        assert one.ids(3) == [0, 1, 2]  # not shipped yet
        one.ship(3)
        assert one.ids() == [3, 4]
        one.ship()
        assert one.ids() == []
        assert one.events.written == ["a"] * 5
        assert one.holdings.unshipped_bytes == 0


def test_the_kind_of_stream_and_the_cascade_come_back(tmp_path: Path) -> None:
    with journal_in(tmp_path) as one:
        one.journal.append("a", record(1), kind=StreamKind.AUDITS)
        one.journal.append("b-c.d", record(2))
        streams = [placed.stream for placed in one.read().records]
    assert streams == [(StreamKind.AUDITS, "a"), (StreamKind.PAIRS, "b-c.d")]


def test_another_process_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    with journal_in(tmp_path) as one:
        for number in range(3):
            one.journal.append("a", record(number))
        one.ship(1)
    with journal_in(tmp_path) as one:
        assert one.ids() == [1, 2]
        one.journal.append("a", record(3))
        assert one.ids() == [1, 2, 3]
    assert len(list((tmp_path / "journals").iterdir())) == 1


def test_two_processes_share_a_state_directory_and_no_journal(tmp_path: Path) -> None:
    with journal_in(tmp_path) as one, journal_in(tmp_path) as other:
        one.journal.append("a", record(1))
        other.journal.append("a", record(2))
        assert one.holdings.own.path != other.holdings.own.path
        assert (one.ids(), other.ids()) == ([1], [2])


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with journal_in(state) as one:
        one.journal.append("a", record(1))
        one.ship()
        one.holdings.tidy(NOW, 3600)
        for path in (state, *state.rglob("*")):
            assert path.stat().st_mode & 0o077 == 0, path
        assert {path.suffix for path in one.holdings.own.path.iterdir()} == {"", ".seg", ".json"}


def test_a_full_segment_is_followed_by_another(tmp_path: Path) -> None:
    with journal_in(tmp_path, segment_bytes=HEADER_BYTES + 2 * FRAME) as one:
        for number in range(5):
            one.journal.append("a", record(number, 100))
        assert [path.stat().st_size for path in segments(tmp_path)] == [
            HEADER_BYTES + 2 * FRAME,
            HEADER_BYTES + 2 * FRAME,
            HEADER_BYTES + FRAME,
        ]
        assert one.ids() == [0, 1, 2, 3, 4]


def test_a_record_larger_than_a_segment_has_one_of_its_own(tmp_path: Path) -> None:
    with journal_in(tmp_path, segment_bytes=HEADER_BYTES + FRAME) as one:
        one.journal.append("a", record(1, 2000))
        one.journal.append("a", record(2))
        assert len(segments(tmp_path)) == 2
        assert one.ids() == [1, 2]


@pytest.mark.parametrize(("age", "count"), [(SEGMENT_SECONDS, 2), (SEGMENT_SECONDS - 1, 1)])
def test_a_segment_of_age_that_is_being_shipped_is_ended(
    tmp_path: Path, age: float, count: int
) -> None:
    with journal_in(tmp_path) as one:
        one.journal.append("a", record(1))
        one.ship()
        one.journal.tidy(NOW + age)
        one.journal.append("a", record(2))
        assert len(segments(tmp_path)) == count


def test_a_segment_that_is_not_shipped_is_not_ended_for_its_age(tmp_path: Path) -> None:
    with journal_in(tmp_path) as one:
        one.journal.append("a", record(1))
        one.journal.tidy(NOW + 1e6)
        one.journal.append("a", record(2))
        assert len(segments(tmp_path)) == 1


def test_a_record_beyond_the_bound_is_lost_and_there_is_no_room_until_something_ships(
    tmp_path: Path,
) -> None:
    bound = 3 * (HEADER_BYTES + FRAME)
    with journal_in(tmp_path, bound, segment_bytes=1) as one:
        for number in range(3):
            assert one.journal.append("a", record(number, 100))
        assert not one.journal.append("a", record(3, 100))
        assert one.events.lost == [("a", "journal_full")]
        assert "UNDERSTUDY_JOURNAL_MAX_BYTES" in (one.events.troubles[0].strerror or "")
        assert not one.is_writable()
        one.ship(1)
        assert one.is_writable()
        assert one.journal.append("a", record(4, 100))
        assert one.ids() == [1, 2, 4]


def test_unshipped_records_are_never_dropped(tmp_path: Path) -> None:
    with journal_in(tmp_path, 1024, segment_bytes=1) as one:
        written = [number for number in range(50) if one.journal.append("a", record(number, 100))]
        assert one.ids() == written
        assert len(one.events.lost) == 50 - len(written)


def test_of_what_is_shipped_the_oldest_goes_first(tmp_path: Path) -> None:
    bound = 4 * (HEADER_BYTES + FRAME)
    with journal_in(tmp_path, bound, segment_bytes=1) as one:
        for number in range(4):
            one.journal.append("a", record(number, 100))
        one.ship(2)
        one.holdings.tidy(NOW, 3600)
        for number in (4, 5):
            assert one.journal.append("a", record(number, 100))
        assert one.ids() == [2, 3, 4, 5]
        assert not one.journal.append("a", record(6, 100))


def test_the_segment_that_is_written_goes_too_once_it_is_shipped(tmp_path: Path) -> None:
    with journal_in(tmp_path, 1024) as one:
        for number in range(100):
            assert one.journal.append("a", record(number, 100))
            one.ship()
        assert one.events.lost == []
        assert one.holdings.held_bytes <= 1024


def test_the_bound_counts_what_was_adopted(tmp_path: Path) -> None:
    left = opened(tmp_path, 1024)
    other = opened(tmp_path, 1024)
    for number in range(3):
        left.journal.append("a", record(number, 100))
    left.close()
    other.holdings.take(other.holdings.find_orphans())
    assert other.events.adopted
    while other.journal.append("a", record(9, 100)):
        pass
    assert 1024 - FRAME - HEADER_BYTES < other.holdings.held_bytes <= 1024
    other.close()


def test_a_record_too_large_for_the_format_is_lost_and_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.stores.segment.MAX_PAYLOAD_BYTES", 100)
    with journal_in(tmp_path) as one:
        assert not one.journal.append("a", record(1, 100))
        assert one.events.lost == [("a", "too_large")]
        assert one.journal.has_room


def test_a_record_larger_than_the_journal_may_be_leaves_room_for_others(tmp_path: Path) -> None:
    with journal_in(tmp_path, 1024) as one:
        assert not one.journal.append("a", record(1, 100_000))
        assert one.events.lost == [("a", "too_large")]
        assert one.journal.has_room
        assert one.journal.append("a", record(2, 100))


class Disk:
    """Takes so many bytes more, and then fails."""

    def __init__(self, room: int, number: int) -> None:
        self.room = room
        self.number = number
        self.writev, self.write = os.writev, os.write

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.stores.journal.os.writev", self.take_all)
        monkeypatch.setattr("gateway.stores.journal.os.write", self.take)

    def take_all(self, file: int, parts: Any) -> int:
        return self.take(file, b"".join(parts))

    def take(self, file: int, data: bytes) -> int:
        if self.room == 0:
            raise OSError(self.number, os.strerror(self.number))
        taken = self.write(file, data[: self.room])
        self.room -= taken
        return taken


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("room", [0, 1, 10, FRAME - 1])
def test_a_failing_disk_loses_that_record_and_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, number: int
) -> None:
    with journal_in(tmp_path) as one:
        one.journal.append("a", record(1))
        Disk(room, number).install(monkeypatch)
        assert not one.journal.append("a", record(2, 100))
        assert not one.is_writable()
        one.journal.probe()
        assert not one.is_writable()
        monkeypatch.undo()
        one.journal.probe()
        assert one.is_writable()
        assert one.journal.append("a", record(3))
        batch = one.read()
        assert ids(batch.records) == [1, 3]
        assert batch.skipped == []
        assert one.events.lost == [("a", "write_failed")]
        (trouble,) = one.events.troubles
        assert trouble.place == str(one.holdings.own.path)
        assert (trouble.errno, trouble.strerror) == (number, os.strerror(number))
        assert not (one.holdings.own.path / "probe").exists()


def test_a_disk_full_of_shipped_records_is_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with journal_in(tmp_path, segment_bytes=1) as one:
        for number in range(3):
            one.journal.append("a", record(number, 100))
        one.ship(3)
        disk = Disk(0, errno.ENOSPC)
        disk.install(monkeypatch)
        drop = one.holdings.own.drop

        def freed(number: int) -> None:
            drop(number)
            disk.room += FRAME + HEADER_BYTES

        monkeypatch.setattr(one.holdings.own, "drop", freed)
        assert one.journal.append("a", record(4, 100))
        assert one.ids() == [4]
        assert one.events.lost == []
        monkeypatch.undo()


def test_half_a_record_that_cannot_be_taken_back_ends_its_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with journal_in(tmp_path) as one:
        one.journal.append("a", record(1))
        Disk(10, errno.EIO).install(monkeypatch)
        monkeypatch.setattr("gateway.stores.journal.os.ftruncate", fail)
        assert not one.journal.append("a", record(2))
        monkeypatch.undo()
        assert one.journal.append("a", record(3))
        batch = one.read()
        assert ids(batch.records) == [1, 3]
        assert [damaged.end - damaged.offset for _, damaged in batch.skipped] == [10]


def test_a_header_that_finds_no_room_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with journal_in(tmp_path) as one:
        Disk(5, errno.ENOSPC).install(monkeypatch)
        assert not one.journal.append("a", record(1))
        monkeypatch.undo()
        assert segments(tmp_path) == []
        assert one.journal.append("a", record(2))


class Synced:
    """Stands for fsync; counts, and fails where it is told to."""

    def __init__(self) -> None:
        self.files: list[int] = []
        self.has_begun = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.error: OSError | None = None

    def __call__(self, file: int) -> None:
        self.has_begun.set()
        self.may_go_on.wait(10)
        if self.error is not None:
            raise self.error
        os.fsync(file)
        self.files.append(file)


def test_many_records_share_a_sync_and_none_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Synced()
    synced.may_go_on.clear()
    monkeypatch.setattr(
        journal_module, "GroupSync", lambda seconds, tell: GroupSync(seconds, tell, synced)
    )
    with journal_in(tmp_path, fsync_seconds=0.001) as one:
        one.journal.append("a", record(0))
        assert synced.has_begun.wait(10)
        for number in range(1, 20):
            one.journal.append("a", record(number))  # while the disk is busy
        assert synced.files == []
        synced.may_go_on.set()
        wait_until(lambda: len(synced.files) >= 2)
        assert one.ids() == list(range(20))
    assert len(synced.files) < 20


def test_an_interval_of_nothing_syncs_each_record_before_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Synced()
    monkeypatch.setattr(
        journal_module, "GroupSync", lambda seconds, tell: GroupSync(seconds, tell, synced)
    )
    with journal_in(tmp_path, fsync_seconds=0) as one:
        for number in range(3):
            before = len(synced.files)
            one.journal.append("a", record(number))
            assert len(synced.files) > before


def test_a_sync_that_fails_is_told_and_ends_the_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Synced()
    synced.error = OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(
        journal_module, "GroupSync", lambda seconds, tell: GroupSync(seconds, tell, synced)
    )
    with journal_in(tmp_path, fsync_seconds=0) as one:
        one.journal.append("a", record(1))
        synced.error = None
        one.journal.tidy(NOW)
        (trouble,) = one.events.troubles
        assert trouble.errno == errno.EIO
        one.journal.append("a", record(2))
        assert len(segments(tmp_path)) == 2
        one.journal.tidy(NOW)
        assert len(one.events.troubles) == 1


def test_a_shipped_journal_leaves_nothing_behind(tmp_path: Path) -> None:
    with journal_in(tmp_path) as one:
        one.journal.append("a", record(1))
        one.ship()
        one.journal.rotate()
        one.holdings.tidy(NOW, 3600)
    assert list((tmp_path / "journals").iterdir()) == []


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "volume"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount: no real volume was filled")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_volume_that_is_really_full_takes_records_again_once_there_is_room(
    small_volume: Path,
) -> None:
    with journal_in(small_volume / "state", 10**9, segment_bytes=100_000) as one:
        written = [n for n in range(2000) if one.journal.append("a", record(n, 1000))]
        assert 500 < len(written) < 1100
        assert {cause for _, cause in one.events.lost} == {"write_failed"}
        assert not one.is_writable()
        batch = one.read(5000)
        assert ids(batch.records) == written
        assert batch.skipped == []
        one.ship(400)
        assert one.journal.append("a", record(5000, 1000))  # in place of what is shipped
        one.journal.probe()
        assert one.is_writable()
        assert one.ids()[-1] == 5000


def test_a_posting_that_has_no_room_is_refused_and_no_pair_is_lost(tmp_path: Path) -> None:
    with journal_in(tmp_path, 1500) as one:
        while one.journal.append("a", record(1), kind=StreamKind.LEDGER):
            pass
        assert not one.journal.append("a", record(1, 2000), kind=StreamKind.LEDGER)
        assert one.events.lost == []
        assert one.events.written == []
        assert one.events.postings_written > 5


def test_postings_say_nothing_of_the_room_for_a_pair(tmp_path: Path) -> None:
    """They are small: after many of them a pair of the usual size must still be expected."""
    with journal_in(tmp_path, 10_000) as one:
        for number in range(3):
            one.journal.append("a", record(number, 2_000))
        assert not one.journal.append("a", record(4, 4_500))
        assert one.events.lost == [("a", "journal_full")]
        for number in range(10):
            assert one.journal.append("a", record(number), kind=StreamKind.LEDGER)
        assert not one.journal.has_room
