import os
import threading
from pathlib import Path

from gateway.stores.group_sync import GroupSync


def test_a_close_that_comes_at_any_moment_is_not_missed(tmp_path: Path) -> None:
    """It races with the thread's waking; a close that waits for ever would fail here."""
    for number in range(300):
        synced: list[int] = []
        sync = GroupSync(1e-4, lambda _: None, synced.append)
        file = os.open(tmp_path / str(number), os.O_RDWR | os.O_CREAT)
        sync.use(file, tmp_path)
        for _ in range(number % 7):
            sync.written()
        closing = threading.Thread(target=sync.close, daemon=True)
        closing.start()
        closing.join(10)
        assert not closing.is_alive(), number
        assert file in synced


def test_full_files_are_synced_and_closed_and_removed_ones_are_closed_at_once(
    tmp_path: Path,
) -> None:
    synced: list[int] = []
    sync = GroupSync(60, lambda _: None, synced.append)
    files = [os.open(tmp_path / str(number), os.O_RDWR | os.O_CREAT) for number in range(3)]
    for file in files:
        sync.use(file, tmp_path)
    (tmp_path / "0").unlink()
    sync.let_go()
    assert not is_open(files[0])
    assert is_open(files[1])
    sync.close()
    assert set(synced) == set(files[1:])
    assert not any(is_open(file) for file in files)


def is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return False
    return True
