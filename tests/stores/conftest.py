"""A real store for what is written to it: Valkey, and Redis where it is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.valkey import StoreServer, server_binaries, store_server


@pytest.fixture(params=["valkey", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreServer]:
    binary = server_binaries()[request.param]
    if binary is None:
        pytest.skip("no redis-server here: the suite ran against Valkey alone")
    (tmp_path / "store").mkdir()
    with store_server(tmp_path / "store", binary) as server:
        yield server
