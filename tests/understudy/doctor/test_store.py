"""The doctor at a real Valkey, with each single thing wrong that can be set there."""

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.stores.store_url import parse_store_url
from tests.fakes.serving import free_port
from tests.fakes.valkey import (
    StoreServer,
    cluster,
    sentinels,
    server_binaries,
    store_server,
)
from understudy.doctor.findings import Finding, State, Subject
from understudy.doctor.rights import RIGHTS
from understudy.doctor.store import Visit
from understudy.doctor.stored import store_findings

GOOD = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
# What docs/operating.md says that a gateway's user needs, and no more.
ACL = "~understudy:* " + " ".join(f"+{right.name}" for right in RIGHTS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("doctor-store")) as server:
        yield server


@pytest.fixture
def valkey(server: StoreServer) -> Iterator[StoreServer]:
    """As good as it can be, before a test and after it."""
    yield server
    with server.client() as client:
        client.execute_command("REPLICAOF", "NO", "ONE")
        client.config_set("maxmemory", 0)
        for name, value in GOOD.items():
            client.config_set(name, value)
        client.execute_command("ACL", "DELUSER", "understudy")
        client.flushall()


def looked(url: str, *cascades: str, ahead: float = 0, seconds: float = 5) -> list[Finding]:
    names = cascades or ("one", "two")
    visit = Visit(parse_store_url(url), names, seconds, lambda: time.time() + ahead)
    return store_findings(asyncio.run(visit.pay()))


def amiss(findings: list[Finding]) -> dict[Subject, State]:
    return {
        finding.subject: finding.state
        for finding in findings
        if finding.state not in (State.OK, State.SKIPPED)
    }


def as_user(server: StoreServer, *acl: str) -> str:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "understudy", "reset", "on", ">right", *acl)
    return f"redis://understudy:right@127.0.0.1:{server.port}/0"


def test_of_a_good_server_nothing_is_said_and_nothing_is_written(valkey: StoreServer) -> None:
    findings = looked(valkey.url)
    assert amiss(findings) == {}
    told = {finding.subject: finding.saw for finding in findings}
    assert told[Subject.VERSION].startswith("Valkey ")
    assert told[Subject.PERSISTENCE] == "appendonly yes, appendfsync everysec"
    with valkey.client() as client:
        assert client.keys("*") == []


@pytest.mark.parametrize(
    ("setting", "value", "subject", "state"),
    [
        ("appendonly", "no", Subject.PERSISTENCE, State.PROBLEM),
        ("appendfsync", "no", Subject.PERSISTENCE, State.HINT),
        ("maxmemory-policy", "allkeys-lru", Subject.MEMORY, State.PROBLEM),
        ("maxmemory", "1", Subject.REDIS, State.PROBLEM),  # it is full
    ],
)
def test_a_setting_that_loses_pairs_is_the_one_thing_that_is_said(
    valkey: StoreServer, setting: str, value: str, subject: Subject, state: State
) -> None:
    with valkey.client() as client:
        client.config_set(setting, value)
    assert amiss(looked(valkey.url)) == {subject: state}


def test_a_user_with_the_documented_rights_is_enough(valkey: StoreServer) -> None:
    assert amiss(looked(as_user(valkey, *ACL.split()))) == {}


def test_each_right_that_is_missing_is_named(valkey: StoreServer) -> None:
    for right in RIGHTS:
        rest = [each for each in ACL.split() if each != f"+{right.name}"]
        findings = looked(as_user(valkey, *rest), "one")
        (finding,) = [each for each in findings if each.subject is Subject.RIGHTS]
        assert finding.saw == f"may not {right.name}"


def test_keys_that_a_user_may_not_touch_are_missing_rights(valkey: StoreServer) -> None:
    url = as_user(valkey, "+@all", "~something-else:*")
    (finding,) = [each for each in looked(url) if each.subject is Subject.RIGHTS]
    assert finding.state is State.PROBLEM
    assert "~understudy:*" in finding.advice


def test_a_redis_that_lacks_a_command_is_told_which_release_has_it(tmp_path: Path) -> None:
    binary = server_binaries()["redis"]
    if binary is None:
        pytest.skip("no redis-server here: only a scripted one was looked at")
    with store_server(tmp_path, binary) as redis_server:
        findings = looked(redis_server.url, "one")
    (version,) = [each for each in findings if each.subject is Subject.VERSION]
    number = tuple(map(int, version.saw.removeprefix("Redis ").split(".")[:2]))
    assert amiss(findings) == ({} if number >= (7, 2) else {Subject.VERSION: State.HINT})


