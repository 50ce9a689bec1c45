"""Containers without an engine: Linux namespaces, and overlays over this machine's own files.

A root is what an engine makes of layers: whatever is written to it goes into a folder of its own,
and this machine is left as it is.  Instead of the base image's Debian there is this machine's, and
at /usr/local the Python that is named.  All roots of a ``Host`` share a network, which has loopback
alone and is no other process's; so ports are free, and names are what ``Host.name`` says.

It needs Linux and root, and skips where it cannot have them.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.dockerfiles import BASE_PATH

# No longer than a test may take. A process whose output nobody waits for ends with its test.
SECONDS = 300


@dataclass(frozen=True)
class Manner:
    """How a process is run: as an image and whoever starts a container of it say.

    ``is_building``: on this machine's own network, to fetch packages from where it does.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = "0:0"
    folder: str = "/"
    is_building: bool = False


class Root:
    """A root file system; ``path`` is where it is for the processes of its host."""

    def __init__(self, host: "Host", path: Path) -> None:
        self._host = host
        self.path = path

    def command(self, command: Sequence[str], manner: Manner) -> list[str]:
        """The command line that runs a command in here.  Others than root have no capability."""
        user, _, group = manner.user.partition(":")
        drop = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        if user != "0":
            drop += ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        variables = [f"{name}={value}" for name, value in manner.environment.items()]
        return [
            *(self._host.enter_mounts if manner.is_building else self._host.enter),
            *("chroot", str(self.path)),
            *("setpriv", *drop, "--pdeathsig=KILL"),
            *("env", "--ignore-environment", f"--chdir={manner.folder}", *variables),
            *command,
        ]

    def run(self, command: Sequence[str], manner: Manner | None = None) -> str:
        """Run a command to its end, which has to be a good one; what it printed."""
        ran = self.tried(command, manner)
        assert ran.returncode == 0, f"{shlex.join(command)}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def tried(
        self, command: Sequence[str], manner: Manner | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is."""
        line = self.command(command, manner or Manner({"PATH": BASE_PATH}))
        return subprocess.run(line, check=False, capture_output=True, text=True, timeout=SECONDS)

    @contextlib.contextmanager
    def started(
        self, command: Sequence[str], manner: Manner, log: Path
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A process of this root; told to end at the end, and killed where it does not."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(command, manner), stdout=output, stderr=subprocess.STDOUT
            )
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(20)
                finally:
                    process.kill()

    def bring(self, source: Path, target: str) -> None:
        """Copy a file or folder of this machine, or of another root, into this one."""
        self._host.do(
            'mkdir -p "$(dirname "$2")" && cp -R --preserve=mode,timestamps,links "$1" "$2"',
            source, self.path / target.lstrip("/"),
        )  # fmt: skip

    def mount(self, source: Path, target: str, *, is_read_only: bool) -> None:
        """Put a file or folder of this machine at a place in here."""
        self._host.do(
            'mkdir -p "$(dirname "$2")"; if [ -d "$1" ]; then mkdir -p "$2"; else touch "$2"; fi; '
            'mount --bind "$1" "$2"; mount -o "remount,bind,$3" "$2"',
            source, self.path / target.lstrip("/"), "ro" if is_read_only else "rw",
        )  # fmt: skip

    def seal(self) -> None:
        """From here on nothing can be written but to what is mounted."""
        self._host.do('for place in "$1/usr/local" "$1"; do mount -o remount,ro "$place"; done',
                      self.path)  # fmt: skip

    def bytes_written(self) -> int:
        """How large the files are that were written here."""
        told = self._host.do('du --apparent-size --block-size=1 -s "$1.upper" "$1.local-upper"',
                             self.path)  # fmt: skip
        return sum(int(line.split()[0]) for line in told.splitlines())


class Host:
    """A network and mounts of its own, which end with this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "sh", "-ec", _HOLD, "sh", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        target = f"--target={self._holder.pid}"
        self.enter = ("nsenter", target, "--mount", "--net", "--")
        self.enter_mounts = ("nsenter", target, "--mount", "--")

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate()

    def do(self, script: str, *arguments: object) -> str:
        """Run a script in these namespaces, but outside all roots; what it printed."""
        line = [*self.enter, "sh", "-ec", script, "sh", *map(str, arguments)]
        ran = subprocess.run(line, check=False, capture_output=True, text=True, timeout=SECONDS)
        assert ran.returncode == 0, f"{script}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def root(self, name: str, python: Path) -> Root:
        """A fresh root with a Python's installation at /usr/local."""
        path = self._folder / name
        self.do(_LAY, path, python)
        return Root(self, path)

    def name(self, root: Root, names: Mapping[str, str]) -> None:
        """Let hosts be known by name in a root, at addresses of loopback."""
        lines = "".join(f"{address} {name}\n" for name, address in names.items())
        self.do('printf "127.0.0.1 localhost\n%s" "$2" >"$1/etc/hosts"', root.path, lines)


_HOLD = """
mount --make-rprivate /
mount -t tmpfs -o mode=755 layers "$1"
ip link set lo up
echo ready
exec cat
"""

# The lower layer is a file system of which the upper one may be no part: hence the tmpfs. Whoever
# runs the tests may have the checkout and its Python where others may not look.
_LAY = """
lay() { # lay LOWER PLACE UPPER
    mkdir -p "$2" "$3" "$3.work"
    mount -t overlay overlay -o "lowerdir=$1,upperdir=$3,workdir=$3.work" "$2"
}
lay / "$1" "$1.upper"
lay "$2" "$1/usr/local" "$1.local-upper"
mount --rbind /dev "$1/dev"
mount --rbind /proc "$1/proc"
chmod a+rx "$1/root"
"""


@contextlib.contextmanager
def host(folder: Path) -> Iterator[Host]:
    """A host; the test skips where this machine does not let it be made."""
    reason = _why_not()
    if reason is not None:
        pytest.skip(f"no container can be made here: {reason}")
    made = Host(folder)
    try:
        yield made
    finally:
        made.close()


@cache
def _why_not() -> str | None:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "it takes Linux and root"
    script = (
        "mount -t tmpfs tmpfs /tmp; mkdir /tmp/u /tmp/w /tmp/m; ip link set lo up; "
        "mount -t overlay overlay -o lowerdir=/,upperdir=/tmp/u,workdir=/tmp/w /tmp/m; "
        "setpriv --version"
    )
    try:
        tried = subprocess.run(
            ["unshare", "--mount", "--net", "sh", "-ec", script],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
    except OSError as error:
        return str(error)
    return None if tried.returncode == 0 else tried.stderr.strip() or "unshare failed"


def stop(process: "subprocess.Popen[Any]") -> int:
    """Tell a process to end, as an engine does, and wait for it."""
    process.send_signal(signal.SIGTERM)
    return process.wait(30)
