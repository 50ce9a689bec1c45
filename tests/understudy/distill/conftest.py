"""A real Valkey, empty for each test, and what stands around it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.fakes.serving import serving
from tests.fakes.upstream import ScriptedModel
from tests.fakes.valkey import StoreServer, store_server
from tests.understudy.distill import teaching
from tests.understudy.distill.proposal import Proposal, propose
from tests.understudy.distill.running import Distill
from tests.understudy.distill.streets import G1, Street, good, street
from understudy.demo.teacher import create_teacher
from understudy.distill.registry import Registry


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with store_server(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def client(server: StoreServer) -> Iterator[redis.Redis]:
    with server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def registry(client: redis.Redis) -> Registry:
    return Registry(client, "assistant")


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways and commands look more often than once a second."""
    monkeypatch.setattr("gateway.registry.READ_SECONDS", 0.05)
    monkeypatch.setattr("understudy.distill.preparing.LISTEN_SECONDS", 0.1)
    for module in ("driving", "settling"):
        monkeypatch.setattr(f"understudy.distill.{module}.POLL_SECONDS", 0.05)


@pytest.fixture
def here(
    server: StoreServer, client: redis.Redis, tmp_path: Path, _quick: None
) -> Iterator[Street]:
    """Two gateways, and a student's server that can read two adapters."""
    with street(server, tmp_path / "street") as found:
        found.student.replies[G1] = good
        yield found


@pytest.fixture(scope="session")
def _quiet(server: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with street(server, tmp_path_factory.mktemp("quiet"), gateways=0) as found:
        yield found


@pytest.fixture
def quiet(_quiet: Street, client: redis.Redis, _quick: None) -> Street:
    """The same without a gateway."""
    _quiet.student.start_anew()
    _quiet.student.replies[G1] = good
    return _quiet


@pytest.fixture
def command(server: StoreServer, capsys: pytest.CaptureFixture[str]) -> Distill:
    return Distill(capsys, server.url)


@pytest.fixture
def proposal(tmp_path: Path) -> Proposal:
    return propose(tmp_path / "g1", G1)


@pytest.fixture(scope="session")
def stand_in() -> Iterator[str]:
    with serving(create_teacher()) as url:
        yield url


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], stand_in: str) -> teaching.Bench:
    return teaching.Bench(tmp_path, teaching.Distill(capsys, None), stand_in)


@pytest.fixture
def scripted(bench: teaching.Bench) -> Iterator[ScriptedModel]:
    """A teacher that does as it is told, in the place of the stand-in."""
    model = ScriptedModel()
    with serving(model) as url:
        bench.teacher_url = url
        yield model