def test_a_wrong_password_is_to_be_mended_and_not_told(valkey: StoreServer) -> None:
    as_user(valkey, *ACL.split())
    wrong = f"redis://understudy:wr0ng-one@127.0.0.1:{valkey.port}/0"
    (finding,) = looked(wrong)
    assert (finding.subject, finding.state) == (Subject.REDIS, State.PROBLEM)
    assert "user and password" in finding.advice
    assert "wr0ng-one" not in finding.saw + finding.advice


def test_a_replica_is_to_be_mended(valkey: StoreServer) -> None:
    with valkey.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", free_port())
    (finding,) = looked(valkey.url)
    assert finding.state is State.PROBLEM
    assert "it is a replica" in finding.advice


def test_a_clock_that_is_off_is_found_by_the_server_s_time(valkey: StoreServer) -> None:
    findings = looked(valkey.url, ahead=60)
    assert amiss(findings) == {Subject.CLOCK: State.PROBLEM}
    (saw,) = [each.saw for each in findings if each.subject is Subject.CLOCK]
    assert saw == "60.0 s behind this machine's, give or take 0.0 s"


def test_a_server_that_is_not_there_is_away() -> None:
    (finding,) = looked(f"redis://127.0.0.1:{free_port()}/0")
    assert (finding.subject, finding.state) == (Subject.REDIS, State.AWAY)
    assert "nothing listens there" in finding.advice


def test_a_server_that_says_nothing_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        (finding,) = looked(url, seconds=0.1)
    assert (finding.state, finding.saw) == (State.AWAY, "not reached: timed out")


@pytest.mark.parametrize(
    ("reply", "state", "words"),
    [
        ("LOADING Redis is loading the dataset in memory", State.AWAY, "it is starting"),
        ("MASTERDOWN Link with MASTER is down", State.AWAY, "ask again"),
        ("NOAUTH Authentication required.", State.PROBLEM, "user and password"),
        ("MISCONF Redis is configured to save RDB snapshots", State.PROBLEM, "cannot save"),
        ("NOREPLICAS Not enough good replicas to write.", State.PROBLEM, "min-replicas"),
        ("BUSY Redis is busy running a script", State.PROBLEM, "see its log"),
    ],
)
def test_a_server_that_will_be_there_soon_is_told_from_one_that_is_to_be_mended(
    reply: str, state: State, words: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while asked := await reader.read(2**16):
            count = len(re.findall(rb"^\*", asked, re.MULTILINE))
            writer.write(f"-{reply}\r\n".encode() * count)
        writer.close()

    async def visit() -> list[Finding]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            url = parse_store_url(f"redis://127.0.0.1:{port}/0")
            return store_findings(await Visit(url, ["one"], 5, time.time).pay())

    (finding,) = asyncio.run(visit())
    assert (finding.subject, finding.state) == (Subject.REDIS, state)
    assert words in finding.advice


@pytest.mark.full
def test_each_server_of_a_cluster_is_looked_at_and_what_sentinels_name(tmp_path: Path) -> None:
    with cluster(tmp_path / "cluster") as nodes:
        findings = looked(nodes[0].url, *(f"cascade-{number}" for number in range(12)))
        assert amiss(findings) == {}
        places = {each.saw for each in findings if each.subject is Subject.REDIS}
        assert places == {f"127.0.0.1:{node.port} answers" for node in nodes}
    with sentinels(tmp_path / "sentinels") as watched:
        findings = looked(watched.url)
        assert amiss(findings) == {}
        (role,) = [each.saw for each in findings if each.subject is Subject.ROLE]
        assert role == "one server; replicas: 1"


def test_sentinels_that_are_not_there_are_away() -> None:
    (finding,) = looked(f"redis+sentinel://127.0.0.1:{free_port()}/pairs/0")
    assert (finding.subject, finding.state) == (Subject.REDIS, State.AWAY)


def test_the_rights_are_those_that_operators_are_told_to_give() -> None:
    page = (Path(__file__).parents[3] / "docs/operating.md").read_text(encoding="utf-8")
    (line,) = [each for each in page.splitlines() if each.startswith("ACL SETUSER understudy")]
    assert sorted(line.split("~understudy:* ")[1].split()) == sorted(ACL.split()[1:])
