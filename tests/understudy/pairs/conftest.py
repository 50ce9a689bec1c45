"""A real Valkey with a cascade's log, and a folder to export to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.pair_log import running_log
from tests.fakes.valkey import StoreServer
from tests.understudy.commands import Command
from understudy.pairs.places import Place, place_at
from understudy.pairs.store import Log, Source


@pytest.fixture(scope="session")
def shared_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StoreServer, Log]]:
    with running_log(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def log(shared_log: tuple[StoreServer, Log]) -> Log:
    """An empty log."""
    shared_log[1].client.flushall()
    return shared_log[1]


@pytest.fixture
def source(shared_log: tuple[StoreServer, Log]) -> Source:
    return Source(shared_log[0].url)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_at(str(tmp_path / "out"))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], source: Source, log: Log) -> Command:
    return Command(capsys, source.redis_url)
