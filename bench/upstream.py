"""The upstream under the gateway: answers every POST with bytes made before the first one came.

It reads no more of a request than where it ends, what its path is and whether it wants a stream, so
that it is faster than anything that may be measured against it.  Under a path with a pause it takes
its time as a model does: that long for each token, in a stream and before a whole answer alike.
``python -m bench.upstream`` prints its port and serves on 127.0.0.1 until its parent ends.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import uvloop

from bench import replies
from understudy.demo.lifeline import follow_parent

SURE, UNSURE, TEACHER, WRONG = "sure", "unsure", "teacher", "wrong"
LONG = "long"  # as sure, and its streams have LONG_TOKENS
SURE_PROBABILITY = 0.995
UNSURE_PROBABILITY = 0.55
LARGEST_REQUEST = 2**20

BACKLOG = 2048
PAUSE = b"pause-"
ROUNDING = 1e-6  # The loop counts whole milliseconds, in floating point.

_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
STREAM_WANTED = b'"stream":true'
# Some of those that pass requests on ask first what there is.
_MODELS_WANTED = b"/v1/models"
_MODELS = (
    b'{"object":"list","data":[{"id":"static","object":"model","created":0,"owned_by":"bench"}]}'
)


def base_path(kind: str, pause_ms: int = 0) -> str:
    """The path below which replies of that kind are served, as a ``base_url`` ends."""
    return f"/{kind}/{PAUSE.decode()}{pause_ms}/v1" if pause_ms else f"/{kind}/v1"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as bytes: whole, and as a stream's head with the pieces that follow it."""

    whole: bytes
    head: bytes
    pieces: Sequence[bytes]


def static_replies() -> dict[bytes, Reply]:
    """What there is to answer, by the kind that a path begins with."""
    sure, sure_events = _student(SURE_PROBABILITY)
    unsure, unsure_events = _student(UNSURE_PROBABILITY)
    return {
        SURE.encode(): _reply(sure, sure_events),
        LONG.encode(): _reply(
            sure, replies.draft_events(probability=SURE_PROBABILITY, tokens=replies.LONG_TOKENS)
        ),
        UNSURE.encode(): _reply(unsure, unsure_events),
        TEACHER.encode(): _reply(replies.lesson(), replies.lesson_events()),
        WRONG.encode(): _reply(
            sure.replace(b"student ", b"nobody "),
            [event.replace(b'"student"', b'"nobody"') for event in sure_events],
        ),
    }


def _student(probability: float) -> tuple[bytes, list[bytes]]:
    return replies.draft(probability=probability), replies.draft_events(probability=probability)


def _reply(body: bytes, events: Sequence[bytes]) -> Reply:
    """The first event goes out with the head, the last, which tells the usage, with the one before.

    So there is a piece for each token.
    """
    opening, *tokens, end = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    tokens[-1] += end + _LAST_CHUNK.removeprefix(b"\r\n")
    return Reply(_response(b"200 OK", body), _STREAM_HEAD + opening, tokens)


def _response(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def request_end(data: bytes) -> int:
    """Where the first request in ``data`` ends; 0 while some of it has not arrived."""
    end = data.find(_HEAD_END)
    if end < 0:
        return 0
    head = data[:end].lower()
    body = end + len(_HEAD_END)
    _, declared, length = head.partition(b"\r\ncontent-length:")
    if declared:
        whole = body + int(length.partition(b"\r\n")[0])
        return whole if len(data) >= whole else 0
    if b"\r\ntransfer-encoding: chunked" in head:
        last = data.find(_LAST_CHUNK, end)
        return last + len(_LAST_CHUNK) if last >= 0 else 0
    return body


class Connection(asyncio.Protocol):
    """One client's connection; it stays open."""

    def __init__(self, answers: Mapping[bytes, Reply]) -> None:
        self._answers = answers
        self._unread = b""
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop writing for a client that has left."""
        if self._next is not None:
            self._next.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._unread += data
        while end := request_end(self._unread):
            request, self._unread = self._unread[:end], self._unread[end:]
            self._answer(request)
        if len(self._unread) > LARGEST_REQUEST:
            self._transport.abort()

    def _answer(self, request: bytes) -> None:
        path = request.split(b" ", 2)[1]
        _, kind, pause, *_ = path.split(b"/")
        reply = self._answers.get(kind)
        pause_seconds = int(pause.removeprefix(PAUSE)) / 1e3 if pause.startswith(PAUSE) else 0.0
        if reply is None:
            self._transport.write(_response(b"404 Not Found", b"{}"))
        elif path.endswith(_MODELS_WANTED):
            self._transport.write(_response(b"200 OK", _MODELS))
        elif STREAM_WANTED in request:
            self._transport.write(reply.head)
            self._play(reply.pieces, pause_seconds)
        elif pause_seconds:
            seconds = len(reply.pieces) * pause_seconds
            self._next = self._loop.call_later(seconds, self._transport.write, reply.whole)
        else:
            self._transport.write(reply.whole)

    def _play(self, pieces: Sequence[bytes], pause_seconds: float) -> None:
        """Write a piece whenever the pause has passed once more, late ones at once."""
        began, written = self._loop.time(), 0

        def write_due() -> None:
            nonlocal written
            passed = self._loop.time() - began
            due = int(passed / pause_seconds + ROUNDING) if pause_seconds else len(pieces)
            for piece in pieces[written:due]:
                self._transport.write(piece)
            written = due
            if written < len(pieces):
                self._next = self._loop.call_at(began + (written + 1) * pause_seconds, write_due)

        write_due()


async def serve() -> None:
    """Listen on a free port of 127.0.0.1, print it, and serve until this process is ended."""
    answers = static_replies()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers), "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    follow_parent()
    uvloop.run(serve())
