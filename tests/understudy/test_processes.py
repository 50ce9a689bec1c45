import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from redis import Redis

from understudy.demo.processes import (
    Processes,
    ProcessFailedError,
    Program,
    answers,
    free_ports,
)
from understudy.demo.services import teacher_program, valkey_program

PATIENCE_SECONDS = 10.0


def wait_until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def script(name: str, source: str, ready: Path | None = None) -> Program:
    """A child that runs ``source``, and is ready once the file ``ready`` is there."""
    command = (sys.executable, "-c", textwrap.dedent(source))
    return Program(name, command, (lambda: True) if ready is None else ready.exists)


def sleeper(name: str, directory: Path, *, on_term: str = "raise SystemExit") -> Program:
    """A child that writes its id to NAME.pid, then sleeps; SIGTERM makes it do ``on_term``."""
    pid_file = directory / f"{name}.pid"
    source = f"""
        import os, pathlib, signal, time
        def end(*_):
            {on_term}
        signal.signal(signal.SIGTERM, end)
        beside = pathlib.Path({str(pid_file)!r} + ".part")
        beside.write_text(str(os.getpid()))
        beside.rename({str(pid_file)!r})
        while True:
            time.sleep(60)
    """
    return script(name, source, ready=pid_file)


def pid_of(name: str, directory: Path) -> int:
    return int((directory / f"{name}.pid").read_text())


def start(processes: Processes, program: Program) -> None:
    processes.start(program)
    processes.wait_ready(program)


def test_children_are_stopped_last_started_first(tmp_path: Path) -> None:
    order = tmp_path / "order"
    with Processes(tmp_path / "logs") as processes:
        for name in ("first", "second", "third"):
            leave = f"open({str(order)!r}, 'a').write('{name} '); raise SystemExit"
            start(processes, sleeper(name, tmp_path, on_term=leave))
        pids = [pid_of(name, tmp_path) for name in ("first", "second", "third")]
        assert not any(map(is_gone, pids))
    assert all(map(is_gone, pids))
    assert order.read_text() == "third second first "


def test_one_child_is_stopped_and_the_others_go_on(tmp_path: Path) -> None:
    with Processes(tmp_path / "logs") as processes:
        for name in ("first", "second"):
            start(processes, sleeper(name, tmp_path))
        processes.end("first")
        assert is_gone(pid_of("first", tmp_path))
        assert not is_gone(pid_of("second", tmp_path))
        processes.check()
    assert is_gone(pid_of("second", tmp_path))


def test_children_are_stopped_when_the_body_fails(tmp_path: Path) -> None:
    def body() -> None:
        with Processes(tmp_path / "logs") as processes:
            start(processes, sleeper("child", tmp_path))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        body()
    assert is_gone(pid_of("child", tmp_path))


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    with Processes(tmp_path / "logs", grace_seconds=0.2) as processes:
        start(processes, sleeper("stubborn", tmp_path, on_term="return"))
    assert is_gone(pid_of("stubborn", tmp_path))


def test_what_a_child_started_itself_is_stopped_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "grandchild.pid"
    source = f"""
        import pathlib, subprocess, time
        child = subprocess.Popen(["sleep", "60"])
        pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))
        time.sleep(60)
    """
    with Processes(tmp_path / "logs") as processes:
        processes.start(script("child", source))
        assert wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
        grandchild = int(pid_file.read_text())
    assert wait_until(lambda: is_gone(grandchild))


def test_a_child_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    program = script("hasty", "print('the port is taken'); raise SystemExit(3)", tmp_path / "never")
    with Processes(tmp_path / "logs") as processes:
        processes.start(program)
        with pytest.raises(
            ProcessFailedError, match=r"hasty ended with status 3\n.*hasty\.log"
        ) as e:
            processes.wait_ready(program)
    assert "the port is taken" in str(e.value)


def test_a_program_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    program = Program("absent", ("/no/such/program",), (tmp_path / "never").exists)
    with Processes(tmp_path / "logs") as processes:
        processes.start(program)
        with pytest.raises(ProcessFailedError, match="/no/such/program"):
            processes.wait_ready(program)


def test_a_child_that_is_not_ready_in_time_is_reported(tmp_path: Path) -> None:
    program = script("slow", "print('loading', flush=True); import time; time.sleep(60)")
    never = Program(program.name, program.command, lambda: False)
    with Processes(tmp_path / "logs") as processes:
        processes.start(never)
        with pytest.raises(ProcessFailedError, match=r"slow was not ready within 0\.1 seconds"):
            processes.wait_ready(never, seconds=0.1)


def test_a_child_has_a_session_of_its_own(tmp_path: Path) -> None:
    with Processes(tmp_path / "logs") as processes:
        start(processes, sleeper("child", tmp_path))
        assert os.getsid(pid_of("child", tmp_path)) != os.getsid(0)


