import getpass
import os
import signal
from pathlib import Path

import pytest
import yaml

from tests.fakes.serving import cascade_document
from understudy.distill.people import configured, stopping, whoami
from understudy.distill.registry import Place
from understudy.telling import CommandError


def test_a_user_is_named_with_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "desk")
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    assert whoami() == "ada@desk"


def test_a_container_s_user_may_have_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert whoami().startswith("unknown@")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    one = cascade_document("http://student", "http://teacher")
    path = tmp_path / "cascades.yaml"
    path.write_text(yaml.safe_dump({"cascades": {"assistant": one, "other": one}}))
    return path


def test_one_of_several_cascades_is_chosen_by_name(config: Path) -> None:
    assert configured(config, Place(None, "other")).name == "other"
    with pytest.raises(CommandError, match="several cascades, assistant, other: choose"):
        configured(config, Place())
    with pytest.raises(CommandError, match="there is no 'third' in the file"):
        configured(config, Place(None, "third"))
    config.write_text("cascades: {}")
    with pytest.raises(CommandError, match="--config: "):
        configured(config, Place())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_heard_and_the_second_is_as_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    heard: list[int] = []
    signal.signal(number, lambda *_: heard.append(1))
    try:
        with stopping() as world:
            assert not world.wait(0.0)
            os.kill(os.getpid(), number)
            assert world.wait(5.0)
            assert not world.wait(0.0)
            os.kill(os.getpid(), number)
        assert heard == [1]
    finally:
        signal.signal(number, before)
