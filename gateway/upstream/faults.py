"""The one map from what goes wrong on the wire to a model server to our own errors."""

import errno
import re

from gateway.errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamMalformed,
    UpstreamMisconfigured,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from gateway.upstream.http1 import TooLarge, Unreachable
from gateway.upstream.reply import BrokenOff
from gateway.wire.errors import read_refusal

# The statuses with which a server says that the client's request is wrong.  401, 403, 404 and 405
# are about the request that *we* built: its key, its model name, its path.
_CLIENT_MISTAKES = frozenset({400, 413, 415, 422})

_AWAY = frozenset({502, 503, 504})

_NUMBER = re.compile(rb"[0-9]{1,9}").fullmatch

NETWORK_ERRORS = (Unreachable, BrokenOff, TooLarge, TimeoutError)


def fault_of(error: BaseException) -> UpstreamError:
    """Our error for a failure to get an answer; ``error`` is one of ``NETWORK_ERRORS``.

    A connection that was never made cost nothing.  Once the request was sent, nobody knows.
    """
    if isinstance(error, Unreachable):
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return UpstreamError("The gateway has no file descriptor left for a connection.")
        return UpstreamUnreachable("The model server could not be reached.")
    if isinstance(error, TimeoutError):
        return UpstreamTimeout("The model server did not answer in time.", is_usage_unknown=True)
    if isinstance(error, TooLarge):
        return UpstreamMalformed("The model server's answer is too large.", is_usage_unknown=True)
    return UpstreamUnavailable("The model server broke off its answer.", is_usage_unknown=True)


def fault_of_status(
    status: int, body: bytes, retry_after: bytes | None = None
) -> UpstreamError | UpstreamRefused:
    """Our error for an answer with any status but 200.  Such answers are taken to be free.

    ``retry_after`` is the value of that header, None where there was none.
    """
    if status in _CLIENT_MISTAKES:
        return read_refusal(status, body)
    if 400 <= status < 500 and status != 429:
        return UpstreamMisconfigured(f"The model server refused the gateway with status {status}.")
    seconds = _seconds(retry_after)
    if status == 429:
        return UpstreamBusy("The model server has too much to do.", come_back_seconds=seconds)
    kind = UpstreamUnavailable if status in _AWAY else UpstreamFailed
    message = f"The model server answered with status {status}."
    return kind(message, come_back_seconds=seconds)


def _seconds(retry_after: bytes | None) -> float | None:
    """The seconds that the header names; a date there is left alone, for clocks differ."""
    if retry_after is None or not _NUMBER(retry_after):
        return None
    return float(retry_after)
