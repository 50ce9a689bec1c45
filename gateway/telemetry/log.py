"""Log lines: JSON, one for each request.  Never a prompt, an answer or a key."""

import logging
import sys
from typing import BinaryIO

import msgspec
import structlog

from gateway.facts import RequestSettled
from routing.money import usd

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def _dumps(event: object, **_: object) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)


def new_log(level: str, stream: BinaryIO | None = None) -> structlog.typing.FilteringBoundLogger:
    """A logger that writes JSON lines of at least ``level`` to ``stream``, or standard error."""
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.BytesLogger(stream or sys.stderr.buffer),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    return logger


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
        policy=fact.policy_version,
        cost_usd=None if fact.cost_pico is None else usd(fact.cost_pico),
        tokens=sum(leg.usage.input + leg.usage.output for leg in fact.legs if leg.usage),
        error=fact.error_code,
    )
