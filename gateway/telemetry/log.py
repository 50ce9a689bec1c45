"""Log lines: JSON, one for each request.  Never a prompt, an answer or a key."""

import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import BinaryIO

import msgspec
import structlog

from gateway.facts import ABORTED, SPARE, GenerationsTaken, RequestSettled
from gateway.passage import PassedThrough
from gateway.server_facts import CachedTokensAsked, TeacherProbed
from routing.money import total_of, usd
from routing.vocabulary import Kind

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_encoder = msgspec.json.Encoder(enc_hook=str)


class _Lines:
    """Writes lines, and never fails who writes: a log on a full disk must not cost an answer."""

    def __init__(self, stream: BinaryIO, on_lost: Callable[[], None]) -> None:
        self._stream = stream
        self._on_lost = on_lost

    def write(self, line: bytes) -> None:
        """Write one line, or count it as lost."""
        try:
            self._stream.write(line + b"\n")
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: it was closed
            self._on_lost()

    debug = info = warning = error = critical = write  # what structlog calls


def _render(_: object, level: str, event: structlog.typing.EventDict) -> bytes:
    """A line of JSON.  One processor, not a chain of them, which every request would pay for."""
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(_, level, event)
    event["level"] = level
    event["timestamp"] = _clock.now()
    return _encoder.encode(event)


class _Clock:
    """The time of day for log lines, in UTC; the second is written out once."""

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def now(self) -> str:
        """The time, to microseconds."""
        second, rest = divmod(time.time_ns(), 10**9)
        if second != self._second:
            self._second = second
            self._text = datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")
        return f"{self._text}.{rest // 1000:06d}Z"


_clock = _Clock()


def _logger_class(least: int) -> type[structlog.typing.FilteringBoundLogger]:
    filtering = structlog.make_filtering_bound_logger(least)

    class Log(filtering):  # type: ignore[misc, valid-type]  # made at run time
        """Writes what every request says by itself: nothing is bound here that would be added."""

        def info(self, event: str, **told: object) -> None:
            if least <= _LEVELS["info"]:
                told["event"] = event
                self._logger.info(_render(None, "info", told))

    return Log


def new_log(
    level: str, stream: BinaryIO | None = None, on_lost: Callable[[], None] = lambda: None
) -> structlog.typing.FilteringBoundLogger:
    """A logger that writes JSON lines of at least ``level`` to ``stream``, or standard error.

    ``on_lost`` is told of each line that cannot be written.
    """
    lazy: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        _Lines(stream or sys.stderr.buffer, on_lost),
        processors=[_render],
        wrapper_class=_logger_class(_LEVELS[level]),
    )
    return lazy.bind()  # bound now, and not anew for every line


class ServerLogHandler(logging.Handler):
    """Takes what uvicorn says through the standard library's logging into our log lines."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, with its traceback where it has one."""
        self._log.log(
            record.levelno, "server", message=record.getMessage(), exc_info=record.exc_info
        )


def log_settled(log: structlog.typing.FilteringBoundLogger, fact: RequestSettled) -> None:
    """Write the line of one request."""
    cost_pico = fact.cost_pico
    log.info(
        "request",
        request_id=fact.request_id,
        cascade=fact.cascade,
        tenant=fact.tenant,
        outcome=fact.ending,
        status=fact.status,
        seconds=round(fact.seconds, 6),
        stream=fact.is_stream,
        served_by=fact.served_by,
        reason=fact.reason,
        degraded=fact.degraded,
        confidence=None if fact.confidence is None else round(fact.confidence.value, 6),
        merit=None if fact.merit is None else round(fact.merit.value, 6),
        group=fact.group,
        policy=fact.policy_version,
        cost_usd=None if cost_pico is None else usd(cost_pico),
        tokens=sum(leg.usage.input + leg.usage.output for leg in fact.legs if leg.usage),
        error=fact.error_code,
        **_of_bill(fact),
        **({} if fact.trace_id is None else {"trace_id": fact.trace_id}),
        **_of_stream(fact),
        **_failures(fact),
    )


def log_passed(log: structlog.typing.FilteringBoundLogger, fact: PassedThrough) -> None:
    """Write the line of a request that was to pass to a model as it was."""
    call, entry = fact.call, fact.entry
    cost = None if entry is None else entry.cost_pico
    usage = None if call is None else call.usage
    failed = call is not None and call.error is not None
    log.info(
        "passed",
        request_id=fact.request_id,
        model=fact.model,
        route=fact.route,
        tenant=fact.tenant,
        outcome=fact.outcome,
        status=fact.status,
        seconds=round(fact.seconds, 6),
        cost_usd=None if cost is None else usd(cost),
        tokens=usage.input + usage.output if usage else 0,
        error=fact.error_code,
        **({"failure": call.error, "detail": call.detail} if call is not None and failed else {}),
    )


