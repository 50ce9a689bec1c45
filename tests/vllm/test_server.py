"""What we rely on in vLLM itself, asked without a gateway in between."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.serving import wait_until
from tests.vllm.server import Metrics

# The first test that runs waits for the server, and the first run of all for the model.
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

RUNNING = "vllm:num_requests_running"


def question(model: str, **changes: Any) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "temperature": 0,
        "stream": True,
    } | changes


def chunks(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


@pytest.fixture
def client(vllm_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=vllm_url, timeout=60, trust_env=False) as client:
        yield client


def test_every_streamed_text_has_its_log_probabilities(
    client: httpx.Client, vllm_model: str
) -> None:
    body = question(vllm_model, max_tokens=16, logprobs=True, top_logprobs=2)
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200
        choices = [choice for chunk in chunks(response) for choice in chunk["choices"]]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    texts = [choice for choice in choices if choice["delta"].get("content")]
    assert texts
    for choice in texts:
        tokens = choice["logprobs"]["content"]
        assert "".join(token["token"] for token in tokens) == choice["delta"]["content"]
        assert all(len(token["top_logprobs"]) >= 2 for token in tokens)


def test_an_abandoned_stream_is_not_running_a_second_later(
    client: httpx.Client, vllm_model: str, vllm_metrics: Metrics
) -> None:
    # Long enough that it cannot have ended by itself.
    body = question(vllm_model, max_tokens=1900, ignore_eos=True)
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        texts = (chunk for chunk in chunks(response) if chunk["choices"][0]["delta"]["content"])
        next(texts)
        wait_until(lambda: vllm_metrics()[RUNNING] == 1, seconds=2)
    wait_until(lambda: vllm_metrics()[RUNNING] == 0, seconds=1)
