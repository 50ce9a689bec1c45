"""A crowd of clients of which no two requests are alike: for what may pile up in a gateway.

A process of its own, ``python -m bench.motley``, as ``bench.load``.  They differ in ids, groups,
sessions, users and words; some are streams, some the client's mistake, some of nobody's key.
"""

import asyncio
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import msgspec
import uvloop

from understudy.demo.lifeline import follow_parent

_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"
KEPT, ESCALATED, BROKEN = "growth-kept", "growth-escalated", "growth-broken"


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many requests, those after the first ``sent``; ``keys`` take turns."""

    port: int
    keys: Sequence[str]
    sent: int
    requests: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class Gone:
    """The requests were answered as they had to be, or ``fault`` says which was not."""

    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """One request, and the statuses that are right for it; ``key`` None is the next in turn."""

    body: bytes
    statuses: tuple[int, ...] = (200,)
    key: str | None = None


def _asked(model: str, number: int, *, is_stream: bool = False) -> bytes:
    fields: dict[str, object] = {
        "model": model,
        "messages": [
            {"role": "user", "content": f"Where is order {number}, sent to {number * 7}?"}
        ],
        "user": f"user-{number}",
        "max_tokens": 64,
    }
    if is_stream:
        fields["stream"] = True
    return json.dumps(fields, separators=(",", ":")).encode()


def _broken_json(number: int) -> bytes:
    return f'{{"model":"{KEPT}","messages":[{{"role":"user","content":"{number}'.encode()


# One turn of twenty requests.
_KINDS: Sequence[Callable[[int], Visit]] = (
    *[lambda number: Visit(_asked(KEPT, number))] * 8,
    *[lambda number: Visit(_asked(ESCALATED, number))] * 2,
    *[lambda number: Visit(_asked(KEPT, number, is_stream=True))] * 3,
    lambda number: Visit(_asked(ESCALATED, number, is_stream=True)),
    lambda number: Visit(_asked(BROKEN, number), (502, 503)),
    # A client that has waited for long has the beginning of a stream by then, and reads the error.
    lambda number: Visit(_asked(BROKEN, number, is_stream=True), (200, 502, 503)),
    lambda number: Visit(_broken_json(number), (400,)),
    lambda number: Visit(_asked(f"model-{number}", number), (404,)),
    *[lambda number: Visit(_asked(KEPT, number), (401,), f"nobody-{number}")] * 2,
)


def visit(number: int) -> Visit:
    """The request of that number."""
    return _KINDS[number % len(_KINDS)](number)


class _Client(asyncio.Protocol):
    """One connection: it sends its next request when it has an answer."""

    def __init__(self, crowd: Crowd, numbers: "itertools.count[int]") -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._crowd = crowd
        self._numbers = numbers
        self._received = bytearray()
        self._statuses: tuple[int, ...] = ()
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_HEAD_END)
        if end < 0 or not self._is_complete(bytes(self._received[:end]).lower(), end):
            return
        status = int(self._received[9:12])
        if status not in self._statuses:
            said = bytes(self._received).decode(errors="replace")[:600]
            self._fail(f"request {self._number} was to end with {self._statuses}: {said}")
            return
        self._received.clear()
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the gateway closed a connection: {exc}")

    def _send(self) -> None:
        crowd = self._crowd
        self._number = next(self._numbers)
        if self._number >= crowd.sent + crowd.requests:
            self.done.set_result(None)
            self._transport.close()
            return
        asked = visit(self._number)
        self._statuses = asked.statuses
        key = asked.key or crowd.keys[self._number % len(crowd.keys)]
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{crowd.port}\r\n"
            f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
            f"x-request-id: visit-{self._number}\r\nx-understudy-group: group-{self._number}\r\n"
            f"x-understudy-session: session-{self._number}\r\n"
            f"content-length: {len(asked.body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + asked.body)

    def _is_complete(self, head: bytes, end: int) -> bool:
        if b"\r\ntransfer-encoding: chunked" in head:
            return self._received.endswith(_LAST_CHUNK)
        length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or b"0")
        return len(self._received) >= end + len(_HEAD_END) + length

    def _fail(self, fault: str) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(fault))


async def visited(crowd: Crowd) -> Gone:
    """Send all of them."""
    loop, numbers = asyncio.get_running_loop(), itertools.count(crowd.sent)
    try:
        made = [
            await loop.create_connection(lambda: _Client(crowd, numbers), "127.0.0.1", crowd.port)
            for _ in range(crowd.concurrency)
        ]
        await asyncio.gather(*(client.done for _, client in made))
    except OSError as error:
        return Gone(str(error))
    return Gone()


async def serve() -> None:
    """Do what standard input says, line by line, until it ends."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        gone = await visited(msgspec.json.decode(line, type=Crowd))
        sys.stdout.buffer.write(msgspec.json.encode(gone) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    follow_parent()
    uvloop.run(serve())
