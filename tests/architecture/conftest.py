from collections.abc import Iterator

import pytest

from tests.architecture.source import modules


@pytest.fixture(scope="package", autouse=True)
def _trees_are_forgotten() -> Iterator[None]:
    """Parsed, all of the project takes 100 MiB, which no other test has a use for."""
    yield
    modules.cache_clear()
