"""Environments of the gateways that are measured beside ours: each made once, from its own lock.

They lie in the user's cache, named after the lock, so that another lock makes another one.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bench.processes import ROOT, Progress

LOCKS = ROOT / "requirements"
INSTALL_SECONDS = 600.0
TOLD_BYTES = 300
_MARK = "installed"


class Absent(Exception):
    """Something that would be measured is not to be had here; the message says why."""


def cache() -> Path:
    """Where the bench keeps what it has installed."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(chosen) if Path(chosen).is_absolute() else Path.home() / ".cache"
    return base / "understudy" / "bench"


def lock_of(name: str) -> Path:
    """What a peer's environment is made from."""
    return LOCKS / f"peer-{name}.txt"


def locked_version(name: str, package: str) -> str:
    """The release of a package that a peer's lock has."""
    found = re.search(rf"^{re.escape(package)}==([^\s;]+)", lock_of(name).read_text(), re.MULTILINE)
    if found is None:
        raise Absent(f"{lock_of(name).name} has no {package}")
    return found[1]


def folder_of(name: str) -> Path:
    """Where a peer's environment is, or will be: for this lock and this Python."""
    made_from = lock_of(name).read_bytes() + sys.version.encode()
    return cache() / f"{name}-{hashlib.sha256(made_from).hexdigest()[:12]}"


def environment(name: str, progress: Progress) -> Path:
    """The folder of a peer's environment, made where it is not there yet.  Raises Absent."""
    try:
        folder = folder_of(name)
        if not (folder / _MARK).is_file():
            progress(f"installing {name}, once")
            _install(lock_of(name), folder)
        return folder
    except (OSError, subprocess.SubprocessError) as error:
        raise Absent(f"it could not be installed: {_told(error)}") from None


def _install(lock: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # an install that broke off
    _do([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    _do(
        [
            *(sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")),
            *("--quiet", "--disable-pip-version-check", "install", "--no-deps", "--compile"),
            *("--require-hashes", "--only-binary", ":all:", "--requirement", str(lock)),
        ]
    )
    (folder / _MARK).touch()


def _do(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_SECONDS)


def _told(error: Exception) -> str:
    """The last of what a command wrote, or what else went wrong."""
    if isinstance(error, subprocess.CalledProcessError):
        written = (error.stderr or error.stdout).decode(errors="replace").strip()
        return written[-TOLD_BYTES:] or f"{error.cmd[0]} ended with {error.returncode}"
    return str(error)
