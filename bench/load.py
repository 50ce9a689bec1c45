"""The load generator: keep-alive connections that each send their next request when answered.

Or when the next one is due, where a job says how many a second there are to be.  A process of its
own, ``python -m bench.load``: a job a line on standard input, its result a line on standard output.
Every reply is checked, because a fast wrong answer is worth nothing.
"""

import asyncio
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import cast

import msgspec
import uvloop

from bench.schedule import Schedule
from understudy.demo.lifeline import follow_parent

SERVED_BY = b"x-understudy-served-by"
# uvicorn closes a connection after 5 idle seconds: be the first.
IDLE_SECONDS = 4.0
_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, what they say, and what each answer must be.

    ``served_by`` is the role that the gateway must name, or None for a server that names none;
    ``text`` must stand in the body, or be the text of a stream, and ``never`` must not be there,
    where it is given.  What ``first_token`` says is in the answer once its first token is.
    """

    port: int
    path: str
    key: str
    body: str
    text: str
    first_token: str = ""
    served_by: str | None = None
    never: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """So many requests in all, over so many connections at once; both at least 1.

    ``ramp_seconds`` is the time over which the first requests of all connections are spread.  With
    a ``rate`` requests are due so many a second, and their latency counts from then.
    """

    target: Target
    concurrency: int
    requests: int
    ramp_seconds: float = 0.0
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job came to; ``fault`` says which reply was wrong, and how.

    ``latencies_ms`` has one number a request, to the answer's end; ``first_token_ms`` likewise, to
    its first token, which comes with all others where the answer is no stream.
    """

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    first_token_ms: list[float] = field(default_factory=list)
    fault: str | None = None


class _Delta(msgspec.Struct):
    content: str = ""


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    choices: list[_Choice]


_event = msgspec.json.Decoder(_Chunk)


class WrongReply(Exception):
    """A reply is not what the target must answer; the message quotes it."""


class Run:
    """One job while it goes on."""

    def __init__(self, job: Job) -> None:
        target = job.target
        self.request = _request(target)
        self.latencies_ms: list[float] = []
        self.first_token_ms: list[float] = []
        self.first_token = target.first_token.encode()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._served_by = None if target.served_by is None else target.served_by.encode()
        self._text = target.text.encode()
        self._never = None if target.never is None else target.never.encode()
        self._is_scheduled = job.rate is not None
        self._connections = job.concurrency
        self._due: deque[int] = deque()
        self._idle: list[Connection] = []
        self._unsent = job.requests
        self._unanswered = job.requests

    def next(self, connection: "Connection") -> None:
        """Have a connection send the next request, now or when one is due, if one is left."""
        if not self._is_scheduled:
            self._unsent -= 1
            if self._unsent >= 0:
                connection.send(time.perf_counter_ns())
        elif self._due:
            connection.send(self._due.popleft())
        else:
            self._idle.append(connection)

    def is_due(self, at: int) -> None:
        """Send a request that is due, or have it wait for the next connection that is free."""
        if self._idle:
            self._idle.pop().send(at)
        else:
            self._due.append(at)

    def lost(self, connection: "Connection") -> None:
        """Do without a connection that had nothing to do, if there are others."""
        if connection in self._idle:
            self._idle.remove(connection)
        self._connections -= 1
        if not self._connections:
            self.failed(WrongReply("the server closed every connection"))

    def replied(self, head: bytes, body: bytes, first_token_ms: float, latency_ms: float) -> bool:
        """Note one reply; False where the run is over because of it."""
        if fault := self._fault(head, body):
            self.failed(WrongReply(fault))
            return False
        self.first_token_ms.append(first_token_ms)
        self.latencies_ms.append(latency_ms)
        self._unanswered -= 1
        if self._unanswered == 0:
            self.done.set_result(None)
        return True

    def failed(self, error: Exception) -> None:
        """End the run, where it has not ended."""
        if not self.done.done():
            self.done.set_exception(error)

    def _fault(self, head: bytes, body: bytes) -> str | None:
        if not head.startswith(b"http/1.1 200"):
            status = head.partition(_LINE_END)[0]
            return f"a reply has another status than 200: {_quoted(status)}: {_quoted(body)}"
        if self._served_by is not None and (served := _header(head, SERVED_BY)) != self._served_by:
            return f"a reply was served by {_quoted(served)}, expected {_quoted(self._served_by)}"
        if not self._has_text(head, body):
            return f"a reply lacks the expected text: {_quoted(body)}"
        if self._never is not None and self._never in body:
            return f"a reply holds {_quoted(self._never)}, which nobody asked for: {_quoted(body)}"
        return None

    def _has_text(self, head: bytes, body: bytes) -> bool:
        if not _header(head, b"content-type").startswith(b"text/event-stream"):
            return self._text in body
        try:
            return stream_text(body) == self._text.decode()
        except ValueError:
            return False


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._is_asked = False
        self._idle_since = time.monotonic()
        self._received = bytearray()
        self._sent_at = 0
        self._first_token_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    @property
    def is_usable(self) -> bool:
        """Whether the server surely has it open, too."""
        is_fresh = time.monotonic() - self._idle_since < IDLE_SECONDS
        return is_fresh and not self._is_asked and not self.transport.is_closing()

    def join(self, run: Run) -> None:
        """Take part in a run, if the server has not closed already."""
        self._run = run
        if self.transport.is_closing():
            run.lost(self)
        else:
            run.next(self)

    def send(self, at: int) -> None:
        """Send the run's request, whose latency counts from then."""
        assert self._run is not None
        self._first_token_at = 0
        self._sent_at = at
        self._is_asked = True
        self.transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        """Hand a complete reply to the run, and send the next request."""
        now = time.perf_counter_ns()
        self._received += data
        run = self._run
        if run is None:
            return
        if not self._first_token_at and run.first_token in self._received:
            self._first_token_at = now
        end = self._received.find(_HEAD_END)
        if end < 0:
            return
        head = bytes(self._received[:end]).lower()
        if not self._is_complete(head, end + len(_HEAD_END)):
            return
        body = bytes(self._received[end + len(_HEAD_END) :])
        self._received.clear()
        self._is_asked = False
        self._idle_since = time.monotonic()
        first_token_ms = ((self._first_token_at or now) - self._sent_at) / 1e6
        if run.replied(head, body, first_token_ms, (now - self._sent_at) / 1e6):
            run.next(self)

    def _is_complete(self, head: bytes, start: int) -> bool:
        if _header(head, b"transfer-encoding") == b"chunked":
            return self._received.endswith(_LAST_CHUNK)
        return len(self._received) - start >= int(_header(head, b"content-length") or b"0")

    def connection_lost(self, exc: Exception | None) -> None:
        """A server that hangs up has answered wrongly, unless it was not asked."""
        if self._run is None:
            return
        if self._is_asked:
            self._run.failed(WrongReply(f"the server closed a connection: {exc}"))
        else:
            self._run.lost(self)


