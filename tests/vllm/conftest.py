"""One vLLM server for all tests in this folder; README.md says where it comes from."""

import os
from collections.abc import Iterator
from functools import partial

import pytest

from tests.vllm.server import URL, Metrics, read_metrics, served_model, started_server, warm_up


@pytest.fixture(scope="session")
def vllm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's address, without /v1. It has answered once, so no test pays for its first."""
    named = os.environ.get(URL)
    if named:
        url = named.rstrip("/").removesuffix("/v1")
        warm_up(url)
        yield url
        return
    with started_server(tmp_path_factory.mktemp("vllm")) as url:
        warm_up(url)
        yield url


@pytest.fixture(scope="session")
def vllm_model(vllm_url: str) -> str:
    """The name of the model that the server offers."""
    return served_model(vllm_url)


@pytest.fixture(scope="session")
def vllm_metrics(vllm_url: str) -> Metrics:
    """Call it for the server's metrics at this moment."""
    return partial(read_metrics, vllm_url)
