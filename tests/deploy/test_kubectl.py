"""The kubectl of the tests is one that runs here."""

import shutil
from pathlib import Path

import pytest

from tests.deploy import kubectl


@pytest.fixture
def for_another_machine(tmp_path: Path) -> str:
    program = tmp_path / "kubectl"
    program.write_bytes(b"\x7fELF of a processor that is not this one")
    program.chmod(0o755)
    return str(program)


def take(monkeypatch: pytest.MonkeyPatch, *, locked: str | None, on_path: str | None) -> str:
    monkeypatch.setattr(kubectl, "unpacked", lambda: locked)
    monkeypatch.setattr(shutil, "which", lambda _: on_path)
    return kubectl.kubectl.__wrapped__()


def test_the_locked_one_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert take(monkeypatch, locked="true", on_path="echo") == "true"


def test_one_that_is_for_another_machine_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, for_another_machine: str
) -> None:
    assert take(monkeypatch, locked=for_another_machine, on_path="true") == "true"


def test_without_one_that_runs_tests_skip(
    monkeypatch: pytest.MonkeyPatch, for_another_machine: str
) -> None:
    for on_path in (None, for_another_machine, "false"):
        with pytest.raises(pytest.skip.Exception, match="no kubectl runs here"):
            take(monkeypatch, locked=None, on_path=on_path)
