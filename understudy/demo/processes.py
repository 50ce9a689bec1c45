"""Starts the demo's processes, waits until they answer, and stops them, whatever happens.

It knows nothing of what they do.  A child ends with this process even where it is killed: see
``lifeline``.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

LOOPBACK = "127.0.0.1"
READY_SECONDS = 30.0
POLL_SECONDS = 0.05
GRACE_SECONDS = 8.0
LOG_TAIL_LINES = 15


class ProcessFailedError(RuntimeError):
    """A process ended early, or did not answer in time; the message shows the end of its log.

    ``status`` is what it ended with, None where it did not end.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, under which name, and how to tell that it is ready.

    ``environment`` is added to this process's own, of which no ``UNDERSTUDY_`` variable is passed
    on.  ``is_ready`` is asked again and again, and must neither raise nor take long.
    """

    name: str
    command: Sequence[str]
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Processes:
    """The children of this process, in the order in which they were started.

    Used as a context manager in the main thread: leaving it stops all of them, last started first.
    Each is the leader of a session of its own, so that a terminal's Ctrl-C reaches this process
    alone.
    """

    def __init__(self, log_directory: Path, grace_seconds: float = GRACE_SECONDS) -> None:
        """``log_directory`` is made where it is missing; NAME.log in it is overwritten.

        A child has ``grace_seconds`` to end after SIGTERM.
        """
        self._log_directory = log_directory
        self._grace_seconds = grace_seconds
        self._children: list[_Child] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, program: Program) -> None:
        """Start a program; it may not be ready yet.  Raises OSError where that is impossible."""
        self._log_directory.mkdir(parents=True, exist_ok=True)
        log = self._log_directory / f"{program.name}.log"
        lifeline = (sys.executable, "-m", "understudy.demo.lifeline", "--parent", str(os.getpid()))
        with log.open("wb") as output:
            process = subprocess.Popen(
                (*lifeline, "--", *program.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_inherited_environment() | dict(program.environment),
                start_new_session=True,
            )
        self._children.append(_Child(program.name, process, log))

    def wait_ready(self, program: Program, seconds: float = READY_SECONDS) -> None:
        """Wait until a started program is ready.

        Raises ProcessFailedError where any child ends, or this one is not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not program.is_ready():
            self.check()
            if time.monotonic() > deadline:
                child = next(child for child in self._children if child.name == program.name)
                raise ProcessFailedError(
                    f"{program.name} was not ready within {seconds:g} seconds\n{_tail(child.log)}"
                )
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """Raise ProcessFailedError where a child has ended."""
        self._check(self._children)

    def _check(self, children: Sequence[_Child]) -> None:
        for child in children:
            status = child.process.poll()
            if status is not None:
                raise ProcessFailedError(
                    f"{child.name} ended with status {status}\n{_tail(child.log)}", status
                )

    def run(self, program: Program, on_wait: Callable[[], None]) -> None:
        """Start a program that ends by itself and wait for that; ``on_wait`` is called meanwhile.

        Raises ProcessFailedError where its status is not 0, or another child ends.
        """
        self.start(program)
        *others, child = self._children
        while child.process.poll() is None:
            self._check(others)
            on_wait()
            time.sleep(POLL_SECONDS)
        self._children = others
        if child.process.returncode:
            self._check([child])

    def end(self, name: str) -> None:
        """Stop one child, as all are stopped at the end; the others go on."""
        child = next(child for child in self._children if child.name == name)
        with _interrupts_held_back():
            _stop(child.process, self._grace_seconds)
            self._children.remove(child)

    def stop(self) -> None:
        """Stop all children, last started first: SIGTERM, and SIGKILL after a grace period.

        SIGINT and SIGTERM are ignored meanwhile, so that an impatient second Ctrl-C leaves nothing
        behind either.
        """
        with _interrupts_held_back():
            while self._children:
                _stop(self._children[-1].process, self._grace_seconds)
                self._children.pop()


def free_ports(count: int) -> list[int]:
    """``count`` different ports on loopback that nothing listens on at this moment."""
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(count):
            listener = held.enter_context(socket.socket())
            listener.bind((LOOPBACK, 0))
            ports.append(int(listener.getsockname()[1]))
        return ports


def answers(url: str) -> Callable[[], bool]:
    """A question for ``Program.is_ready``: does a GET of ``url``, past any proxy, succeed?"""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def is_ready() -> bool:
        try:
            with opener.open(url, timeout=1.0) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return is_ready


def _inherited_environment() -> dict[str, str]:
    """This process's environment, without settings that were meant for another gateway."""
    return {name: value for name, value in os.environ.items() if not name.startswith("UNDERSTUDY_")}


def _stop(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    # What it may have started itself goes too.  macOS refuses to signal a group of zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, signal.SIG_IGN) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return "\n".join([f"the end of {log}:", *(f"  {line}" for line in lines)])


def lines_in(path: Path) -> int:
    """How many lines a file has so far; 0 where it is not there yet."""
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0
