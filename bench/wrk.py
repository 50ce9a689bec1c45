"""wrk, the load generator: found on PATH, or taken out of Debian's packages without installing it.

It sees of a reply no more than its status, so ``bench.load`` looks at what a server says first.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.driven import Driven, LoadFailed, NoReply
from bench.environments import cache
from bench.load import Target
from bench.processes import Pipes, Progress, child

SCRIPT = Path(__file__).parent / "wrk.lua"
# wrk, and what it needs that no system has of itself; Debian has had both names for the second.
PACKAGES = ("wrk",)
LIBRARIES = ("libluajit2-5.1-2", "libluajit-5.1-2", "libluajit-5.1-common")
FETCH_SECONDS = 120.0
# A reply that takes longer has failed; wrk's own two seconds are too few for slow servers.
REPLY_SECONDS = 60
GRACE_SECONDS = 30.0


class _Told(msgspec.Struct):
    """What ``wrk.lua`` writes."""

    requests: int
    seconds: float
    median_us: int
    p99_us: int
    bad_status: int
    broken: int
    late: int


@dataclass(frozen=True, slots=True)
class Wrk:
    """A wrk that runs here; ``env`` is where it finds its libraries, if that has to be said."""

    program: Path
    env: Mapping[str, str]
    allowed: frozenset[int] | None

    @property
    def name(self) -> str:
        """What it calls itself."""
        told = subprocess.run([self.program, "-v"], capture_output=True, env=self._environment())
        first = told.stdout.decode(errors="replace").partition("\n")[0]
        return first.partition(" [")[0] or "wrk"

    def drive(self, target: Target, concurrency: int, seconds: float) -> Driven:
        """Ask for so long over so many connections.  Raises LoadFailed."""
        url = f"http://127.0.0.1:{target.port}{target.path}"
        command = [
            *(str(self.program), "--threads", "1", "--connections", str(concurrency)),
            *("--duration", f"{max(1, round(seconds))}s", "--timeout", f"{REPLY_SECONDS}s"),
            *("--script", str(SCRIPT), url),
        ]
        env = self._environment() | {"BENCH_KEY": target.key, "BENCH_BODY": target.body}
        pipes = Pipes(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        with child(command, self.allowed, pipes, env) as process:
            try:
                written, _ = process.communicate(timeout=seconds + REPLY_SECONDS + GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                raise LoadFailed("wrk did not end") from None
        return _read(written)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.env}


def _read(written: bytes) -> Driven:
    """The last line of what it wrote.  Raises LoadFailed where it says that something failed."""
    try:
        told = msgspec.json.decode(written.strip().rpartition(b"\n")[2], type=_Told)
    except msgspec.DecodeError:
        raise LoadFailed(f"wrk said: {written.decode(errors='replace').strip()}") from None
    for count, what in (
        (told.bad_status, "replies with another status than 200"),
        (told.broken, "broken connections"),
        (told.late, f"replies after more than {REPLY_SECONDS} s"),
    ):
        if count:
            raise LoadFailed(f"wrk: {what}: {count}")
    if not told.requests:
        raise NoReply("wrk: no reply came")
    return Driven(told.requests, told.seconds, told.median_us / 1e3, told.p99_us / 1e3)


def find_wrk(allowed: frozenset[int] | None, progress: Progress) -> Wrk | None:
    """A wrk that runs, confined to those cores; None where there is none and apt has none."""
    if (found := shutil.which("wrk")) is not None:
        return _checked(Wrk(Path(found), {}, allowed))
    folder = cache() / "wrk"
    library = folder / "usr/lib" / f"{platform.machine()}-linux-gnu"
    unpacked = Wrk(folder / "usr/bin/wrk", {"LD_LIBRARY_PATH": str(library)}, allowed)
    if (runs := _checked(unpacked)) is not None:
        return runs
    progress("fetching wrk, once")
    _unpack(folder)
    return _checked(unpacked)


def _checked(wrk: Wrk) -> Wrk | None:
    """The same, if it can be run at all."""
    try:
        told = subprocess.run(
            [wrk.program, "-v"],
            capture_output=True,
            env={**os.environ, **wrk.env},
            timeout=GRACE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return wrk if told.stdout.startswith(b"wrk ") else None


def _unpack(folder: Path) -> None:
    """Take wrk's packages apart into a folder, where apt-get has them; no root is needed."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    for name in (*PACKAGES, *LIBRARIES):
        _run(["apt-get", "download", name], folder)
    for package in folder.glob("*.deb"):
        _run(["dpkg", "-x", package.name, "."], folder)


def _run(command: list[str], folder: Path) -> None:
    """Do it; what it did not do shows when wrk is run."""
    try:
        subprocess.run(command, cwd=folder, capture_output=True, timeout=FETCH_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return
