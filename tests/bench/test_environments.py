"""Other gateways are installed once, each in a place of its own, and what cannot be says why."""

from pathlib import Path

import pytest

from bench import environments
from bench.environments import Absent, cache, environment, folder_of, locked_version


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(environments, "LOCKS", tmp_path)
    return tmp_path


def test_a_lock_that_holds_nothing_makes_an_environment_once(elsewhere: Path) -> None:
    (elsewhere / "peer-some.txt").write_text("# nothing\n")
    told: list[str] = []
    first = environment("some", told.append)
    assert (first / "bin" / "python").exists()
    assert first.parent == cache()
    assert environment("some", told.append) == first
    assert told == ["installing some, once"]


def test_another_lock_makes_another_environment(elsewhere: Path) -> None:
    lock = elsewhere / "peer-some.txt"
    lock.write_text("# nothing\n")
    first = folder_of("some")
    lock.write_text("# nothing either\n")
    assert folder_of("some") != first


@pytest.mark.parametrize(
    ("lock", "why"), [("!! no requirement\n", "Invalid requirement"), (None, "No such file")]
)
def test_what_cannot_be_installed_is_absent_and_says_why(
    lock: str | None, why: str, elsewhere: Path
) -> None:
    if lock is not None:
        (elsewhere / "peer-some.txt").write_text(lock)
    with pytest.raises(Absent, match=why):
        environment("some", lambda _: None)
    assert not list(elsewhere.rglob("installed"))


def test_the_release_is_what_the_lock_says(elsewhere: Path) -> None:
    (elsewhere / "peer-some.txt").write_text("other-some==2\nsome==1.2.post1 ; python>='3'\n")
    assert locked_version("some", "some") == "1.2.post1"
    with pytest.raises(Absent, match=r"peer-some\.txt has no third"):
        locked_version("some", "third")
