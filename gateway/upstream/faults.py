"""The one map from what goes wrong on the wire to a model server to our own errors."""

import errno

from gateway.errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamFailed,
    UpstreamMalformed,
    UpstreamMisconfigured,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.upstream.http1 import BrokenOff, TooLarge, Unreachable
from gateway.wire.errors import read_refusal

# The statuses with which a server says that the client's request is wrong.  401, 403, 404 and 405
# are about the request that *we* built: its key, its model name, its path.
_CLIENT_MISTAKES = frozenset({400, 413, 415, 422})

_AWAY = frozenset({502, 503, 504})

NETWORK_ERRORS = (Unreachable, BrokenOff, TooLarge, TimeoutError)


def fault_of(error: BaseException) -> UpstreamError:
    """Our error for a failure to get an answer; ``error`` is one of ``NETWORK_ERRORS``.

    A connection that was never made cost nothing.  Once the request was sent, nobody knows.
    """
    if isinstance(error, Unreachable):
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return UpstreamError("The gateway has no file descriptor left for a connection.")
        return UpstreamUnavailable("The model server could not be reached.")
    if isinstance(error, TimeoutError):
        return UpstreamTimeout("The model server did not answer in time.", is_usage_unknown=True)
    if isinstance(error, TooLarge):
        return UpstreamMalformed("The model server's answer is too large.", is_usage_unknown=True)
    return UpstreamUnavailable("The model server broke off its answer.", is_usage_unknown=True)


def fault_of_status(status: int, body: bytes) -> UpstreamError | UpstreamRefused:
    """Our error for an answer with any status but 200.  Such answers are taken to be free."""
    if status in _CLIENT_MISTAKES:
        return read_refusal(status, body)
    if status == 429:
        return UpstreamBusy("The model server has too much to do.")
    if 400 <= status < 500:
        return UpstreamMisconfigured(f"The model server refused the gateway with status {status}.")
    kind = UpstreamUnavailable if status in _AWAY else UpstreamFailed
    return kind(f"The model server answered with status {status}.")
