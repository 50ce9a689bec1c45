"""The way of spans to the collector: bounded, counted, in a thread of its own.

The SDK's own batch processor and exporter do the work.  Here is what they lack: the count of spans
that did not arrive, an end within a bound, and words for the log that hold no header and no URL.
"""

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter
from structlog.typing import FilteringBoundLogger

from gateway.ports import Clock
from gateway.roots import root_of, words_of

MAX_WAITING_SPANS = 2048
# So long is the end of the process put off for spans, at most.
FLUSH_SECONDS = 3.0
# What the SDK says is written so often, at most: an outage is one line a minute.
REPEAT_SECONDS = 60.0


class _Counted(SpanExporter):
    """An exporter whose results are counted; only the sending thread calls ``export``."""

    def __init__(self, exporter: SpanExporter, exported: Counter, failed: Counter) -> None:
        self.taken = 0
        self._exporter = exporter
        self._counters = {True: exported, False: failed}
        self._is_shut_down = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        self.taken += len(spans)
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self._counters[result is SpanExportResult.SUCCESS].inc(len(spans))
        return result

    def shutdown(self) -> None:
        """Send no more; a batch that waits for another try is given up."""
        if not self._is_shut_down:
            self._is_shut_down = True
            self._exporter.shutdown()


class SpanSender(SpanProcessor):
    """Takes the spans that ended, and has them sent."""

    def __init__(
        self, exporter: SpanExporter, registry: CollectorRegistry, log: FilteringBoundLogger
    ) -> None:
        """Raises ValueError where OTEL_BSP_* asks for what the SDK cannot do."""
        spans = Counter(
            "understudy_spans_total",
            "Spans of sampled requests, by what became of them (exported, failed, dropped).",
            ["outcome"],
            registry=registry,
        )
        self._dropped = spans.labels("dropped")
        self._counted = _Counted(exporter, spans.labels("exported"), spans.labels("failed"))
        self._taken = 0
        self._log = log
        self._batches = BatchSpanProcessor(self._counted, max_queue_size=MAX_WAITING_SPANS)

    @property
    def waiting(self) -> int:
        """How many spans wait for the exporter: at least as many as the SDK's queue holds."""
        return self._taken - self._counted.taken

    def on_end(self, span: ReadableSpan) -> None:
        """A span is complete; called by the loop's thread alone."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self.waiting >= MAX_WAITING_SPANS:
            self._dropped.inc()
            return
        self._taken += 1
        self._batches.on_end(span)

    async def close(self) -> None:
        """Send what waits, for FLUSH_SECONDS at most, and end the thread."""
        loop, is_flushed = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            self._batches.shutdown()  # type: ignore[no-untyped-call]  # the SDK's
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(is_flushed.set)

        # No thread of the loop's own, which would be waited for at the end however long it takes.
        threading.Thread(target=flush, name="understudy-last-spans", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await is_flushed.wait()
        if not is_flushed.is_set():
            self._counted.shutdown()
            self._log.warning("spans_lost", message="the collector took too long at the end")


class SdkLogHandler(logging.Handler):
    """What OpenTelemetry's libraries have to say, as log lines, each once a minute at most.

    Of the values in their messages only numbers, and what the system says of an error, are told:
    the rest may be a header with a key, an URL, or a client's words.
    """

    def __init__(self, log: FilteringBoundLogger, clock: Clock) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._clock = clock
        self._said_at: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        message = str(record.msg)
        now = self._clock()
        if now - self._said_at.get(message, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        self._said_at[message] = now
        values = record.args if isinstance(record.args, tuple) else ()
        told = [said for value in values if (said := _harmless(value)) is not None]
        if record.exc_info is not None and record.exc_info[1] is not None:
            told.append(_error(record.exc_info[1]))
        self._log.log(record.levelno, "tracing", message=message, values=told)


def _harmless(value: object) -> str | float | None:
    if isinstance(value, BaseException):
        return _error(value)
    return value if isinstance(value, int | float) else None


def _error(error: BaseException) -> str:
    said = words_of(root_of(error))
    return type(error).__name__ + ("" if said is None else f": {said}")
