"""Server-sent events: bytes as they come from a socket, cut into the payloads they carry.

This module knows the framing of a stream alone, neither what a payload means nor who sends it.
"""

# An event is a chunk of a few hundred bytes; log-probabilities of many tokens make some kilobytes.
MAX_EVENT_BYTES = 2**20
DONE = b"[DONE]"
# What some libraries write before any UTF-8; it belongs to no line.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def is_done(payload: bytes) -> bool:
    """Whether this is the payload that ends a stream of OpenAI's kind."""
    return payload.strip() == DONE


class EventSplitter:
    """Cuts a stream into events, however its bytes arrive.

    Lines end with LF or CRLF, and a byte order mark may come first.  Comments and all fields but
    ``data`` are passed over, and so are events without any data; several data lines of one event
    are joined by LF.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # what has come of a line without its end
        self._data: list[bytes] = []
        self._size = 0  # of both
        self._is_first_line = True

    def feed(self, received: bytes) -> list[bytes]:
        """Take in some bytes; returns the payloads of the events that they complete, in order.

        Raises ValueError where one event is larger than MAX_EVENT_BYTES.
        """
        if not (self._size or self._is_first_line) and (payloads := _whole(received)):
            return payloads
        payloads = []
        *lines, begun = received.split(b"\n")
        for line in lines:
            self._end_line(line, payloads)
        if begun:
            self._grow(len(begun))
            self._line.append(begun)
        return payloads

    def rest(self) -> bytes | None:
        """Where the stream ended amid an event, the payload that this one has so far, else None.

        Some servers leave out the empty line after their last event; of others it is a broken end.
        """
        unread: list[bytes] = []
        self._end_line(b"", unread)
        self._end_line(b"", unread)
        return unread[0] if unread else None

    def _end_line(self, line: bytes, payloads: list[bytes]) -> None:
        if self._line:
            line = b"".join((*self._line, line))
            self._size -= sum(map(len, self._line))
            self._line.clear()
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if line.endswith(b"\r"):
            line = line[:-1]
        if line.startswith(b"data:"):
            self._grow(len(line))
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif not line:
            if any(self._data):
                payloads.append(b"\n".join(self._data))
            self._data.clear()
            self._size = 0

    def _grow(self, added: int) -> None:
        self._size += added
        if self._size > MAX_EVENT_BYTES:
            raise ValueError(f"a server-sent event of more than {MAX_EVENT_BYTES} bytes")


def _whole(received: bytes) -> list[bytes]:
    """The payloads of whole events of one data line each, as nearly all are; none of any other."""
    size = len(received)
    if not (8 < size <= MAX_EVENT_BYTES and received.startswith(b"data: ")):
        return []
    if received.endswith(b"}\n\n") and received.find(b"\n") == size - 2:
        return [received[6:-2]]
    if b"\r" in received or not received.endswith(b"\n\n"):
        return []
    payloads = received[6:-2].split(b"\n\ndata: ")
    return payloads if received.count(b"\n") == 2 * len(payloads) and all(payloads) else []
