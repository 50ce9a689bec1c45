"""Log lines: JSON.  Never a prompt, an answer or a key."""

import logging
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from select import PIPE_BUF
from typing import BinaryIO, Protocol

import msgspec
import structlog

from gateway.facts import GenerationsTaken
from gateway.passage import PassedThrough
from gateway.server_facts import CachedTokensAsked, TeacherProbed
from routing.money import usd

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_encoder = msgspec.json.Encoder(enc_hook=str)


class _Lines:
    """Writes lines, and never fails who writes: a log on a full disk must not cost an answer."""

    def __init__(self, stream: BinaryIO, on_lost: Callable[[], None]) -> None:
        self._stream = stream
        self._on_lost = on_lost

    def write(self, line: bytes) -> None:
        """Write one line, or count it as lost."""
        self._write([line])

    def write_all(self, lines: Iterable[bytes]) -> None:
        """Write lines, several at once: no more than a pipe takes in one piece, so that nothing
        that others write to it comes between."""
        piece: list[bytes] = []
        size = 0
        for line in lines:
            size += len(line) + 1
            if piece and size > PIPE_BUF:
                self._write(piece)
                piece, size = [], len(line) + 1
            piece.append(line)
        if piece:
            self._write(piece)

    def _write(self, lines: list[bytes]) -> None:
        try:
            self._stream.write(b"\n".join([*lines, b""]))
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: it was closed
            for _ in lines:
                self._on_lost()

    debug = info = warning = error = critical = write  # what structlog calls


def _render(_: object, level: str, event: structlog.typing.EventDict) -> bytes:
    """A line of JSON.  One processor, not a chain of them, which every request would pay for."""
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(_, level, event)
    event["level"] = level
    event["timestamp"] = timestamp()
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


timestamp = _Clock().now


class Log(structlog.typing.FilteringBoundLogger, Protocol):
    """What facts are written to."""

    def lines(self, lines: Iterable[msgspec.Struct]) -> None:
        """Write lines of level ``info`` that are complete, with their level and time."""


def _logger_class(least: int) -> type[structlog.typing.FilteringBoundLogger]:
    filtering = structlog.make_filtering_bound_logger(least)

    class Log(filtering):  # type: ignore[misc, valid-type]  # made at run time
        """Writes what every request says by itself: nothing is bound here that would be added."""

        def info(self, event: str, **told: object) -> None:
            if least <= _LEVELS["info"]:
                told["event"] = event
                self._logger.info(_render(None, "info", told))

        def lines(self, lines: Iterable[msgspec.Struct]) -> None:
            if least <= _LEVELS["info"]:
                self._logger.write_all(map(_encoder.encode, lines))

    return Log


def new_log(
    level: str, stream: BinaryIO | None = None, on_lost: Callable[[], None] = lambda: None
) -> Log:
    """A logger that writes JSON lines of at least ``level`` to ``stream``, or standard error.

    ``on_lost`` is told of each line that cannot be written.
    """
    lazy = structlog.wrap_logger(
        _Lines(stream or sys.stderr.buffer, on_lost),
        processors=[_render],
        wrapper_class=_logger_class(_LEVELS[level]),
    )
    log: Log = lazy.bind()  # bound now, and not anew for every line
    return log


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
