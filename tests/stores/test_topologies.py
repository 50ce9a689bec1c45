"""Records reach whatever servers there are: a cluster, a replica that took over, TLS, a user."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from gateway.stores.generation_store import GenerationStore
from gateway.stores.redis_keys import generations_key, pairs_key, replicas_key
from gateway.stores.retention import Retention, enforce
from gateway.stores.store_url import parse_store_url
from tests.fakes.serving import free_port, wait_until
from tests.fakes.valkey import (
    SLOTS,
    StoreServer,
    Watched,
    cluster,
    knows,
    sentinels,
    server_binaries,
)
from tests.stores.opening import record, segments
from tests.stores.shipping import shipping, stored
from tests.stores.test_posting import is_each_once, post


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[StoreServer]]:
    with cluster(tmp_path / "cluster") as nodes:
        yield nodes


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with sentinels(tmp_path / "watched") as watched:
        yield watched


def home(nodes: list[StoreServer], cascade: str) -> int:
    """The number of the node with that cascade's slot."""
    return key_slot(pairs_key(cascade).encode()) * len(nodes) // SLOTS


def cascade_of(nodes: list[StoreServer], number: int) -> str:
    """A cascade whose slot is there."""
    return next(name for name in (f"c{n}" for n in range(1000)) if home(nodes, name) == number)


async def test_each_cascade_s_records_go_to_the_node_with_its_slot(
    nodes: list[StoreServer], tmp_path: Path
) -> None:
    cascades = [cascade_of(nodes, number) for number in range(3)]
    async with shipping(nodes[0].url, tmp_path) as one:
        for number in range(30):
            one.journal.append(cascades[number % 3], record(number))
        for cascade in cascades:
            post(one, 1, 2, 3, cascade=cascade)
        await one.rounds(2)
        for number, cascade in enumerate(cascades):
            assert is_each_once(nodes[number], [1, 2, 3], cascade)
            assert stored(nodes[number].client(), cascade) == list(range(number, 30, 3))
        assert one.events.failures == []
        one.journal.rotate()
        one.tidy()
        assert segments(tmp_path) == []  # each node said that it has its part on disk


async def test_one_node_without_a_disk_is_told_and_not_contradicted_by_the_others(
    nodes: list[StoreServer], tmp_path: Path
) -> None:
    safe, unsafe = cascade_of(nodes, 0), cascade_of(nodes, 2)
    with nodes[2].client() as client:
        client.config_set("appendonly", "no")
    async with shipping(nodes[0].url, tmp_path) as one:
        one.journal.append(unsafe, record(0))
        await one.rounds(2)
        for number in range(3):
            one.journal.append(safe, record(number))
            await one.rounds(2)
        assert stored(nodes[0].client(), safe) == [0, 1, 2]
        assert one.events.durability[0] is False
        assert True not in one.events.durability
        with nodes[2].client() as client:
            client.config_set("appendonly", "yes")
            wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
        one.journal.append(unsafe, record(1))
        await one.rounds(2)
        assert one.events.is_durable


async def test_a_node_that_is_down_holds_up_only_its_own_cascades(
    nodes: list[StoreServer], tmp_path: Path
) -> None:
    here, there = cascade_of(nodes, 0), cascade_of(nodes, 2)
    async with shipping(nodes[0].url, tmp_path) as one:
        nodes[2].stop(is_killed=True)
        for number in range(6):
            one.journal.append(there if number % 2 else here, record(number))
        await one.rounds(4)
        assert stored(nodes[0].client(), here) == [0, 2, 4]
        assert set(one.events.failed_cascades) == {there}
        one.journal.append(here, record(6))
        await one.rounds(2)
        assert stored(nodes[0].client(), here) == [0, 2, 4, 6]
        nodes[2].start()
        wait_until(lambda: knows(nodes[2], 3), seconds=20)
        await one.rounds(6)
        assert stored(nodes[2].client(), there) == [1, 3, 5]
        assert one.holdings.unshipped_bytes == 0