class Load:
    """The clients.  Their connections stay open from job to job."""

    def __init__(self) -> None:
        self._connections: dict[int, list[Connection]] = {}

    async def run(self, job: Job) -> Outcome:
        """Do one job."""
        try:
            connections = await self._connect(job.target.port, job.concurrency)
            run = Run(job)
            started = time.perf_counter()
            for connection in connections:
                connection.join(run)
                if job.ramp_seconds:
                    await asyncio.sleep(job.ramp_seconds / job.concurrency)
            await self._end(run, job)
            seconds = time.perf_counter() - started
            return Outcome(seconds, run.latencies_ms, run.first_token_ms)
        except (OSError, WrongReply) as error:
            return Outcome(fault=str(error))

    def close(self) -> None:
        """Close all connections."""
        for connections in self._connections.values():
            for each in connections:
                each.transport.close()

    async def _end(self, run: Run, job: Job) -> None:
        if job.rate is None:
            await run.done
            return
        schedule = Schedule(job.rate, job.requests, run.is_due)
        schedule.start()
        try:
            await run.done
        finally:
            schedule.end()

    async def _connect(self, port: int, count: int) -> list[Connection]:
        loop = asyncio.get_running_loop()
        known = self._connections.get(port, [])
        kept = [each for each in known if each.is_usable]
        for each in set(known) - set(kept):
            each.transport.close()
        while len(kept) < count:
            _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
            kept.append(connection)
        self._connections[port] = kept
        return kept[:count]


def stream_text(body: bytes) -> str:
    """The text of a stream in chunked coding; raises ValueError where it is none, or has no end."""
    events = _dechunked(body).split(b"\n\n")
    if events[-2:] != [b"data: [DONE]", b""]:
        raise ValueError("the stream has no end")
    chunks = [_event.decode(event.removeprefix(b"data: ")) for event in events[:-2]]
    return "".join([choice.delta.content for chunk in chunks for choice in chunk.choices])


def _dechunked(body: bytes) -> bytes:
    parts, place = [], 0
    while size := int(body[place : (line_end := body.index(_LINE_END, place))], 16):
        place = line_end + len(_LINE_END)
        parts.append(body[place : place + size])
        place += size + len(_LINE_END)
    return b"".join(parts)


def _request(target: Target) -> bytes:
    body = target.body.encode()
    head = (
        f"POST {target.path} HTTP/1.1\r\nhost: 127.0.0.1:{target.port}\r\n"
        f"authorization: Bearer {target.key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _header(head: bytes, name: bytes) -> bytes:
    """The value of a header in a lower-case head; empty where it is missing."""
    _, _, rest = head.partition(_LINE_END + name + b":")
    return rest.partition(_LINE_END)[0].strip()


def _quoted(data: bytes) -> str:
    return repr(data[:300].decode("latin-1"))


async def serve() -> None:
    """Do jobs from standard input until it ends."""
    load = Load()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        outcome = await load.run(msgspec.json.decode(line, type=Job))
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    follow_parent()
    uvloop.run(serve())
