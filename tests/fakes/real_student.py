"""The demo's student as a process of its own: a real small model behind llama.cpp's server."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.fakes.serving import free_port, wait_until
from understudy.demo.processes import answers
from understudy.demo.student import WeightsNotFoundError, find_weights

MODULE = "understudy.demo.student"
EMBEDDER = "tests.fakes.embedding_student"


@contextmanager
def real_student() -> Iterator[str]:
    """Where it serves; the test skips where its weights are not installed."""
    port = free_port()
    with _process(["-m", MODULE, "--port", str(port), "--threads", "1"], port) as url:
        yield url


@contextmanager
def real_embedder() -> Iterator[str]:
    """The same weights as a model for embeddings alone."""
    port = free_port()
    with _process(["-m", EMBEDDER, str(port)], port) as url:
        yield url


@contextmanager
def _process(arguments: Sequence[str], port: int) -> Iterator[str]:
    try:
        find_weights()
    except WeightsNotFoundError as error:
        pytest.skip(f"the real student was not asked: {error}")
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            is_well = answers(f"{url}/health")
            wait_until(lambda: is_well() or process.poll() is not None, seconds=40)
            assert process.poll() is None
            yield url
        finally:
            process.kill()