async def test_a_slot_that_moves_is_followed_while_records_flow(
    nodes: list[StoreServer], tmp_path: Path
) -> None:
    cascade = cascade_of(nodes, 1)
    slot = key_slot(pairs_key(cascade).encode())
    async with shipping(nodes[0].url, tmp_path) as one:
        one.journal.append(cascade, record(0))
        await one.rounds(1)
        source: Any = nodes[1].client()
        target: Any = nodes[2].client()
        ids = [str(each.execute_command("CLUSTER", "MYID"), "ascii") for each in (source, target)]
        target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        keys = source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
        address = ("127.0.0.1", nodes[2].port)
        source.execute_command("MIGRATE", *address, "", 0, 5000, "KEYS", *keys)
        one.journal.append(cascade, record(1))
        await one.rounds(2)  # ASK: it waits
        assert one.events.failures[-1].startswith("AskError")
        for node in (target, source):
            node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        await one.rounds(4)
        assert stored(nodes[2].client(), cascade) == [0, 1]
        source.close()
        target.close()


async def test_the_node_of_the_url_may_go_once_the_others_are_known(
    nodes: list[StoreServer], tmp_path: Path
) -> None:
    far = [cascade_of(nodes, 1), cascade_of(nodes, 2)]
    async with shipping(nodes[0].url, tmp_path) as one:
        for cascade in far:
            one.journal.append(cascade, record(1))
        await one.rounds(1)
        nodes[0].stop(is_killed=True)
        for cascade in far:
            one.journal.append(cascade, record(2))
        await one.rounds(4)
        assert stored(nodes[1].client(), far[0]) == [1, 2]
        assert stored(nodes[2].client(), far[1]) == [1, 2]


async def test_a_replica_that_takes_over_gets_what_it_may_have_missed(
    watched: Watched, tmp_path: Path
) -> None:
    first, second = watched.servers
    async with shipping(watched.url, tmp_path, segment_bytes=1) as one:
        one.journal.append("a", record(1))
        post(one, 1)
        await one.rounds(1)
        assert stored(first.client()) == [1]
        one.journal.rotate()
        one.tidy()
        assert len(segments(tmp_path)) == 2  # on disk there, but a replica may take its place
        first.stop(is_killed=True)
        one.journal.append("a", record(2))
        post(one, 2)

        await one.rounds(1)
        wait_until(lambda: all(names(one, second) for one in watched.sentinels), seconds=30)
        await one.rounds(5)
        ids = stored(second.client())
        assert set(ids) == {1, 2}
        assert ids.count(2) <= 2
        assert is_each_once(second, [1, 2])
        assert one.holdings.unshipped_bytes == 0


def names(sentinel: StoreServer, server: StoreServer) -> bool:
    """Whether a sentinel says that this is the server to write to."""
    with sentinel.client() as client:
        address: Any = client.sentinel_get_master_addr_by_name("pairs")
        return int(address[1]) == server.port


async def test_a_sentinel_that_is_down_is_passed_over(watched: Watched, tmp_path: Path) -> None:
    watched.sentinels[0].stop(is_killed=True)
    async with shipping(watched.url, tmp_path) as one:
        one.journal.append("a", record(1))
        await one.rounds(1)
        assert stored(watched.servers[0].client()) == [1]


async def test_without_any_sentinel_records_wait(tmp_path: Path) -> None:
    url = "redis+sentinel://:s3cret@127.0.0.1:1,127.0.0.1:2/pairs"
    async with shipping(url, tmp_path) as one:
        one.journal.append("a", record(1))
        await one.shipper.flush(5)
        assert one.ids() == [1]
        (trouble,) = one.events.troubles
        assert trouble.place.startswith("127.0.0.1:")
        assert trouble.strerror == "Connection refused"


async def test_a_user_that_may_do_just_what_is_needed_is_enough(
    store: StoreServer, tmp_path: Path
) -> None:
    rights = (
        "on >s3cret ~understudy:* +xadd +xrange +xdel +xlen +xtrim +memory|usage +time +info"
        " +client|id"
    )
    with store.client() as client:
        try:
            client.execute_command("ACL", "SETUSER", "pairs", *rights.split(), "+waitaof")
        except redis.ResponseError:  # a server that has no such command
            client.execute_command("ACL", "SETUSER", "pairs", *rights.split())
    url = f"redis://pairs:s3cret@127.0.0.1:{store.port}/0"
    async with shipping(url, tmp_path) as one:
        one.journal.append("a", record(1))
        await one.rounds(1)
        assert stored(store.client()) == [1]
        bounds = {"a": Retention(max_age_seconds=1e9, max_bytes=1)}
        await enforce(one.store, bounds, time.time, one.events)
        assert one.events.failures == []


