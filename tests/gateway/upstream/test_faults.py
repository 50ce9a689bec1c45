"""Each failure on the wire has one error of ours, which says if it may have cost something."""

import errno

import pytest

from gateway.errors import (
    UpstreamError,
    UpstreamMalformed,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from gateway.upstream.faults import NETWORK_ERRORS, fault_of
from gateway.upstream.http1 import TooLarge, Unreachable
from gateway.upstream.reply import BrokenOff


def unreachable(cause: BaseException | None) -> Unreachable:
    error = Unreachable("why")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "is_usage_unknown"),
    [
        (unreachable(ConnectionRefusedError(errno.ECONNREFUSED, "")), UpstreamUnreachable, False),
        (unreachable(TimeoutError()), UpstreamUnreachable, False),
        (unreachable(None), UpstreamUnreachable, False),
        (unreachable(OSError(errno.EMFILE, "")), UpstreamError, False),
        (unreachable(OSError(errno.ENFILE, "")), UpstreamError, False),
        (BrokenOff("why"), UpstreamUnavailable, True),
        (TimeoutError(), UpstreamTimeout, True),
        (TooLarge(), UpstreamMalformed, True),
    ],
    ids=repr,
)
def test_failure_becomes_ours(
    error: Exception, kind: type[UpstreamError], is_usage_unknown: bool
) -> None:
    assert isinstance(error, NETWORK_ERRORS)
    fault = fault_of(error)
    assert type(fault) is kind
    assert fault.is_usage_unknown is is_usage_unknown
    assert fault.is_down is (kind in (UpstreamUnavailable, UpstreamUnreachable, UpstreamTimeout))
    assert fault.is_for_the_moment is (kind is UpstreamUnavailable)
    assert "why" not in str(fault)
