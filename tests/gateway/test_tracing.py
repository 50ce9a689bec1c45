"""Whether requests are traced, and that nothing of it is there where they are not."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway, create_app
from gateway.config_file import ConfigError
from gateway.trace_context import PassingOn
from tests.architecture.source import ROOT
from tests.fakes.collector import Collector, new_context
from tests.fakes.serving import (
    Stage,
    cascade_document,
    closed_port_url,
    load_gateway,
    serving,
    stage,
    wait_until,
)

TRACED = {"tracing": True}


def built(folder: Path, **settings: Any) -> Gateway:
    document = cascade_document("http://student", "http://teacher")
    return load_gateway(folder, document, settings)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One in which spans are sent soon, to nobody."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", closed_port_url())
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    return monkeypatch


def test_without_the_setting_a_context_goes_on_to_the_models_unchanged(tmp_path: Path) -> None:
    parent, _, _ = new_context()
    headers = {"traceparent": parent, "tracestate": "rojo=1", "baggage": "user=me"}
    with stage(tmp_path) as built:
        for is_stream in (False, True):
            question = built.question | {"stream": is_stream}
            built.client.post("/v1/chat/completions", json=question, headers=headers)
        built.client.post("/v1/chat/completions", json=built.question)
        whole, streamed, without = built.student.headers
    for seen in (whole, streamed):
        assert (seen["traceparent"], seen["tracestate"]) == (parent, "rojo=1")
        assert "baggage" not in seen
    assert "traceparent" not in without
    assert "tracestate" not in without


def test_without_the_setting_no_library_of_tracing_is_loaded(tmp_path: Path) -> None:
    """FastAPI loads OpenTelemetry's interfaces; Redis' client its metrics, if they are there."""
    document = cascade_document("http://student", "http://teacher")
    script = (
        "import sys, pathlib\n"
        "from tests.fakes.serving import load_gateway\n"
        "from gateway.app import create_app\n"
        f"create_app(load_gateway(pathlib.Path({str(tmp_path)!r}), {document!r}))\n"
        "roots = ('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'google', 'requests',\n"
        "         'gateway.telemetry.tracing', 'gateway.telemetry.span_sender')\n"
        "print(sorted(name for name in sys.modules if name.startswith(roots)))\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_library_the_start_says_what_is_missing(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry.sdk")]:
        environment.delitem(sys.modules, name)
    environment.setitem(sys.modules, "opentelemetry.sdk", None)
    environment.delitem(sys.modules, "gateway.telemetry.tracing", raising=False)
    with pytest.raises(ConfigError, match=r"UNDERSTUDY_TRACING.*understudy\[tracing\]"):
        built(tmp_path, **TRACED)
    assert isinstance(built(tmp_path).context.tracing, PassingOn)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL.*http/protobuf.*4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "TRACES_PROTOCOL.*'http/json'"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "OTEL_TRACES_EXPORTER: must be otlp or none"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096", "OTEL_.*max_export_batch_size"),
    ],
)
def test_a_way_of_sending_that_there_is_not_is_refused_at_start(
    tmp_path: Path, environment: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    environment.setenv(variable, value)
    with pytest.raises(ConfigError, match=message):
        built(tmp_path, **TRACED)
    built(tmp_path)  # nobody asks for it


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED"])
def test_a_trace_stays_one_where_nothing_is_sent(
    tmp_path: Path, environment: pytest.MonkeyPatch, variable: str
) -> None:
    environment.setenv(variable, "none" if variable == "OTEL_TRACES_EXPORTER" else "true")
    parent, trace_id, _ = new_context()
    with stage(tmp_path, settings=TRACED) as built:
        ask(built, traceparent=parent)
        assert trace_id in built.student.headers[0]["traceparent"]
        ask(built)


def ask(built: Stage, **headers: str) -> None:
    response = built.client.post("/v1/chat/completions", json=built.question, headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("sampler", "is_sampled", "is_recorded"),
    [
        ("always_off", True, False),
        ("always_on", False, True),
        ("parentbased_always_off", True, True),
        ("parentbased_always_on", False, False),
    ],
)
def test_the_sampler_is_the_operators_choice(
    tmp_path: Path,
    environment: pytest.MonkeyPatch,
    sampler: str,
    is_sampled: bool,
    is_recorded: bool,
) -> None:
    environment.setenv("OTEL_TRACES_SAMPLER", sampler)
    environment.setenv("OTEL_SERVICE_NAME", "search-gateway")
    parent, trace_id, _ = new_context(is_sampled=is_sampled)
    collector = Collector()
    with serving(collector) as url:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        with stage(tmp_path, settings=TRACED) as built:
            ask(built, traceparent=parent)
            handed_on = built.student.headers[0]["traceparent"]
    assert handed_on[3:35] == trace_id
    assert handed_on.endswith("-01" if is_recorded else "-00")
    assert len(collector.spans) == (3 if is_recorded else 0)  # flushed when the gateway ended
    assert {span.resource["service.name"] for span in collector.spans} <= {"search-gateway"}


def test_a_collector_that_is_away_costs_no_request_anything(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    with stage(tmp_path, settings=TRACED) as built:
        for _ in range(5):
            ask(built)
        wait_until(lambda: built.metric("understudy_spans_total", outcome="failed") > 0)
        ask(built)
        assert built.metric("understudy_requests_total", cascade="assistant", outcome="kept") == 6


def test_a_collector_that_hangs_costs_no_request_anything(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    collector = Collector()
    collector.may_answer.clear()
    with serving(collector) as url:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        with stage(tmp_path, settings=TRACED) as built:
            ask(built)
            wait_until(lambda: collector.bodies)
            for _ in range(20):
                ask(built)
            assert collector.spans == []
            collector.may_answer.set()
    assert len(collector.spans) == 21 * 3


def test_a_collector_that_refuses_is_counted(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    collector = Collector(status=401)
    with serving(collector) as url:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        environment.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        with stage(tmp_path, settings=TRACED) as built:
            ask(built)
            wait_until(lambda: built.metric("understudy_spans_total", outcome="failed") == 3)


def test_fastapis_own_spans_and_logs_are_off(tmp_path: Path) -> None:
    """They hold messages of exceptions, and would come with a provider that somebody sets."""
    app: Any = create_app(built(tmp_path))
    config = app._app._telemetry
    assert [config[signal] for signal in ("tracing", "metrics", "logs")] == [False] * 3