async def test_a_user_that_may_not_write_one_stream_still_writes_the_others(
    store: StoreServer, tmp_path: Path
) -> None:
    rights = "on >s3cret ~understudy:{a}:* +@all"
    with store.client() as client:
        client.execute_command("ACL", "SETUSER", "pairs", *rights.split())
    url = f"redis://pairs:s3cret@127.0.0.1:{store.port}/0"
    async with shipping(url, tmp_path) as one:
        one.journal.append("b", record(1))
        one.journal.append("a", record(2))
        await one.rounds(3)
        assert stored(store.client()) == [2]
        assert set(one.events.failures) == {"NoPermissionError"}
        assert set(one.events.failed_cascades) == {"b"}


@pytest.fixture
def secured(tmp_path: Path, self_signed: Path) -> Iterator[StoreServer]:
    """A server that speaks TLS alone."""
    for binary in server_binaries().values():
        if binary is not None and speaks_tls(binary, tmp_path):
            break
    else:
        pytest.skip("no server here speaks TLS: what needs it went untested")
    place = tmp_path / "secured"
    place.mkdir()
    port = free_port()
    options = {
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(self_signed),
        "tls-key-file": str(self_signed.with_suffix(".key")),
        "tls-auth-clients": "no",
    }
    command = [binary, "--bind", "127.0.0.1", "--dir", str(place), "--appendonly", "yes"]
    command += [part for name, value in options.items() for part in (f"--{name}", value)]
    server = StoreServer(binary, place, port)
    server.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port, self_signed))
        yield server
    finally:
        server.stop(is_killed=True)


def speaks_tls(binary: str, folder: Path) -> bool:
    """Whether it was built with TLS: without a certificate it does not start either way."""
    command = [binary, "--port", "0", "--tls-port", str(free_port()), "--dir", str(folder)]
    said = subprocess.run(command, capture_output=True, timeout=10, check=False)
    return b"Failed finding TLS support" not in said.stdout + said.stderr


def answers(port: int, certificate: Path) -> bool:
    try:
        with redis.Redis(port=port, ssl=True, ssl_ca_certs=str(certificate)) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


async def test_records_go_over_tls_where_the_certificate_is_trusted(
    secured: StoreServer, self_signed: Path, tmp_path: Path
) -> None:
    url = f"rediss://127.0.0.1:{secured.port}/0?ssl_ca_certs={self_signed}"
    async with shipping(url, tmp_path) as one:
        one.journal.append("a", record(1))
        await one.rounds(1)
        assert one.events.failures == []
        client = redis.Redis(port=secured.port, ssl=True, ssl_ca_certs=str(self_signed))
        assert stored(client) == [1]


async def test_a_certificate_that_nobody_vouches_for_is_refused_and_told(
    secured: StoreServer, tmp_path: Path
) -> None:
    async with shipping(f"rediss://127.0.0.1:{secured.port}/0", tmp_path) as one:
        one.journal.append("a", record(1))
        await one.shipper.flush(5)
        assert "self-signed certificate" in (one.events.troubles[0].strerror or "")
        assert one.ids() == [1]


async def test_generations_are_read_from_the_node_with_their_slot(
    nodes: list[StoreServer],
) -> None:
    """The first command meets the wrong node: it is sent on at once, not a second later."""
    cascades = [cascade_of(nodes, number) for number in range(3)]
    there = GenerationStore(parse_store_url(nodes[0].url))
    for number, cascade in enumerate(cascades):
        with nodes[number].client() as client:
            client.set(generations_key(cascade), cascade)
    for cascade in cascades:
        assert await there.read(cascade) == cascade.encode()
        await there.tell(cascade, "replica-1", b"well")
    for number, cascade in enumerate(cascades):
        with nodes[number].client() as client:
            assert client.hgetall(replicas_key(cascade)) == {b"replica-1": b"well"}
    await there.close()
