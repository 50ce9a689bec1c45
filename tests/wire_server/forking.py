"""Processes of `understudy` that begin where all of it is imported.

To import it takes most of a second of a processor, and a run of the tests starts some fifty
gateways.  So one process imports it and forks the others: each is a process of its own, with its
own environment, folder, log and signals, and runs what the command line runs from there on.
``python -m tests.wire_server.forking FD`` is that process.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

CHUNK_BYTES = 2**20
ROOT = Path(__file__).parents[2]


class Forked:
    """What `subprocess.Popen` is of a process that it started, as far as tests need it."""

    def __init__(self, arguments: Sequence[str], told: IO[bytes]) -> None:
        self.args = arguments
        self.returncode: int | None = None
        self._told = told
        self.pid = int(told.readline())

    def poll(self) -> int | None:
        """Its exit status, negative for a signal that ended it; None while it runs."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for it.  Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def _end(self) -> None:
        self.returncode = os.waitstatus_to_exitcode(int(self._told.readline()))
        self._told.close()

    def send_signal(self, number: int) -> None:
        """Send it a signal, where it runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that others are forked from; it ends with this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "tests.wire_server.forking", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes]
    ) -> Forked:
        """Run ``understudy`` with these arguments in the folder that this process is in."""
        asked = {"arguments": arguments, "environment": environment, "folder": str(Path.cwd())}
        content = json.dumps(asked).encode() + b"\n"
        told, tells = os.pipe()
        with self._lock:  # one after the other
            try:
                sent = socket.send_fds(self._socket, [content], [stderr.fileno(), tells])
                self._socket.sendall(content[sent:])
            finally:
                os.close(tells)
            return Forked(arguments, os.fdopen(told, "rb", buffering=0))

    def close(self) -> None:
        self._socket.close()
        self._process.wait(10)


def _serve(requests: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the tests
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who watch
    while True:
        content, descriptors, _, _ = socket.recv_fds(requests, CHUNK_BYTES, 2)
        if not content:
            return
        while not content.endswith(b"\n"):
            content += requests.recv(CHUNK_BYTES)
        if os.fork() == 0:
            requests.close()
            _watch(json.loads(content), *descriptors)
        for each in descriptors:
            os.close(each)


def _watch(asked: Mapping[str, Any], stderr: int, tells: int) -> None:
    """Fork it, say its number and, once it has ended, how."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(tells)
        _become(asked, stderr)
    os.close(stderr)
    os.write(tells, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    os.write(tells, b"%d\n" % status)
    os._exit(0)


def _become(asked: Mapping[str, Any], stderr: int) -> None:
    from understudy.__main__ import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(stderr, 2)
    os.close(stderr)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv = ["understudy", *asked["arguments"]]
    main()


if __name__ == "__main__":
    import understudy.__main__
    import understudy.serve  # noqa: F401  # what each of them would import

    gc.freeze()  # pages that nobody writes to are shared
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        _serve(requests)