_CONTINUATIONS = {
    True: "answers in late doubt are handed over to the teacher",
    False: "no answer is handed over to this teacher: those in late doubt are only marked",
    None: "not known yet: the teacher will be asked again",
}
_CACHES = {
    True: "cached tokens are billed at their own price",
    False: "price.cached_input is never applied: the server does not say what was cached. vLLM: "
    "start it with --enable-prompt-tokens-details",
    None: "not known yet: the server will be asked again",
}


def _level_of(attempt: int, *, answer: bool | None) -> int:
    """How loud the answer of a server that was asked is; none, once again, is no news."""
    if answer is None and attempt > 1:
        return _LEVELS["debug"]
    return _LEVELS["info" if answer else "warning"]


def log_probed(log: structlog.typing.FilteringBoundLogger, fact: TeacherProbed) -> None:
    """Write what a probe of a teacher came to."""
    log.log(
        _level_of(fact.attempt, answer=fact.can_continue),
        "continuation",
        cascade=fact.cascade,
        server=fact.server,
        attempt=fact.attempt,
        can_continue=fact.can_continue,
        message=_CONTINUATIONS[fact.can_continue],
        saw=fact.saw,
    )


def _of_bill(fact: RequestSettled) -> dict[str, object]:
    """What was paid for what, where not all of it was served, and whether it is an estimate."""
    entries = fact.entries
    if all(entry.kind is Kind.SERVED and not entry.is_estimated for entry in entries):
        return {}
    by_kind: dict[str, str | None] = {}
    for kind in dict.fromkeys(entry.kind for entry in entries):
        cost = total_of([entry.cost_pico for entry in entries if entry.kind is kind])
        by_kind[kind] = None if cost is None else usd(cost)
    told: dict[str, object] = {}
    if by_kind.keys() != {Kind.SERVED}:
        told["cost_by_kind"] = by_kind
    if any(entry.is_estimated for entry in entries):
        told["estimated"] = True
    return told


def log_cached_tokens(log: structlog.typing.FilteringBoundLogger, fact: CachedTokensAsked) -> None:
    """Write whether a server tells of cached tokens."""
    log.log(
        _level_of(fact.attempt, answer=fact.is_reported),
        "cached_tokens",
        cascade=fact.cascade,
        role=fact.role,
        attempt=fact.attempt,
        reported=fact.is_reported,
        message=_CACHES[fact.is_reported],
        saw=fact.saw,
    )


def log_generations(log: structlog.typing.FilteringBoundLogger, fact: GenerationsTaken) -> None:
    """Write which state is in force from now on, and whose step that was."""
    state, level = fact.state, "warning" if fact.is_older else "info"
    incumbent, rollout, last = state.incumbent, state.rollout, state.last
    log.log(
        _LEVELS["debug" if fact.is_renewal else level],
        "generations",
        cascade=fact.cascade,
        revision=state.revision,
        before=None if fact.before is None else fact.before.revision,
        action=last.action,
        version=last.version,
        who=last.who,
        why=last.why,
        incumbent=None if incumbent is None else incumbent.version,
        candidate=None if rollout is None else rollout.candidate.version,
        stage=None if rollout is None else rollout.stage,
        share=None if rollout is None else rollout.share,
        **({"message": _OLDER} if fact.is_older else {}),
    )


_OLDER = "the registry went back to an older state, as one does that was restored"


def _of_stream(fact: RequestSettled) -> dict[str, object]:
    """What only streams have."""
    if not fact.is_stream:
        return {}
    seconds = fact.first_byte_seconds
    return {
        "first_byte_seconds": None if seconds is None else round(seconds, 6),
        "handover": fact.handover,
        **_of_doubt(fact),
    }


def _of_doubt(fact: RequestSettled) -> dict[str, object]:
    """What only answers have that fell into doubt, or broke off, when they were half out."""
    told: dict[str, object] = {}
    if (doubt := fact.doubt) is not None:
        confidence = doubt.confidence
        told["doubt_reason"] = doubt.reason
        told["doubt_confidence"] = None if confidence is None else round(confidence.value, 6)
        told["doubt_at_tokens"] = doubt.tokens
    if fact.obstacle is not None:
        told["not_handed_over"] = fact.obstacle
    return told


def _failures(fact: RequestSettled) -> dict[str, object]:
    """What went wrong with calls to models, and which were not made, where there are any."""
    failed: list[dict[str, object]] = [
        {
            "role": leg.role,
            "server": leg.server,
            "error": leg.error,
            "detail": leg.detail,
            "seconds": leg.seconds,
        }
        for leg in fact.legs
        if leg.error not in (None, ABORTED, SPARE)
    ]
    failed += [{"role": denial.role, "error": denial.cause} for denial in fact.denials]
    return {"failures": failed} if failed else {}
