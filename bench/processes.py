"""The processes of a run: started each on its cores, watched, and ended with this one.

What a gateway costs is read from its process, all threads together, never from a clock.
"""

import contextlib
import http.client
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from bench.load import Job, Outcome
from understudy.demo.processes import free_ports

ROOT = Path(__file__).resolve().parents[1]  # Where `-m bench.load` finds this package.
START_SECONDS = 30.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02
LOG_TAIL_BYTES = 2000
WANTED_DESCRIPTORS = 8192
# Twice what is asked at once: who has its answer may ask again before the gateway has noted it.
MOST_OPEN = 2048


Progress = Callable[[str], None]


class StartFailed(Exception):
    """A process did not come up; the message says what it wrote."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores each process may use; None where they are not told apart."""

    gateway: frozenset[int] | None
    upstream: frozenset[int] | None
    load: frozenset[int] | None

    @property
    def is_pinned(self) -> bool:
        """Whether the gateway has a core to itself."""
        return self.gateway is not None


def cores() -> Cores:
    """The gateway alone on the last core, where there are two; a core for each, where three.

    Only Linux lets a process choose; elsewhere, and on one core, all may run anywhere.
    """
    if sys.platform != "linux":
        return Cores(None, None, None)
    *rest, last = sorted(os.sched_getaffinity(0))
    if not rest:
        return Cores(None, None, None)
    return Cores(frozenset([last]), frozenset(rest[:1]), frozenset(rest[1:] or rest))


def raise_descriptor_limit() -> None:
    """Take as many file descriptors as the system gives; children have them from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(WANTED_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def _confined_to(allowed: frozenset[int] | None) -> Iterator[None]:
    """Run a block on those cores: a child keeps what its parent had when it was started."""
    if allowed is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Pipes:
    """What a child's output is connected to: a file descriptor, PIPE, or None for ours."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


@contextmanager
def child(
    command: Sequence[str], allowed: frozenset[int] | None, pipes: Pipes, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block, and with this process, however that ends.

    It has a session of its own, so that Ctrl-C reaches this process alone, which ends the others.
    """
    with _confined_to(allowed):
        process = subprocess.Popen(
            command,
            stdin=pipes.stdin,
            stdout=pipes.stdout,
            stderr=pipes.stderr,
            env=env,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # what it did not read is lost
                    stream.close()


@contextmanager
def upstream(allowed: frozenset[int] | None) -> Iterator[int]:
    """The static upstream; yields its port.  Raises StartFailed."""
    command = [sys.executable, "-m", "bench.upstream"]
    pipes = Pipes(stdout=subprocess.PIPE)
    with child(command, allowed, pipes, os.environ) as process:
        assert process.stdout is not None
        port = process.stdout.readline()
        if not port:
            raise StartFailed("the upstream ended at once")
        yield int(port)


class LoadProcess:
    """The load generator, as this process sees it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def run(self, job: Job) -> Outcome:
        """Do one job and wait for its end.  Raises StartFailed where the process has died."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(msgspec.json.encode(job) + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise StartFailed("the load generator ended early") from None
        line = stdout.readline()
        if not line:
            raise StartFailed("the load generator ended early")
        return msgspec.json.decode(line, type=Outcome)


@contextmanager
def load_generator(allowed: frozenset[int] | None) -> Iterator[LoadProcess]:
    """The load generator."""
    command = [sys.executable, "-m", "bench.load"]
    pipes = Pipes(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child(command, allowed, pipes, os.environ) as process:
        yield LoadProcess(process)


class GatewayProcess:
    """A gateway, as this process sees it: its port, its time on the processor, its memory.

    Ours, or another that is measured beside it.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.port = port
        self._process = process
        self._log = log
        self._seen = psutil.Process(process.pid)

    def cpu_seconds(self) -> float:
        """User and system time so far, of all threads and of processes it started."""
        times = [each.cpu_times() for each in self._processes()]
        return sum(each.user + each.system for each in times)

    def resident_mib(self) -> float:
        """Resident memory now."""
        return sum(each.memory_info().rss for each in self._processes()) / 2**20

    def pause(self) -> None:
        """Have it compute nothing until it is told to go on."""
        for each in self._processes():
            each.suspend()

    def go_on(self) -> None:
        """Have it go on where it was paused."""
        for each in self._processes():
            each.resume()

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask one of the ops routes.  Raises OSError where nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STOP_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def wait_ready(self, path: str, seconds: float) -> None:
        """Wait until it says at ``path`` that it takes requests.  Raises StartFailed."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get(path)[0] == 200:
                    return
            time.sleep(POLL_SECONDS)
        raise StartFailed(f"the gateway did not start:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The end of what it wrote to standard error."""
        return self._log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")

    def _processes(self) -> list[psutil.Process]:
        return [self._seen, *self._seen.children(recursive=True)]


@contextmanager
def gateway(
    folder: Path, options: Sequence[str], allowed: frozenset[int] | None
) -> Iterator[GatewayProcess]:
    """``understudy serve`` with these options and room for all; yields it when it is ready.

    Its log goes to a file in ``folder``.  Raises StartFailed.
    """
    (port,) = free_ports(1)
    serve = [sys.executable, "-m", "understudy", "serve", "--port", str(port), *options]
    env = {key: value for key, value in os.environ.items() if not key.startswith("UNDERSTUDY_")}
    env["UNDERSTUDY_MAX_OPEN_REQUESTS"] = str(MOST_OPEN)
    start = Start("gateway", serve, port, "/readyz", env)
    with started(start, folder, allowed) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Start:
    """How a gateway is started on ``port``, and at which path it says that it is ready."""

    name: str
    command: Sequence[str]
    port: int
    ready_path: str
    env: Mapping[str, str]
    seconds: float = START_SECONDS


@contextmanager
def started(start: Start, folder: Path, allowed: frozenset[int] | None) -> Iterator[GatewayProcess]:
    """A gateway that ends with the block; yields it when it is ready.

    What it writes goes to a file in ``folder``.  Raises StartFailed.
    """
    tie = [sys.executable, "-m", "understudy.demo.lifeline", "--parent", str(os.getpid()), "--"]
    log = folder / f"{start.name}.log"
    with log.open("wb") as written:
        pipes = Pipes(stdout=written.fileno(), stderr=written.fileno())
        with child([*tie, *start.command], allowed, pipes, start.env) as process:
            running = GatewayProcess(process, start.port, log)
            running.wait_ready(start.ready_path, start.seconds)
            yield running
