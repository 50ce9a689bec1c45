import errno
import os
from pathlib import Path

import fsspec
import pytest

from understudy.pairs.places import PARTIAL, PARTIAL_SECONDS, Place, place_at
from understudy.telling import CommandError


@pytest.fixture(params=["local", "memory"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A folder of this machine, and one of a store that is none."""
    if request.param == "local":
        return place_at(str(tmp_path / "out"))
    fsspec.filesystem("memory").store.clear()
    return place_at("memory://out")


def test_a_file_is_there_once_it_is_whole(either: Place) -> None:
    with either.writing("a/b.txt") as file:
        file.write(b"half")
        assert either.matching("a/*.txt") == []
        file.write(b" and half")
    assert either.matching("a/*.txt") == ["a/b.txt"]
    with either.reading("a/b.txt") as file:
        assert file.read() == b"half and half"


@pytest.mark.parametrize("name", ["it's", "[1]", "*", "{a,b}", "a b", "#1"])
def test_a_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    for each in (name, "other"):
        with place_at(str(tmp_path / each)).writing("a/b.txt") as file:
            file.write(b"")
    assert place_at(str(tmp_path / name)).matching("*/b.txt") == ["a/b.txt"]


@pytest.mark.parametrize("name", ["why?", "a\\b"])
def test_what_no_index_can_lie_in_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="choose a folder"):
        place_at(str(tmp_path / name))


def break_off(place: Place, name: str, data: bytes) -> None:
    with place.writing(name) as file:
        file.write(data)
        raise KeyError


def test_a_full_disk_is_told_with_the_file(tmp_path: Path) -> None:
    place = place_at(str(tmp_path))
    with pytest.raises(OSError, match="No space") as full, place.writing("a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.filename == place.path("a.txt")


def test_a_file_that_breaks_off_is_never_there(either: Place) -> None:
    with pytest.raises(KeyError):
        break_off(either, "a/b.txt", b"half")
    assert either.matching("a/*") == []


def test_a_file_that_breaks_off_leaves_the_one_before(either: Place) -> None:
    with either.writing("b.txt") as file:
        file.write(b"before")
    with pytest.raises(KeyError):
        break_off(either, "b.txt", b"after")
    with either.reading("b.txt") as file:
        assert file.read() == b"before"


def test_names_come_in_order_and_relative(either: Place) -> None:
    for name in ("x/2", "x/1", "y/3"):
        with either.writing(name) as file:
            file.write(b"1")
    assert either.matching("*/*") == ["x/1", "x/2", "y/3"]
    either.remove("x/1")
    either.remove("x/1")
    assert either.matching("*/*") == ["x/2", "y/3"]


def test_files_are_for_their_owner(tmp_path: Path) -> None:
    place = place_at(str(tmp_path / "out"))
    with place.writing("a/b.txt") as file:
        file.write(b"secret")
    assert (tmp_path / "out/a/b.txt").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out/a").stat().st_mode & 0o777 == 0o700


def test_a_file_and_its_name_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order: the file's data, its name, the folder that holds the name."""
    told: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        told.append(f"fsync {os.readlink(f'/proc/self/fd/{descriptor}')}")
        fsync(descriptor)

    def noted_replace(old: str, new: str) -> None:
        told.append(f"rename {new}")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    folder = tmp_path / "new"
    with place_at(str(folder)).writing("b.txt") as file:
        file.write(b"1")
    made, data, renamed, named = told
    assert made == f"fsync {tmp_path}"
    assert data.startswith(f"fsync {folder}/.b.txt.")
    assert renamed == f"rename {folder}/b.txt"
    assert named == f"fsync {folder}"


def test_what_was_left_half_written_is_cleared_away_after_a_day(tmp_path: Path) -> None:
    place = place_at(str(tmp_path))
    (tmp_path / "a").mkdir()
    old, young = (tmp_path / "a" / f".{name}.ab{PARTIAL}" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, young.stat().st_mtime - PARTIAL_SECONDS - 5))
    place.sweep()
    assert not old.exists()
    assert young.exists()


def test_an_unknown_kind_of_place_is_refused() -> None:
    with pytest.raises(CommandError, match="nowhere"):
        place_at("nowhere://bucket")
