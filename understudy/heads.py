"""Heads of requests that come again: those of one client are alike, but for the body's length.

A parser calls back for every header, and most clients send twenty of them; a head that was parsed
once is known by its bytes.
"""

import re
from collections.abc import Mapping
from typing import Any

# A longer head is parsed each time: every open connection holds on to what it knows.
MAX_KNOWN_BYTES = 4 * 2**10
_LENGTH = re.compile(rb"\r\n(?i:content-length):[ \t]*([0-9]{1,9})\r\n")
_END = b"\r\n\r\n"
_LINE_END = b"\r\n"
_CONTENT_LENGTH = b"content-length"
_FRAMING = (_CONTENT_LENGTH, b"transfer-encoding")


class KnownHead:
    """A head that the parser has read, and the scope that was made of it."""

    __slots__ = ("_before", "_behind", "_place", "_scope")

    def __init__(self, before: bytes, behind: bytes, place: int, scope: Mapping[str, Any]) -> None:
        self._before = before
        self._behind = behind
        self._place = place
        self._scope = scope

    @classmethod
    def of(cls, data: bytes, scope: Mapping[str, Any]) -> "KnownHead | None":
        """The head of the request that ``data`` are, with this ``scope``, as the parser read it.

        None where they are more than one such request, or where it does not say once, in one line
        of its own, how long its body is.
        """
        head = data[: data.find(_END) + len(_END)]
        framing = [place for place, (name, _) in enumerate(scope["headers"]) if name in _FRAMING]
        length = _LENGTH.search(head)
        if length is None or len(framing) != 1 or len(head) > MAX_KNOWN_BYTES:
            return None
        if len(data) != len(head) + int(length[1]):
            return None
        lasting = _copy_of(scope)
        lasting.pop("extensions", None)  # which lead back to that request
        return cls(head[: length.start(1)], head[length.end(1) :], framing[0], lasting)

    def again(self, data: bytes) -> tuple[dict[str, Any], bytes] | None:
        """Scope and body of a request with this head.

        None where ``data`` are something else than one such request and nothing more.
        """
        if not data.startswith(self._before):
            return None
        start = len(self._before)
        end = data.find(_LINE_END, start, start + 10)
        length = data[start:end] if end > 0 else b""
        if not length.isdigit() or not data.startswith(self._behind, end):
            return None
        body = data[end + len(self._behind) :]
        if len(body) != int(length):
            return None
        scope = _copy_of(self._scope)
        scope["headers"][self._place] = (_CONTENT_LENGTH, length)
        return scope, body


def _copy_of(scope: Mapping[str, Any]) -> dict[str, Any]:
    """A scope of its own, whatever becomes of the other."""
    return {**scope, "headers": scope["headers"].copy(), "state": scope["state"].copy()}
