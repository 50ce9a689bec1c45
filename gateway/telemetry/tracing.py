"""Spans for an OpenTelemetry collector.  Never a prompt, an answer or a key: facts alone.

Imported only where UNDERSTUDY_TRACING is set.  Spans are named for the steps of
``gateway/answer.py``; their attributes follow OpenTelemetry's conventions for HTTP and GenAI where
these have a word.  A request that is not sampled costs one span context, and no spans.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from gateway.facts import ABORTED, CANCELLED, SPARE, Ending, Leg, RequestSettled
from gateway.telemetry.span_sender import SpanSender
from gateway.trace_context import ModelPlace, TraceContext, Untraced, context_of
from routing.bill import Entry
from routing.money import PICO_PER_USD, Usage
from routing.vocabulary import Denied, Grant, Kind, Role

Attributes = dict[str, AttributeValue]

_ROUTE = "/v1/chat/completions"
_NAME = f"POST {_ROUTE}"
_SERVER: Attributes = {
    "http.request.method": "POST",
    "http.route": _ROUTE,
    "url.path": _ROUTE,
    "url.scheme": "http",
}
_STEP = {Role.STUDENT: "draft", Role.TEACHER: "teacher"}
# Words of the server's that become attributes are no longer than this.
MAX_WORD_CHARACTERS = 128
CLIENT_GONE_STATUS = 499  # what the log says where the client got no status at all
_propagator = TraceContextTextMapPropagator()


class _Named(msgspec.Struct):
    model: str | None = None


_named = msgspec.json.Decoder(_Named)


class SpanTracing:
    """Makes spans of requests; ``places`` has the models of each cascade."""

    def __init__(
        self,
        provider: TracerProvider,
        sender: SpanSender | None,
        version: str,
        places: Mapping[tuple[str, Role], ModelPlace],
    ) -> None:
        """``sender`` is what the provider gives its spans to; None where they go nowhere."""
        self._sender = sender
        self._tracer = provider.get_tracer("understudy", version)
        self._models = {key: _of_place(place) for key, place in places.items()}

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> "Untraced | _Traced":
        """A request came; whether it is sampled is the sampler's decision."""
        came = context_of(headers)
        parent = Context() if came is None else _extracted(came)
        span = self._tracer.start_span(
            _NAME, context=parent, kind=SpanKind.SERVER, attributes=_SERVER
        )
        told = span.get_span_context()
        if span.is_recording():
            return _Traced(self._tracer, span, self._models)
        if told.is_valid:
            return Untraced(_lines(told), format_trace_id(told.trace_id))
        return Untraced(b"" if came is None else came.lines)  # OTEL_SDK_DISABLED

    async def close(self) -> None:
        """Send what is not sent, within a bound."""
        if self._sender is not None:
            await self._sender.close()


class _Traced:
    """The spans of one sampled request."""

    def __init__(
        self, tracer: Tracer, span: Span, models: Mapping[tuple[str, Role], Attributes]
    ) -> None:
        context = span.get_span_context()
        self.id = format_trace_id(context.trace_id)
        self._tracer = tracer
        self._span = span
        self._models = models
        self._context = set_span_in_context(span, Context())
        self._cascade = ""
        self._plan: Span | None = None
        self._open: set[_Call] = set()
        self._over: list[_Call] = []  # in the order of the request's legs

    def admitted(self, cascade: str) -> None:
        """The request is understood; its plan is made now."""
        self._cascade = cascade
        self._plan = self._tracer.start_span("plan", context=self._context)

    def reserved(self, role: Role, grant: Grant) -> None:
        """Whether a model may be asked; that ends the plan, and decides the teacher's grant."""
        self._end_plan({"understudy.role": role.value})
        if role is Role.TEACHER:
            told: Attributes = {"understudy.granted": not isinstance(grant, Denied)}
            if isinstance(grant, Denied):
                told["understudy.degraded"] = grant.degraded.value
            self._tracer.start_span("grant", context=self._context, attributes=told).end()

    def call(self, role: Role) -> "_Call":
        """A model is asked."""
        model = self._models[self._cascade, role]
        call = _Call(self._tracer, self._context, _STEP[role], model, self._noted)
        self._open.add(call)
        return call

    def end(self, fact: RequestSettled | None) -> None:
        """The last byte is on its way: all spans end, but for what goes on without the request."""
        self._end_plan({})
        for call, lines in zip(self._over, _calls_of(fact), strict=False):
            call.bill(lines)
        for call in (*self._over, *self._open):
            call.end()
        if fact is not None:
            self._span.set_attributes(_of_request(fact))
            if fact.ending is Ending.FAILED or fact.status >= 500:
                self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def _noted(self, call: "_Call", _: Leg) -> None:
        self._open.discard(call)
        self._over.append(call)

    def _end_plan(self, told: Attributes) -> None:
        if self._plan is not None:
            self._plan.set_attributes(told)
            self._plan.end()
            self._plan = None


