"""Requests that offer to go on in another protocol: they are answered in this one, body and all.

Java's client offers HTTP/2 with every first request.  The parser takes such an offer for the end of
HTTP, and would leave the body unread.
"""

from collections.abc import Iterable
from typing import Protocol

import httptools

_FRAMING = (b"content-length", b"transfer-encoding")


class Receiver(Protocol):
    """Who hears of a request's body."""

    def on_body(self, body: bytes) -> None:
        """A piece of it has come."""

    def on_message_complete(self) -> None:
        """It is whole."""


class BodyReader:
    """Reads the body of one request whose head was read already, and nothing after that."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]], receiver: Receiver) -> None:
        """``headers`` are the request's; their names are in lower case."""
        self._receiver = receiver
        self._is_over = False
        self._parser = httptools.HttpRequestParser(self)
        lines = [b"%b: %b\r\n" % line for line in headers if line[0] in _FRAMING]
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(lines))

    def feed(self, data: bytes) -> None:
        """Take in what came.  Raises httptools.HttpParserError where it is no such body."""
        if data and not self._is_over:
            self._parser.feed_data(data)

    # What httptools calls.

    def on_body(self, body: bytes) -> None:
        if not self._is_over:
            self._receiver.on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._receiver.on_message_complete()
