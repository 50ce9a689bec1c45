"""A vLLM that is as good as it can be, until a test takes something from it."""

from collections.abc import Iterator

import pytest

from tests.fakes.serving import serving
from tests.fakes.vllm import Flags, ScriptedVllm


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, ScriptedVllm]]:
    server = ScriptedVllm()
    with serving(server) as url:
        yield url, server


@pytest.fixture
def vllm(served: tuple[str, ScriptedVllm]) -> tuple[str, ScriptedVllm]:
    _, server = served
    server.flags = Flags()
    server.model.requests.clear()
    return served
