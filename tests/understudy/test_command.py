import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.cascades import load_cascades
from understudy.demo import command, endings
from understudy.demo.options import TEACHER_KEY_VARIABLE, Model
from understudy.demo.services import KEEP_AT_LEAST, write_config
from understudy.demo.state import StateInUseError, hold_state

DEMO = (sys.executable, "-m", "understudy", "demo")
STOP_SECONDS = 20.0


def run_demo(*options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "120"}
    return subprocess.run(
        [*DEMO, *options], capture_output=True, text=True, env=environment, timeout=55
    )


def test_a_demo_told_to_end_leaves_no_process(tmp_path: Path) -> None:
    options = ("--requests", "400", "--state-dir", str(tmp_path))
    with subprocess.Popen([*DEMO, *options], stdout=subprocess.DEVNULL) as process:
        demo = psutil.Process(process.pid)
        while len(children := demo.children(recursive=True)) < 4:
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert process.wait(STOP_SECONDS) == 128 + signal.SIGTERM
    _, alive = psutil.wait_procs(children, timeout=STOP_SECONDS)
    assert not alive


def test_a_second_demo_in_the_same_directory_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold_state(tmp_path):
        assert command.demo(requests=1, state_dir=tmp_path) == endings.FAILED
    assert "in use by another demo" in capsys.readouterr().out


def test_the_state_directory_is_private_and_free_again_afterwards(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for _ in range(2):
        with hold_state(state):
            assert state.stat().st_mode & 0o777 == 0o700

    def hold_twice() -> None:
        with hold_state(state), hold_state(state):
            pass

    with pytest.raises(StateInUseError):
        hold_twice()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"teacher_url": "http://127.0.0.1:1/v1"}, "belong together"),
        ({"teacher_model": "big"}, "belong together"),
        ({"teacher_url": "ftp://x", "teacher_model": "big"}, "must start with http"),
    ],
)
def test_half_a_teacher_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], words: str
) -> None:
    assert command.demo(state_dir=tmp_path / "state", **options) == endings.CANNOT_START
    assert words in capsys.readouterr().out
    assert not (tmp_path / "state").exists()


def test_a_redis_that_does_not_answer_is_reported(tmp_path: Path) -> None:
    done = run_demo("--state-dir", str(tmp_path), "--redis-url", "redis://127.0.0.1:1/0")
    assert done.returncode == endings.FAILED
    assert "no Redis answers" in done.stdout


def test_a_missing_package_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "NEEDED_PACKAGES", ("no_such_package",))
    assert command.demo() == endings.CANNOT_START
    assert "no_such_package" in (said := capsys.readouterr().out)
    assert "./dev demo" in said


def test_the_gateway_accepts_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    teacher = Model("http://127.0.0.1:2/v1", "big", key="secret")
    write_config(path, Model("http://127.0.0.1:1/v1", "small"), teacher)

    assert "secret" not in path.read_text()
    asked: list[str] = []

    def secret_of(name: str) -> str:
        asked.append(name)
        return "secret"

    (cascade,) = load_cascades(path, secret_of)
    assert asked == [TEACHER_KEY_VARIABLE]
    assert cascade.policy.threshold.value == KEEP_AT_LEAST
    assert not cascade.config.teacher.outputs_may_train
    # Without these, what is counted depends on the clock and on dice.
    assert cascade.config.student.extra_body == {"timings_per_token": True}
    assert cascade.config.audit.complete_drafts == 0


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(Model("http://127.0.0.1:2/v1", "big", key="secret"))


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost/v1", True),
        ("http://[::1]:8000/v1", True),
        ("https://models.example.com/v1", False),
        ("http://127.0.0.1.example.com/v1", False),
    ],
)
def test_a_model_on_this_machine_is_local(url: str, *, is_local: bool) -> None:
    assert Model(url, "any").is_local is is_local
