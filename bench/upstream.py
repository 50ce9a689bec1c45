"""The upstream under the gateway: answers every POST with bytes made before the first one came.

It reads no more of a request than where it ends and what its path is, so that it is faster than
anything that may be measured against it.  ``python -m bench.upstream`` prints its port and serves
on 127.0.0.1 until its parent ends.
"""

import asyncio
from collections.abc import Mapping
from typing import cast

import uvloop

from bench import replies
from understudy.demo.lifeline import follow_parent

SURE, UNSURE, TEACHER, WRONG = "sure", "unsure", "teacher", "wrong"
SURE_PROBABILITY = 0.995
UNSURE_PROBABILITY = 0.55
LARGEST_REQUEST = 2**20

_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"


def base_path(kind: str) -> str:
    """The path below which replies of that kind are served, as a ``base_url`` ends."""
    return f"/{kind}/v1"


def static_replies() -> dict[bytes, bytes]:
    """Whole HTTP replies by the path of the request."""
    bodies = {
        SURE: replies.draft(probability=SURE_PROBABILITY),
        UNSURE: replies.draft(probability=UNSURE_PROBABILITY),
        TEACHER: replies.lesson(),
        WRONG: replies.draft(probability=SURE_PROBABILITY).replace(b"student ", b"nobody "),
    }
    return {
        f"{base_path(kind)}/chat/completions".encode(): _response(b"200 OK", body)
        for kind, body in bodies.items()
    }


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

    def __init__(self, answers: Mapping[bytes, bytes]) -> None:
        self._answers = answers
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._unread += data
        while end := request_end(self._unread):
            path = self._unread.split(b" ", 2)[1]
            self._unread = self._unread[end:]
            answer = self._answers.get(path)
            self._transport.write(answer or _response(b"404 Not Found", b"{}"))
        if len(self._unread) > LARGEST_REQUEST:
            self._transport.abort()


async def serve() -> None:
    """Listen on a free port of 127.0.0.1, print it, and serve until this process is ended."""
    answers = static_replies()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    follow_parent()
    uvloop.run(serve())