class _Call:
    """The span of one call to a model.

    What it was for is known once its request is settled, so it ends then, with the time at which
    it was over.
    """

    def __init__(
        self,
        tracer: Tracer,
        parent: Context,
        step: str,
        model: Attributes,
        on_over: Callable[["_Call", Leg], None],
    ) -> None:
        self._tracer = tracer
        self._step = step
        self._model = model
        self._on_over = on_over
        self._span = tracer.start_span(step, context=parent, kind=SpanKind.CLIENT, attributes=model)
        self._ended_at: int | None = None

    @property
    def headers(self) -> bytes:
        """What its server is told of the trace."""
        return _lines(self._span.get_span_context())

    def answered(self, body: bytes, finish_reasons: Sequence[str | None]) -> None:
        """The server answered: which model it says that it is, and why it ended."""
        told: Attributes = {}
        try:
            named = _named.decode(body).model
        except (msgspec.DecodeError, UnicodeDecodeError):
            named = None
        if named:
            told["gen_ai.response.model"] = named[:MAX_WORD_CHARACTERS]
        reasons = [reason[:MAX_WORD_CHARACTERS] for reason in finish_reasons if reason]
        if reasons:
            told["gen_ai.response.finish_reasons"] = reasons
        self._span.set_attributes(told)

    def over(self, leg: Leg) -> None:
        """The call is over, and this is what it came to."""
        self._ended_at = time.time_ns()
        self._on_over(self, leg)

    def handed_on(self) -> "_Call":
        """What is still to come of it, off the request path: a child, for the call is the same."""
        context = set_span_in_context(self._span, Context())
        return _Call(self._tracer, context, self._step, self._model, _audited)

    def bill(self, lines: Sequence[tuple[Leg, Entry]]) -> None:
        """Tell what it was for and cost; the first line is of what was judged."""
        leg, entry = lines[0]
        told: Attributes = {"understudy.kind": entry.kind.value, **_of_usage(lines)}
        costs = [each.cost_pico for _, each in lines if each.cost_pico is not None]
        if len(costs) == len(lines):
            told["understudy.cost_usd"] = sum(costs) / PICO_PER_USD
        if entry.is_estimated:
            told["understudy.estimated"] = True
        if leg.error in (ABORTED, CANCELLED):
            told["understudy.outcome"] = leg.error
        elif leg.error is not None:
            told["error.type"] = leg.error
            self._span.set_status(StatusCode.ERROR)
        self._span.set_attributes(told)

    def end(self) -> None:
        """Have it sent."""
        self._span.end(self._ended_at)


def _audited(call: _Call, leg: Leg) -> None:
    """A call off the request path is settled by itself."""
    call.bill([(leg, leg.entry(Kind.AUDIT))])
    call.end()


def _calls_of(fact: RequestSettled | None) -> list[list[tuple[Leg, Entry]]]:
    """The lines of the bill, call by call: spare drafts belong to the call before."""
    calls: list[list[tuple[Leg, Entry]]] = []
    if fact is not None:
        for leg, entry in zip(fact.legs, fact.entries, strict=True):
            if leg.error == SPARE and calls:
                calls[-1].append((leg, entry))
            else:
                calls.append([(leg, entry)])
    return calls


def _of_place(place: ModelPlace) -> Attributes:
    told: Attributes = {
        "gen_ai.operation.name": "chat",
        # Which API it speaks: that a server speaks OpenAI's says not whose it is.
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": place.model,
    }
    if place.address is not None and place.port is not None:
        told |= {"server.address": place.address, "server.port": place.port}
    return told


def _of_usage(lines: Sequence[tuple[Leg, Entry]]) -> Attributes:
    usages = [entry.usage for _, entry in lines]
    known: list[Usage] = [usage for usage in usages if usage is not None]
    if len(known) != len(usages):
        return {}
    return {
        "gen_ai.usage.input_tokens": sum(usage.input for usage in known),
        "gen_ai.usage.output_tokens": sum(usage.output for usage in known),
        "gen_ai.usage.cache_read.input_tokens": sum(usage.cached_input for usage in known),
        "gen_ai.usage.reasoning.output_tokens": sum(usage.reasoning for usage in known),
    }


def _of_request(fact: RequestSettled) -> Attributes:
    """What the log line says, without what is missing."""
    cost, confidence, merit = fact.cost_pico, fact.confidence, fact.merit
    told: dict[str, AttributeValue | None] = {
        "http.response.status_code": None if fact.status == CLIENT_GONE_STATUS else fact.status,
        "error.type": fact.error_code,
        "understudy.request_id": fact.request_id,
        "understudy.cascade": fact.cascade,
        "understudy.tenant": fact.tenant,
        "understudy.outcome": fact.ending.value,
        "understudy.stream": fact.is_stream,
        "understudy.served_by": fact.served_by and fact.served_by.value,
        "understudy.reason": fact.reason and fact.reason.value,
        "understudy.degraded": fact.degraded and fact.degraded.value,
        "understudy.handover": fact.handover and fact.handover.value,
        "understudy.confidence": None if confidence is None else confidence.value,
        "understudy.merit": None if merit is None else merit.value,
        "understudy.group": fact.group,
        "understudy.policy": fact.policy_version,
        "understudy.cost_usd": None if cost is None else cost / PICO_PER_USD,
        "understudy.first_byte_seconds": fact.first_byte_seconds,
    }
    return {name: value for name, value in told.items() if value is not None}


def _extracted(context: TraceContext) -> Context:
    carrier = {"traceparent": context.parent, "tracestate": context.state}
    return _propagator.extract(carrier, context=Context())


def _lines(context: SpanContext) -> bytes:
    """What a server is told so that its spans become children of this one."""
    parent = (
        f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"
        f"-{context.trace_flags:02x}"
    )
    return TraceContext(parent, context.trace_state.to_header()).lines
