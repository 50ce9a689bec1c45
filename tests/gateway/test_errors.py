"""What is beneath an error, for logs and for the doctor."""

import errno
import socket
import ssl

import pytest

from gateway.errors import UpstreamUnavailable
from gateway.roots import root_of, words_of
from gateway.wire.errors import read_refusal

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 80)")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (REFUSED, "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), "[SSL: WRONG_VERSION_NUMBER]"),
        (TimeoutError(), "timed out"),
        (OSError("Multiple exceptions: [Errno 111], [Errno 113]"), "Multiple exceptions: [Err"),
        (OSError("All connection attempts failed"), None),
        (ValueError("XADD key {the pair}"), None),
    ],
)
def test_the_system_s_words_are_told_and_no_others(error: Exception, words: str | None) -> None:
    assert (words_of(error) or "").startswith(words or "")
    assert (words_of(error) is None) == (words is None)


def test_the_root_is_found_beneath_causes_contexts_and_groups() -> None:
    group = ExceptionGroup("each address", [REFUSED, REFUSED])
    middle = OSError("All connection attempts failed")
    middle.__cause__ = group
    outer = RuntimeError("no answer")
    outer.__context__ = middle
    assert root_of(outer) is REFUSED


def test_an_error_of_which_the_system_says_nothing_is_its_own_root() -> None:
    outer = RuntimeError("no answer")
    outer.__cause__ = ValueError("odd")
    assert root_of(outer) is outer


def test_the_detail_of_a_failed_call_ends_in_the_system_s_words() -> None:
    failure = UpstreamUnavailable("The model server could not be reached.")
    assert failure.detail() == "The model server could not be reached."
    failure.__cause__ = REFUSED
    assert failure.detail().endswith("(ConnectionRefusedError: Connection refused)")
    failure.__cause__ = ValueError("odd")
    assert failure.detail().endswith("(ValueError)")


def test_the_detail_of_a_refusal_leaves_the_server_s_words_out() -> None:
    refusal = read_refusal(400, b'{"error": {"message": "I cannot read: my prompt"}}')
    assert "my prompt" in refusal.message
    assert refusal.detail() == "The model server refused the request with status 400."
