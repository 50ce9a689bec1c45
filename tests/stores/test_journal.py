import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.ports import Trouble
from gateway.stores.journal import ROOM_BYTES, Journal, JournalBusy

MAX_BYTES = 10_000


class Events:
    """Counts what it hears."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.shipped: list[str] = []
        self.lost: list[tuple[str | None, str]] = []
        self.unshipped_bytes = -1
        self.failures: list[str] = []
        self.troubles: list[Trouble] = []

    def pair_written(self, cascade: str) -> None:
        self.written.append(cascade)

    def pair_shipped(self, cascade: str) -> None:
        self.shipped.append(cascade)

    def pair_lost(self, cascade: str | None, cause: str, trouble: Trouble) -> None:
        self.lost.append((cascade, cause))
        self.troubles.append(trouble)

    def journal_changed(self, unshipped_bytes: int) -> None:
        self.unshipped_bytes = unshipped_bytes

    def store_failed(self, error: str, trouble: Trouble) -> None:
        self.failures.append(error)
        self.troubles.append(trouble)


def opened(folder: Path, max_bytes: int = MAX_BYTES) -> tuple[Journal, Events]:
    events = Events()
    return Journal(folder, max_bytes=max_bytes, events=events), events


def ids(lines: Any) -> list[int]:
    return [json.loads(line)["pair"]["id"] for line in lines]


def record(number: int, padding: int = 0) -> bytes:
    return json.dumps({"id": number, "x": "x" * padding}).encode()


def test_pairs_come_back_in_order_and_once_shipped_no_more(tmp_path: Path) -> None:
    journal, events = opened(tmp_path)
    for number in range(5):
        journal.append("a", record(number))
    batch = journal.next_batch(3)
    assert ids(batch.lines) == [0, 1, 2]
    assert ids(journal.next_batch(3).lines) == [0, 1, 2]  # not shipped yet
    journal.mark_shipped(batch.end)
    assert ids(journal.next_batch(3).lines) == [3, 4]
    assert events.written == ["a"] * 5
    journal.mark_shipped(journal.next_batch(3).end)
    assert events.unshipped_bytes == 0
    assert journal.next_batch(3).lines == []
    journal.close()


def test_another_process_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    journal, _ = opened(tmp_path)
    for number in range(3):
        journal.append("a", record(number))
    journal.mark_shipped(journal.next_batch(1).end)
    journal.close()
    journal, events = opened(tmp_path)
    assert ids(journal.next_batch(10).lines) == [1, 2]
    assert events.unshipped_bytes > 0
    journal.close()


def test_one_process_holds_a_directory(tmp_path: Path) -> None:
    journal, _ = opened(tmp_path)
    with pytest.raises(JournalBusy, match="UNDERSTUDY_STATE_DIR"):
        opened(tmp_path)
    journal.close()
    opened(tmp_path)[0].close()


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    journal, _ = opened(tmp_path / "state")
    journal.append("a", record(1))
    journal.mark_shipped(0)
    for path in (tmp_path / "state").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    journal.close()


def test_a_pair_beyond_the_bound_is_counted_as_lost(tmp_path: Path) -> None:
    line = len(b'{"cascade":"a","pair":}\n') + len(record(1, 100))
    journal, events = opened(tmp_path, max_bytes=2 * line)
    for _ in range(3):
        journal.append("a", record(1, 100))
    assert journal.size == 2 * line
    assert events.written == ["a", "a"]
    assert events.lost == [("a", "journal_full")]
    journal.close()


def has_room(journal: Journal) -> bool:
    """Asked anew each time."""
    return journal.has_room


def test_room_is_for_a_pair_of_usual_size(tmp_path: Path) -> None:
    journal, _ = opened(tmp_path, max_bytes=ROOM_BYTES + 100)
    assert has_room(journal)
    assert journal.append("a", record(1, 200)) is True
    assert not has_room(journal)
    assert journal.append("a", record(1, ROOM_BYTES)) is False
    assert not has_room(journal)
    journal.close()


def test_a_failed_write_leaves_no_room_until_the_disk_has_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    free = [0]

    def disk(_: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=free[0], f_frsize=1)

    journal, _ = opened(tmp_path, max_bytes=10**7)
    monkeypatch.setattr("gateway.stores.journal.os.statvfs", disk)
    assert has_room(journal)
    monkeypatch.setattr("gateway.stores.journal.os.write", full)
    assert journal.append("a", record(1)) is False
    assert not has_room(journal)
    free[0] = ROOM_BYTES - 1
    assert not has_room(journal)
    free[0] = ROOM_BYTES
    assert has_room(journal)
    monkeypatch.undo()
    journal.close()


def test_a_large_journal_starts_afresh_once_all_is_shipped(tmp_path: Path) -> None:
    journal, events = opened(tmp_path)
    while journal.size < MAX_BYTES // 2:
        journal.append("a", record(1, 500))
    last = journal.next_batch(1000).end
    journal.mark_shipped(last)
    assert (tmp_path / "pairs.jsonl").stat().st_size == 0
    assert events.unshipped_bytes == 0
    journal.append("a", record(2))
    assert ids(journal.next_batch(10).lines) == [2]
    journal.close()


def test_a_small_journal_keeps_what_is_shipped(tmp_path: Path) -> None:
    journal, _ = opened(tmp_path)
    journal.append("a", record(1))
    journal.mark_shipped(journal.next_batch(10).end)
    assert (tmp_path / "pairs.jsonl").stat().st_size > 0
    journal.close()


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_last_line_spoils_no_other(tmp_path: Path, cut: int) -> None:
    journal, _ = opened(tmp_path)
    journal.append("a", record(1))
    journal.append("a", record(2))
    journal.close()
    path = tmp_path / "pairs.jsonl"
    os.truncate(path, path.stat().st_size - cut)
    journal, _ = opened(tmp_path)
    journal.append("a", record(3))
    lines = journal.next_batch(10).lines
    whole = [line for line in lines if line.endswith(b"}}")]
    assert ids(whole) in ([1, 3], [1, 2, 3])
    journal.close()


@pytest.mark.parametrize("offset", ["", "x", "-5", "999999"])
def test_an_offset_that_makes_no_sense_ships_again_rather_than_losing(
    tmp_path: Path, offset: str
) -> None:
    journal, _ = opened(tmp_path)
    journal.append("a", record(1))
    journal.close()
    (tmp_path / "pairs.shipped").write_text(offset)
    journal, _ = opened(tmp_path)
    assert ids(journal.next_batch(10).lines) == [1]
    journal.close()


def test_a_record_larger_than_one_read_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.stores.journal.READ_BYTES", 64)
    journal, _ = opened(tmp_path)
    journal.append("a", record(1, 1000))
    journal.append("a", record(2, 1000))
    assert ids(journal.next_batch(10).lines)[0] == 1
    journal.close()


@pytest.mark.parametrize("is_short", [True, False])
def test_a_full_disk_loses_that_pair_and_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_short: bool
) -> None:
    journal, events = opened(tmp_path)
    journal.append("a", record(1))
    whole = os.write

    def full(descriptor: int, data: bytes) -> int:
        if is_short and data.startswith(b"{"):
            return whole(descriptor, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gateway.stores.journal.os.write", full)
    journal.append("a", record(2))
    monkeypatch.undo()
    journal.append("a", record(3))
    assert ids(journal.next_batch(10).lines) == [1, 3]
    assert events.lost == [("a", "write_failed")]
    (trouble,) = events.troubles
    assert trouble.place == str(tmp_path / "pairs.jsonl")
    assert (trouble.errno, trouble.strerror) == (28, "No space left on device")
    journal.close()


def test_a_short_write_that_cannot_be_undone_is_counted_and_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    journal, events = opened(tmp_path)
    monkeypatch.setattr(
        "gateway.stores.journal.os.write", lambda _, data: 1 if data.startswith(b"{") else fail()
    )
    monkeypatch.setattr("gateway.stores.journal.os.ftruncate", fail)
    journal.append("a", record(1))
    monkeypatch.undo()
    assert events.lost == [("a", "write_failed")]
    assert events.troubles[0].errno == 5
    journal.close()


def test_a_file_that_somebody_shortened_stops_nothing(tmp_path: Path) -> None:
    journal, events = opened(tmp_path)
    journal.append("a", record(1))
    os.truncate(tmp_path / "pairs.jsonl", 0)
    assert list(journal.next_batch(10).lines) == []
    assert events.lost == [(None, "journal_shortened")]
    journal.append("a", record(2))
    assert ids(journal.next_batch(10).lines) == [2]
    journal.close()


def test_a_disk_that_is_full_of_shipped_pairs_is_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, events = opened(tmp_path)
    journal.append("a", record(1))
    journal.mark_shipped(journal.next_batch(10).end)
    whole, room = os.write, [journal.size]

    def limited(descriptor: int, data: bytes) -> int:
        if os.fstat(descriptor).st_size + len(data) > room[0]:
            raise OSError(28, "No space left on device")
        return whole(descriptor, data)

    monkeypatch.setattr("gateway.stores.journal.os.write", limited)
    journal.append("a", record(2))
    assert ids(journal.next_batch(10).lines) == [2]
    assert events.lost == []
    journal.close()


def test_a_full_disk_does_not_keep_a_torn_journal_from_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pairs.jsonl").write_bytes(b'{"cascade":"a","pai')

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gateway.stores.journal.os.write", full)
    opened(tmp_path)[0].close()
