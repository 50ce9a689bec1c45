"""What is said of clients' keys in a real Redis."""

import hashlib
import json
from collections.abc import Iterator

import pytest

from gateway.stores.redis_keys import KEYS_KEY
from gateway.stores.store_url import parse_store_url
from tests.fakes.serving import closed_port_url
from tests.fakes.valkey import StoreServer, store_server
from understudy.doctor.examination import Examination, Patient
from understudy.doctor.findings import Finding, State, Subject
from understudy.doctor.stored_keys import stored_keys

NOW = 2e9  # seconds since 1970: in 2033


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def server(shared: StoreServer) -> StoreServer:
    with shared.client() as client:
        client.flushall()
    return shared


def put(server: StoreServer, name: str, **said: object) -> None:
    entry = {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **said}
    with server.client() as client:
        client.hset(KEYS_KEY, name, json.dumps(entry))


async def found(url: str) -> Finding:
    finding = await stored_keys(parse_store_url(url), ["assistant"], 5, NOW)
    assert finding.subject is Subject.KEYS
    assert bool(finding.advice) is (finding.state is not State.OK)
    return finding


async def test_keys_that_a_gateway_can_take_are_counted(server: StoreServer) -> None:
    for name in ("ann", "bob"):
        put(server, name, models=["assistant"])
    finding = await found(server.url)
    assert (finding.state, finding.saw) == (State.OK, "2 in understudy:keys in Redis")


async def test_no_key_is_a_hint_how_to_make_one(server: StoreServer) -> None:
    with server.client() as client:
        client.hset(KEYS_KEY, ":revision", 2)  # what is left when the last one was revoked
    finding = await found(server.url)
    assert finding.state is State.HINT
    assert finding.advice == "nobody may ask: `understudy keys create NAME`"


async def test_keys_that_may_be_lost_are_put_back_before_one_is_made(server: StoreServer) -> None:
    finding = await found(server.url)
    assert finding.state is State.HINT
    assert finding.saw == "there is no understudy:keys in Redis"
    assert "put back what `keys.json`" in finding.advice


async def test_a_key_that_is_over_or_for_nothing_is_a_hint(server: StoreServer) -> None:
    put(server, "ann", expires="2030-01-01")
    put(server, "bob", models=["asistant"])
    finding = await found(server.url)
    assert finding.state is State.HINT
    assert "key ann: expired at 2030-01-01T00:00:00Z" in finding.advice
    assert "key bob: models: there is no asistant here" in finding.advice


async def test_an_entry_that_is_no_key_is_a_problem(server: StoreServer) -> None:
    put(server, "ann")
    put(server, "bob", may_fly=True)
    finding = await found(server.url)
    assert finding.state is State.PROBLEM
    assert finding.saw.startswith("1 of 2 in")
    assert "bob: may_fly" in finding.advice


async def test_a_user_without_the_rights_is_a_problem_with_its_fix(server: StoreServer) -> None:
    with server.client() as client:
        client.acl_setuser("blind", True, passwords="+x", keys="*", commands=["+hget"])
    url = server.url.replace("redis://", "redis://blind:x@")
    finding = await found(url)
    assert finding.state is State.PROBLEM
    assert "+hgetall" in finding.advice


async def test_a_redis_that_is_away_is_away() -> None:
    url = closed_port_url().replace("http://", "redis://")
    assert (await found(url)).state is State.AWAY


@pytest.mark.parametrize(("keys_for", "count"), [(None, 0), (("assistant",), 1)])
async def test_they_are_looked_at_where_gateways_look_there(
    server: StoreServer, keys_for: tuple[str, ...] | None, count: int
) -> None:
    patient = Patient([], redis_url=server.url, keys_for=keys_for)
    report = await Examination(5).of(patient)
    found = [finding.subject for part in report.parts for finding in part.findings]
    assert found.count(Subject.KEYS) == count
