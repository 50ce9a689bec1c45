"""An OpenTelemetry collector that keeps what it is sent: OTLP over HTTP, read as protobuf."""

import asyncio
import gzip
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from starlette.types import Receive, Scope, Send

from tests.fakes.serving import wait_until

PATIENCE_SECONDS = 10.0

Value = str | int | float | bool | list[str] | None


@dataclass(frozen=True)
class SeenSpan:
    """One span; ids in hexadecimal digits, ``parent_id`` empty for a root."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    is_error: bool
    started: int
    ended: int
    attributes: Mapping[str, Value]
    events: int
    resource: Mapping[str, Value]


@dataclass
class Collector:
    """An ASGI application; ``status`` is what it answers, once ``may_answer`` is set."""

    status: int = 200
    may_answer: Event = field(default_factory=Event)
    spans: list[SeenSpan] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_answer.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body, is_more = b"", True
        while is_more:
            message = await receive()
            body += message.get("body", b"")
            is_more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        assert scope["path"] == "/v1/traces"
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.headers.append(headers)
        self.bodies.append(body)
        await asyncio.to_thread(self.may_answer.wait, PATIENCE_SECONDS)
        if self.status == 200:
            self.spans += _spans(body)
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def trace(self, trace_id: str, count: int) -> list[SeenSpan]:
        """All spans of a trace, once there are so many; parents and earlier ones first."""
        wait_until(lambda: len(self._of(trace_id)) >= count)
        found = self._of(trace_id)
        assert len(found) == count, [span.name for span in found]
        return sorted(found, key=lambda span: (span.started, -span.ended))

    def _of(self, trace_id: str) -> list[SeenSpan]:
        return [span for span in list(self.spans) if span.trace_id == trace_id]


def new_context(*, is_sampled: bool = True) -> tuple[str, str, str]:
    """A client's ``traceparent``, its trace's id and its span's."""
    trace_id, span_id = os.urandom(16).hex(), os.urandom(8).hex()
    return f"00-{trace_id}-{span_id}-0{int(is_sampled)}", trace_id, span_id


def _spans(body: bytes) -> list[SeenSpan]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    return [
        SeenSpan(
            name=span.name,
            kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            state=span.trace_state,
            is_error=span.status.code == Status.STATUS_CODE_ERROR,
            started=span.start_time_unix_nano,
            ended=span.end_time_unix_nano,
            attributes={one.key: _value(one.value) for one in span.attributes},
            events=len(span.events),
            resource={one.key: _value(one.value) for one in resource.resource.attributes},
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [one.string_value for one in value.array_value.values]
    found: Value = None if kind is None else getattr(value, kind)
    return found