def test_settings_for_another_gateway_are_not_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_KEYS_FILE", "/elsewhere")
    monkeypatch.setenv("ELSEWHERE", "kept")
    seen = tmp_path / "seen"
    source = f"""
        import os, pathlib
        names = ("UNDERSTUDY_KEYS_FILE", "UNDERSTUDY_PORT", "ELSEWHERE")
        pathlib.Path({str(seen)!r}).write_text(repr([os.environ.get(name) for name in names]))
    """
    program = Program(
        "child", script("child", source).command, lambda: True, {"UNDERSTUDY_PORT": "1"}
    )
    with Processes(tmp_path / "logs") as processes:
        processes.start(program)
        assert wait_until(lambda: seen.exists() and seen.read_text() != "")
    assert seen.read_text() == repr([None, "1", "kept"])


def test_interrupts_are_heeded_again_after_stopping(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with Processes(tmp_path / "logs"):
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_nothing_answers_at_a_free_port() -> None:
    assert not answers(f"http://127.0.0.1:{free_ports(1)[0]}/health")()


KILLED_PARENT = """
    import pathlib, time
    from understudy.demo.processes import Processes, free_ports
    from understudy.demo.services import teacher_program, valkey_program

    directory = pathlib.Path({directory!r})
    with Processes(directory / "logs") as processes:
        ports = free_ports(2)
        programs = [teacher_program(ports[0], 0)[0], valkey_program(ports[1], directory / "v")[0]]
        for program in programs:
            processes.start(program)
        for program in programs:
            processes.wait_ready(program)
        print("ready", flush=True)
        time.sleep(60)
"""


def test_a_killed_parent_leaves_nothing_behind(tmp_path: Path) -> None:
    source = textwrap.dedent(KILLED_PARENT).format(directory=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) == 2
        parent.kill()
    assert wait_until(lambda: all(is_gone(child.pid) for child in children))


def test_the_teacher_started_by_hand_ends_with_its_parent(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    program, _ = teacher_program(port, 0)
    source = f"import subprocess; subprocess.Popen({program.command!r}).wait()"
    with subprocess.Popen([sys.executable, "-c", source]) as parent:
        assert wait_until(program.is_ready)
        (child,) = psutil.Process(parent.pid).children()
        parent.kill()
    assert wait_until(lambda: is_gone(child.pid))


WATCHED = """
    import os, sys
    from understudy.demo import lifeline
    raise SystemExit(lifeline.watch_over({parent}, (sys.executable, "-c", {child!r})))
"""


def watcher(child: str, *, parent: str = "os.getppid()") -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(WATCHED).format(parent=parent, child=child)]


def test_without_the_kernels_help_a_watcher_ends_the_child() -> None:
    child = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    command = watcher(child, parent="os.getppid() + 1")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.wait(PATIENCE_SECONDS) != 0
        assert process.stdout is not None
        line = process.stdout.readline()
    assert line == b"" or is_gone(int(line))


def test_a_watcher_passes_signals_and_the_status_on() -> None:
    child = """
import signal, time
def end(*_):
    raise SystemExit(7)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(60)
"""
    with subprocess.Popen(watcher(child), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 7


def test_a_command_is_not_started_for_a_parent_that_is_gone(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    command = [sys.executable, "-m", "understudy.demo.lifeline", "--parent", "1", "--"]
    assert subprocess.run([*command, "touch", str(ran)]).returncode == 1
    assert not ran.exists()


def test_the_store_keeps_its_data_and_listens_on_loopback_alone(tmp_path: Path) -> None:
    before = psutil.Process().children()  # those of other tests' fixtures
    for run in (1, 2):
        (port,) = free_ports(1)
        program, url = valkey_program(port, tmp_path / "valkey")
        with Processes(tmp_path / "logs") as processes:
            start(processes, program)
            with Redis.from_url(url) as store:
                store.xadd("pairs", {"run": run})
                assert store.xlen("pairs") == run
            listening = [
                connection.laddr.ip
                for child in psutil.Process().children()
                if child not in before
                for connection in child.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            ]
            assert listening == ["127.0.0.1"]


def test_a_program_that_ends_by_itself_is_waited_for_and_its_failure_told(tmp_path: Path) -> None:
    waited = []

    def ending_with(status: int) -> Program:
        code = f"import time; time.sleep(0.2); raise SystemExit({status})"
        return Program("brief", (sys.executable, "-c", code), lambda: True)

    with Processes(tmp_path) as processes:
        processes.run(ending_with(0), lambda: waited.append(1))
        with pytest.raises(ProcessFailedError, match="brief ended with status 3") as caught:
            processes.run(ending_with(3), lambda: None)
        processes.check()  # what ended is no child any more
    assert waited
    assert caught.value.status == 3
