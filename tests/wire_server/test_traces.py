"""The end of a process that traces: its last spans arrive, and it waits for no collector."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.telemetry.span_sender import FLUSH_SECONDS
from tests.fakes.collector import Collector
from tests.fakes.serving import serving
from tests.fakes.upstream import ScriptedModel
from tests.wire_server.process import GatewayProcess, gateway_process

QUESTION = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def gateway(tmp_path: Path, collector: Collector) -> Iterator[GatewayProcess]:
    """One that would send its spans in an hour."""
    with serving(ScriptedModel()) as model_url, serving(collector) as collector_url:
        environment = {
            "UNDERSTUDY_TRACING": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector_url,
            "OTEL_BSP_SCHEDULE_DELAY": "3600000",
        }
        with gateway_process(tmp_path, model_url, model_url, **environment) as process:
            yield process
        collector.may_answer.set()


def ask(gateway: GatewayProcess) -> None:
    url = gateway.url + "/v1/chat/completions"
    assert httpx.post(url, json=QUESTION, trust_env=False).status_code == 200


def test_the_last_spans_are_sent_before_the_process_ends(
    gateway: GatewayProcess, collector: Collector
) -> None:
    ask(gateway)
    assert collector.spans == []
    gateway.process.terminate()
    assert gateway.process.wait(10) == 0
    assert sorted(span.name for span in collector.spans) == [
        "POST /v1/chat/completions",
        "draft",
        "plan",
    ]
    (line,) = [line for line in gateway.log() if line["event"] == "request"]
    assert {span.trace_id for span in collector.spans} == {line["trace_id"]}


def test_the_process_does_not_wait_for_a_collector_that_hangs(
    gateway: GatewayProcess, collector: Collector
) -> None:
    collector.may_answer.clear()
    ask(gateway)
    began = time.monotonic()
    gateway.process.terminate()
    assert gateway.process.wait(15) == 0
    assert time.monotonic() - began < FLUSH_SECONDS + 3
    assert "spans_lost" in [line["event"] for line in gateway.log()]
