"""The load generator: keep-alive connections that each send their next request when answered.

A process of its own, ``python -m bench.load``: a job a line on standard input, its result a line
on standard output.  Every reply is checked, because a fast wrong answer is worth nothing.
"""

import asyncio
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import msgspec
import uvloop

from understudy.demo.lifeline import follow_parent

SERVED_BY = b"x-understudy-served-by"
_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, what they say, and what each answer must be.

    ``served_by`` is the role that the gateway must name, or None for a server that names none;
    ``text`` must stand in the body, and ``never`` must not, where it is given.
    """

    port: int
    path: str
    key: str
    body: str
    text: str
    served_by: str | None = None
    never: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """So many requests in all, over so many connections at once; both at least 1."""

    target: Target
    concurrency: int
    requests: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """``latencies_ms`` has one number a request; ``fault`` says which reply was wrong, and how."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    fault: str | None = None


class WrongReply(Exception):
    """A reply is not what the target must answer; the message quotes it."""


class Run:
    """One job while it goes on."""

    def __init__(self, job: Job) -> None:
        target = job.target
        self.request = _request(target)
        self.latencies_ms: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._served_by = None if target.served_by is None else target.served_by.encode()
        self._text = target.text.encode()
        self._never = None if target.never is None else target.never.encode()
        self._unsent = job.requests
        self._unanswered = job.requests

    def take(self) -> bool:
        """Claim one of the requests that are left; False where none is."""
        self._unsent -= 1
        return self._unsent >= 0

    def replied(self, head: bytes, body: bytes, latency_ms: float) -> bool:
        """Note one reply; False where the run is over because of it."""
        if fault := self._fault(head, body):
            self.failed(WrongReply(fault))
            return False
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
        if self._text not in body:
            return f"a reply lacks the expected text: {_quoted(body)}"
        if self._never is not None and self._never in body:
            return f"a reply holds {_quoted(self._never)}, which nobody asked for: {_quoted(body)}"
        return None


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._received = bytearray()
        self._sent_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def send(self, run: Run) -> None:
        """Send the run's next request, if one is left."""
        self._run = run
        if run.take():
            self._sent_at = time.perf_counter_ns()
            self.transport.write(run.request)

    def data_received(self, data: bytes) -> None:
        """Hand a complete reply to the run, and send the next request."""
        self._received += data
        run, reply = self._run, bytes(self._received)
        end = reply.find(_HEAD_END)
        if end < 0 or run is None:
            return
        head = reply[:end].lower()
        body = reply[end + len(_HEAD_END) :]
        if len(body) < int(_header(head, b"content-length") or b"0"):
            return
        self._received.clear()
        latency_ms = (time.perf_counter_ns() - self._sent_at) / 1e6
        if run.replied(head, body, latency_ms):
            self.send(run)

    def connection_lost(self, exc: Exception | None) -> None:
        """A server that hangs up has answered wrongly."""
        if self._run is not None:
            self._run.failed(WrongReply(f"the server closed a connection: {exc}"))


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
                connection.send(run)
            await run.done
            return Outcome(time.perf_counter() - started, run.latencies_ms)
        except (OSError, WrongReply) as error:
            return Outcome(fault=str(error))

    async def _connect(self, port: int, count: int) -> list[Connection]:
        loop = asyncio.get_running_loop()
        kept = [each for each in self._connections.get(port, []) if not each.transport.is_closing()]
        while len(kept) < count:
            _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
            kept.append(connection)
        self._connections[port] = kept
        return kept[:count]


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
