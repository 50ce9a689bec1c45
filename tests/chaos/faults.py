"""What goes wrong at 3 a.m., one way each.  A fault begins and ends while requests come in."""

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.valkey import StoreServer

VOLUME_BYTES = 4 * 2**20
FULL_STORE_BYTES = 64 * 2**10  # what a full store has left when it becomes full


def a_moment() -> None:
    """Some load, for a time that no two rounds have in common."""
    time.sleep(random.uniform(0.3, 1.2))


def kill_store(store: StoreServer) -> None:
    a_moment()
    store.stop(is_killed=True)
    a_moment()
    store.start()


def take_store_away(store: StoreServer, seconds: float) -> None:
    a_moment()
    store.stop()
    time.sleep(seconds)
    store.start()
    a_moment()


def fill_store(store: StoreServer) -> None:
    with store.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory", used + FULL_STORE_BYTES)
        a_moment()
        a_moment()
        client.config_set("maxmemory", 0)


def fill_disk(volume: Path, store: StoreServer) -> None:
    """The store is away meanwhile: what it has would make room."""
    a_moment()
    store.stop()
    filler = volume / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    a_moment()
    filler.unlink()
    store.start()
    a_moment()


@contextmanager
def small_volume(folder: Path) -> Iterator[Path]:
    """A file system of VOLUME_BYTES on ``folder``; skips where nobody may mount one."""
    folder.mkdir()
    options = f"size={VOLUME_BYTES},mode=0700"
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a full disk needs the right to mount a small file system (root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
