"""Spans on their way: counted whatever becomes of them, and never waited for too long."""

import asyncio
import io
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client import CollectorRegistry

from gateway.telemetry import span_sender
from gateway.telemetry.log import new_log
from gateway.telemetry.span_sender import (
    MAX_WAITING_SPANS,
    REPEAT_SECONDS,
    SdkLogHandler,
    SpanSender,
)
from tests.fakes.serving import wait_until


class HeldExporter(SpanExporter):
    """Takes spans once ``may_export`` is set; raises what it is told to."""

    def __init__(self) -> None:
        self.may_export = threading.Event()
        self.is_called = threading.Event()
        self.is_shut_down = threading.Event()
        self.result = SpanExportResult.SUCCESS
        self.error: Exception | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.is_called.set()
        self.may_export.wait(10)
        if self.error is not None:
            raise self.error
        return self.result

    def shutdown(self) -> None:
        assert not self.is_shut_down.is_set()
        self.is_shut_down.set()
        self.may_export.set()


class Way:
    """A sender between a tracer and an exporter."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.exporter = HeldExporter()
        self.registry = CollectorRegistry()
        self.log = io.BytesIO()
        self.sender = SpanSender(self.exporter, self.registry, new_log("info", self.log))
        self.provider = provider or TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.sender)
        self._tracer = self.provider.get_tracer("test")

    def end_spans(self, count: int) -> None:
        for _ in range(count):
            self._tracer.start_span("s").end()

    def counted(self) -> dict[str, float]:
        name = "understudy_spans_total"
        outcomes = ("exported", "failed", "dropped")
        values = {
            each: self.registry.get_sample_value(name, {"outcome": each}) for each in outcomes
        }
        return {outcome: value for outcome, value in values.items() if value}


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    made = Way()
    yield made
    made.exporter.may_export.set()
    asyncio.run(made.sender.close())


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_what_arrives_is_counted(way: Way) -> None:
    way.exporter.may_export.set()
    way.end_spans(7)
    wait_until(lambda: way.counted() == {"exported": 7})


def test_what_is_refused_is_counted(way: Way) -> None:
    way.exporter.result = SpanExportResult.FAILURE
    way.exporter.may_export.set()
    way.end_spans(7)
    wait_until(lambda: way.counted() == {"failed": 7})


@pytest.mark.filterwarnings("ignore")
def test_an_exporter_that_raises_loses_its_batch_and_no_other(way: Way) -> None:
    logging.getLogger("opentelemetry").propagate = False
    way.exporter.error = RuntimeError("what I was told to send")
    way.exporter.may_export.set()
    way.end_spans(3)
    wait_until(lambda: way.counted() == {"failed": 3})
    way.exporter.error = None
    way.end_spans(4)
    wait_until(lambda: way.counted() == {"failed": 3, "exported": 4})


def test_a_slow_collector_costs_spans_and_no_time(way: Way) -> None:
    way.end_spans(1)
    assert way.exporter.is_called.wait(5)  # the sending thread is busy from now on
    way.end_spans(MAX_WAITING_SPANS)
    assert way.counted() == {}
    way.end_spans(5)
    assert way.counted() == {"dropped": 5}
    way.exporter.may_export.set()
    wait_until(lambda: way.counted() == {"dropped": 5, "exported": MAX_WAITING_SPANS + 1})
    way.end_spans(1)
    wait_until(lambda: way.counted()["exported"] == MAX_WAITING_SPANS + 2)


def test_what_is_not_sampled_is_not_sent() -> None:
    way = Way(TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))
    way.end_spans(3)
    assert way.sender.waiting == 0
    asyncio.run(way.sender.close())


def test_the_end_sends_what_waits_and_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    before = threads()
    way = Way()
    way.exporter.may_export.set()
    way.end_spans(9)
    assert way.counted() == {}
    asyncio.run(way.sender.close())
    assert way.counted() == {"exported": 9}
    assert way.exporter.is_shut_down.is_set()
    assert way.log.getvalue() == b""
    wait_until(lambda: threads() <= before)


def test_the_end_does_not_wait_for_a_collector_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    monkeypatch.setattr(span_sender, "FLUSH_SECONDS", 0.05)
    way = Way()
    way.end_spans(9)

    async def end() -> float:
        started = asyncio.get_running_loop().time()
        await way.sender.close()
        return asyncio.get_running_loop().time() - started

    assert asyncio.run(end()) < 2
    assert b'"event":"spans_lost"' in way.log.getvalue()
    assert way.exporter.is_shut_down.is_set()  # and with that the thread is free


def said(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class SdkLog:
    """A logger as the SDK has, what the handler made of it, and the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stream = io.BytesIO()
        self.logger = logging.Logger("opentelemetry.sdk")
        self.logger.addHandler(SdkLogHandler(new_log("info", self.stream), lambda: self.now))


def test_of_what_the_sdk_says_no_value_is_told_that_may_be_a_secret() -> None:
    log = SdkLog()
    log.logger.error("Failed to export %s batch code: %s, reason: %s", "spans", 401, "key sk-1")
    refused = ConnectionError("http://user:password@host/?key=sk-1")
    refused.__cause__ = ConnectionRefusedError(111, "Connect call failed")
    log.logger.warning("Transient error %s encountered", refused)
    try:
        raise ValueError("sk-1")
    except ValueError:
        log.logger.exception("Exception while exporting %s.", "Span")
    first, second, third = said(log.stream)
    assert (first["event"], first["values"]) == ("tracing", [401])
    assert second["values"] == ["ConnectionError: Connection refused"]
    assert third["values"] == ["ValueError"]
    assert b"sk-1" not in log.stream.getvalue()
    assert b"password" not in log.stream.getvalue()


def test_an_outage_is_told_once_a_minute() -> None:
    log = SdkLog()
    for _ in range(5):
        log.logger.error("Failed: %s", 503)
    log.logger.error("Another matter")
    assert len(said(log.stream)) == 2
    log.now = REPEAT_SECONDS
    log.logger.error("Failed: %s", 503)
    assert len(said(log.stream)) == 3
