"""wrk is told what to send, and what it says is believed only where nothing failed."""

import json
import os
from pathlib import Path

import pytest

from bench.driven import Driven, LoadFailed
from bench.load import Target
from bench.wrk import Wrk, find_wrk

TARGET = Target(80, "/v1/x", "key", '{"model":"m"}', "text")
TOLD = {"requests": 50, "seconds": 2.5, "median_us": 1500, "p99_us": 9000}
FINE = {"bad_status": 0, "broken": 0, "late": 0}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing in it but what a test puts there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def script(file: Path, *lines: str) -> None:
    file.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    file.chmod(0o755)


def fake(path: Path, told: str) -> Wrk:
    """A wrk that notes how it was called."""
    script(
        path / "wrk",
        'if [ "$1" = -v ]; then echo "wrk 4.1.0 [epoll] Copyright"; exit 1; fi',
        f'echo "$@" >{path}/called',
        f'echo "$BENCH_KEY $BENCH_BODY" >{path}/sent',
        f"printf 'Running 2s test\\n\\n%s\\n' '{told}'",
    )
    found = find_wrk(None, print)
    assert found is not None
    return found


def test_wrk_is_told_what_to_ask_and_how_long(path: Path) -> None:
    wrk = fake(path, json.dumps(TOLD | FINE))
    assert wrk.name == "wrk 4.1.0"
    assert wrk.drive(TARGET, 16, 2.0) == Driven(50, 2.5, 1.5, 9.0)
    called = (path / "called").read_text()
    assert "--connections 16 --duration 2s" in called
    assert called.endswith(" http://127.0.0.1:80/v1/x\n")
    assert (path / "sent").read_text() == 'key {"model":"m"}\n'


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        (json.dumps(TOLD | FINE | {"bad_status": 3}), "another status than 200: 3"),
        (json.dumps(TOLD | FINE | {"broken": 2}), "broken connections: 2"),
        (json.dumps(TOLD | FINE | {"late": 1}), "after more than 60 s: 1"),
        (json.dumps(TOLD | FINE | {"requests": 0}), "no reply came"),
        ("unable to connect", "wrk said: .*unable to connect"),
    ],
)
def test_what_failed_is_no_load(told: str, complaint: str, path: Path) -> None:
    with pytest.raises(LoadFailed, match=rf"(?s){complaint}"):
        fake(path, told).drive(TARGET, 1, 1.0)


def test_without_wrk_and_without_apt_there_is_none(path: Path) -> None:
    assert find_wrk(None, print) is None


def test_a_wrk_that_does_not_run_is_none(path: Path) -> None:
    script(path / "wrk", "echo libluajit: no such file >&2; exit 127")
    assert find_wrk(None, print) is None


def test_a_cache_that_cannot_be_written_leaves_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("apt-get", "dpkg"):
        script(path / program, "exit 1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(path / "dpkg"))  # a file
    assert find_wrk(None, lambda _: None) is None


@pytest.mark.parametrize("is_there", [False, True], ids=["none", "broken"])
def test_wrk_is_taken_out_of_debians_packages_where_path_has_none(
    path: Path, is_there: bool
) -> None:
    for program in ("mkdir", "cat", "chmod", "touch"):
        (path / program).symlink_to(f"/bin/{program}")
    script(path / "apt-get", 'touch "$2.deb"')
    script(
        path / "dpkg",
        'mkdir -p "$3/usr/bin"',
        "case \"$2\" in wrk.deb) echo '#!/bin/sh' >usr/bin/wrk;"
        " echo 'echo wrk $LD_LIBRARY_PATH' >>usr/bin/wrk; chmod 755 usr/bin/wrk;; esac",
    )
    unpacked = Path(os.environ["XDG_CACHE_HOME"]) / "understudy/bench/wrk"
    if is_there:  # but not the libraries, when it was fetched the last time
        (unpacked / "usr/bin").mkdir(parents=True)
        script(unpacked / "usr/bin/wrk", "exit 127")
    wrk = find_wrk(None, lambda _: None)
    assert wrk is not None
    assert wrk.program == unpacked / "usr/bin/wrk"
    assert wrk.name.startswith(f"wrk {unpacked}/usr/lib/")
