"""Very many streams, all read slowly, through one gateway process on one core."""

import asyncio
import contextlib
import hashlib
import json
import os
import random
import re
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httptools
import pytest

from tests.fakes.chunks import chunk, usage_report
from tests.fakes.raw_server import Peer, RawServer, answer, raw_server
from tests.fakes.script import entry
from tests.wire_server.process import GatewayProcess, gateway_process

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="pins processes to a core"),
    pytest.mark.timeout(180),
]

WINDOW = 16  # tokens, the cascade's own default
OPENING = 20  # small chunks, so that the window is passed at once
BULK_CHARACTERS = 32 * 2**10
SURE, UNSURE = -0.01, -0.6  # e**-0.6 is above the bound for giving up early, below the threshold's
PROMPT_TOKENS = 100
PICO = {"student": (20_000, 60_000), "teacher": (600_000, 2_400_000)}  # input, output
READ_BYTES = 16 * 2**10
MODEL_SEND_BYTES = 128 * 2**10  # more than a segment, or each waits for a delayed acknowledgement
OPENING_AT_ONCE = 50
SPARE_DESCRIPTORS = 200
# What one stream may hold in the gateway: half a MiB that waits to be read (the limit, and the one
# read that passed it), as much that is being looked at, and as much that waits to be sent, twice:
# as events and as bytes of the transport.  The kernel's buffers are not the process's memory.
MOST_KIB_EACH = 2048
# What the process takes once, with its first streams: threads that look up names, caches.
MOST_KIB_ONCE = 4096
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Stream:
    """One conversation: which it is, who is to answer, and with how many tokens."""

    number: int
    is_kept: bool
    tokens: int

    @property
    def author(self) -> str:
        return "student" if self.is_kept else "teacher"

    def word(self, role: str, place: int) -> str:
        """A text that nobody else says anywhere else."""
        return f"{role}.{self.number}.{place} "

    def usage(self, tokens: int) -> dict[str, int]:
        """Every stream has a bill of its own, so that none can be taken for another."""
        prompt = PROMPT_TOKENS + self.number
        total = prompt + tokens
        return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": total}

    def digest(self) -> str:
        text = hashlib.sha256()
        for place in range(self.tokens):
            text.update(self.word(self.author, place).encode())
            text.update(bulk(place).encode())
        return text.hexdigest()


def bulk(place: int) -> str:
    """What makes the chunk of that token large: a field that nobody here knows, as any server's.

    No text, because of an answer the gateway keeps the text, for the pair.
    """
    return "" if place < OPENING else "-" * BULK_CHARACTERS


@dataclass
class Models:
    """Student and teacher, each on a server of its own; ``written`` is per role and stream."""

    streams: dict[int, Stream] = field(default_factory=dict)
    written: Counter[tuple[str, int]] = field(default_factory=Counter)
    aborted: set[int] = field(default_factory=set)
    finished: set[int] = field(default_factory=set)

    async def student(self, peer: Peer) -> None:
        await self._serve(peer, "student")

    async def teacher(self, peer: Peer) -> None:
        await self._serve(peer, "teacher")

    async def _serve(self, peer: Peer, role: str) -> None:
        _set_option(peer.writer, socket.SO_SNDBUF, MODEL_SEND_BYTES)
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                request = await peer.request()
                if request.startswith(b"GET "):  # what models it has
                    await peer.send(answer(status="404 Not Found"))
                    continue
                stream = self.streams[_number_in(request)]
                is_doomed = role == "student" and not stream.is_kept
                await self._write(peer, stream, role, WINDOW if is_doomed else stream.tokens)
                if is_doomed:  # it would write on, but for the gateway, which has seen enough
                    await peer.wait_closed()
                    self.aborted.add(stream.number)
                    return

    async def _write(self, peer: Peer, stream: Stream, role: str, tokens: int) -> None:
        is_student = role == "student"
        logprob = SURE if stream.is_kept else UNSURE
        peer.writer.write(HEAD + _framed(chunk({"role": "assistant", "content": ""})))
        for place in range(tokens):
            extra: dict[str, Any] = {"bulk": bulk(place)}
            if is_student:
                extra["usage"] = stream.usage(place + 1)
            entries = [entry("w", logprob)] if is_student else None
            event = chunk({"content": stream.word(role, place)}, entries, **extra)
            peer.writer.write(_framed(event))
            self.written[role, stream.number] += len(event)
            await peer.writer.drain()
        if tokens == stream.tokens:
            last = _framed(chunk({}, choice={"finish_reason": "stop"}))
            report = _framed(usage_report(stream.usage(tokens)))
            peer.writer.write(last + report + _framed(b"[DONE]") + b"0\r\n\r\n")
            self.finished.add(stream.number)
        await peer.writer.drain()


class Reader:
    """A client that reads as slowly as it likes, and keeps no more of the text than its hash."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.status = 0
        self.characters = 0
        self.usage: dict[str, int] = {}
        self.told: dict[str, Any] = {}
        self.is_over = False
        self._text = hashlib.sha256()
        self._unread = b""
        self._parser = httptools.HttpResponseParser(self)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, url: str) -> None:
        """Send the request, and read until the first text."""
        self._reader, self._writer = await _connected(url)
        self._writer.write(_request(self.stream))
        while not self.characters:
            await self.read_some()

    async def read_some(self) -> None:
        received = await self._reader.read(READ_BYTES)
        assert received, "the gateway hung up"
        self._parser.feed_data(received)

    async def read_on(self, pause: Callable[[], float] = lambda: 0.0) -> None:
        """Read to the end, with a pause after each time."""
        while not self.is_over:
            await self.read_some()
            if seconds := pause():
                await asyncio.sleep(seconds)
        self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def check(self) -> None:
        """The whole text, and the truth about it."""
        stream = self.stream
        assert self.status == 200
        assert self._text.hexdigest() == stream.digest()
        assert self.told["served_by"] == stream.author
        assert self.usage == stream.usage(stream.tokens)

    # What httptools calls.

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        *events, self._unread = (self._unread + body).split(b"\n\n")
        for event in events:
            if event.startswith(b"data: {"):
                self._take_in(json.loads(event[6:]))
            else:
                assert event.startswith(b":") or event == b"data: [DONE]"
                self.is_over |= not event.startswith(b":")

    def _take_in(self, fields: dict[str, Any]) -> None:
        assert "error" not in fields, fields
        for choice in fields["choices"]:
            text = choice["delta"].get("content") or ""
            self.characters += len(text)
            self._text.update(text.encode())
            self._text.update(fields.get("bulk", "").encode())
        self.usage = fields["usage"] or self.usage
        self.told = fields.get("understudy", self.told)


def _request(stream: Stream) -> bytes:
    question = {"role": "user", "content": f"conversation {stream.number}."}
    fields = {
        "model": "assistant",
        "messages": [question],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    body = json.dumps(fields).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _number_in(request: bytes) -> int:
    found = re.search(rb"conversation (\d+)\.", request)
    assert found
    return int(found[1])


def _framed(event: bytes) -> bytes:
    return b"%x\r\ndata: %b\n\n\r\n" % (len(event) + 8, event)


async def _connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection as over Ethernet: loopback's segments would let the kernel hide megabytes."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
    connection.setblocking(False)
    host, _, port = url.removeprefix("http://").partition(":")
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    return await asyncio.open_connection(sock=connection, limit=READ_BYTES)


def _set_option(writer: asyncio.StreamWriter, option: int, value: int) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, value)


@dataclass
class Scene:
    """A gateway on one core between two models."""

    models: Models
    gateway: GatewayProcess
    readers: list[Reader] = field(default_factory=list)

    def add(self, count: int, *, tokens: int, kept: Callable[[int], bool]) -> list[Reader]:
        first = len(self.models.streams)
        added = [Stream(number, kept(number), tokens) for number in range(first, first + count)]
        self.models.streams |= {stream.number: stream for stream in added}
        readers = [Reader(stream) for stream in added]
        self.readers += readers
        return readers

    async def samples(self) -> dict[str, float]:
        """Every sample of /metrics by its name and labels."""
        reader, writer = await _connected(self.gateway.url)
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n")
        page = (await reader.read()).decode()
        writer.close()
        rows = re.findall(r"^(understudy_\S+) (\S+)$", page, re.MULTILINE)
        return {name: float(value) for name, value in rows}

    def memory_kib(self, name: str = "VmRSS") -> int:
        """The gateway's resident memory now, or with ``VmHWM`` the most it ever was."""
        status = Path(f"/proc/{self.gateway.process.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found
        return int(found[1])

    async def settled(self) -> int:
        """Wait until no model can write on; the bytes that they have written."""
        before, now = -1, self.models.written.total()
        while before != now:
            await asyncio.sleep(0.3)
            before, now = now, self.models.written.total()
        return now


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    models = Models()
    changes: dict[str, Any] = {
        "student": {"max_concurrent": 1100, "timeout_seconds": 600},
        "teacher": {"max_concurrent": 1100, "timeout_seconds": 600},
        "streaming": {"hold_seconds": 60},
        "audit": {"complete_drafts": 0},
    }
    async with raw_server(models.student) as student, raw_server(models.teacher) as teacher:
        with contextlib.ExitStack() as stack:
            with _one_core():
                process = gateway_process(tmp_path, _base(student), _base(teacher), changes)
                gateway = stack.enter_context(process)
            scene = Scene(models, gateway)
            try:
                yield scene
            finally:
                for reader in scene.readers:
                    reader.close()


def _base(server: RawServer) -> str:
    return server.url.removesuffix("/v1")


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """What is started within the block runs on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _need_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"needs {count} file descriptors, and {hard} are allowed")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


@pytest.mark.parametrize(
    ("count", "tokens"),
    [  # 5 and 3 MiB a stream, more than all buffers on the way hold
        (20, 200),
        pytest.param(1000, 120, marks=[pytest.mark.full, pytest.mark.timeout(600)]),
    ],
)
async def test_slow_readers_get_every_word_and_the_bill_is_exact(
    scene: Scene, count: int, tokens: int
) -> None:
    _need_descriptors(4 * count + SPARE_DESCRIPTORS)
    readers = scene.add(count, tokens=tokens, kept=lambda number: number % 4 != 3)
    opening, dice = asyncio.Semaphore(OPENING_AT_ONCE), random.Random(1)
    before = scene.memory_kib()

    async def open_slowly(reader: Reader) -> None:
        async with opening:
            await reader.open(scene.gateway.url)

    async with asyncio.TaskGroup() as group:
        for reader in readers:
            group.create_task(open_slowly(reader))
    await scene.settled()
    assert len(scene.models.finished) < count / 2  # the others wait, though they have more to say
    assert (await scene.samples())["understudy_open_requests"] == count
    async with asyncio.TaskGroup() as group:
        for reader in readers:
            group.create_task(reader.read_on(lambda: dice.choice((0.0, 0.0, 0.0, 0.05))))
    for reader in readers:
        reader.check()
    grown = (scene.memory_kib("VmHWM") - before - MOST_KIB_ONCE) / count
    assert grown < MOST_KIB_EACH, f"{grown:.0f} KiB each"
    await _check_bill(scene, readers)


async def _check_bill(scene: Scene, readers: list[Reader]) -> None:
    """The gateway's counters are the sum over the streams, to the token and to the pico-dollar."""
    tokens: Counter[str] = Counter()
    pico: Counter[str] = Counter()
    for stream in (reader.stream for reader in readers):
        legs = [(stream.author, "served", stream.tokens)]
        if not stream.is_kept:
            legs.append(("student", "wasted", WINDOW))
        for role, kind, output in legs:
            prompt = PROMPT_TOKENS + stream.number
            tokens[f'role="{role}",type="input"'] += prompt
            tokens[f'role="{role}",type="output"'] += output
            price = PICO[role]
            pico[f'kind="{kind}",role="{role}"'] += prompt * price[0] + output * price[1]
    samples = await scene.samples()
    assert _of(samples, "understudy_tokens_total") == tokens
    assert _of(samples, "understudy_cost_usd_total") == {
        labels: amount / 10**12 for labels, amount in pico.items()
    }
    told = sum(Decimal(reader.told["cost_usd"]) for reader in readers)
    assert told * 10**12 == pico.total()
    outcomes = Counter("kept" if reader.stream.is_kept else "escalated" for reader in readers)
    assert _of(samples, "understudy_requests_total") == {
        f'outcome="{outcome}"': count for outcome, count in outcomes.items()
    }
    assert samples["understudy_open_requests"] == 0
    assert not _of(samples, "understudy_upstream_errors_total")
    assert not _of(samples, "understudy_cost_unknown_total")
    deferred = {reader.stream.number for reader in readers if not reader.stream.is_kept}
    assert scene.models.aborted == deferred


def _of(samples: dict[str, float], name: str) -> dict[str, float]:
    """The samples of one metric that are not 0, by their labels.

    Labels are in alphabetical order, without the cascade's.
    """
    found = {}
    for sample, value in samples.items():
        if sample.startswith(name + "{") and value:
            labels = sorted(sample[len(name) + 1 : -1].split(","))
            found[",".join(each for each in labels if not each.startswith("cascade="))] = value
    return found


async def test_a_stalled_reader_stops_its_model_and_nobody_else(scene: Scene) -> None:
    (stalled,) = scene.add(1, tokens=1000, kept=lambda _: True)
    others = scene.add(20, tokens=OPENING + 20, kept=lambda _: True)
    seconds_before = await _one_after_the_other(scene, others[:10])
    before = scene.memory_kib()
    await stalled.open(scene.gateway.url)
    written = await scene.settled() - _bytes_for(scene, others)
    assert written < 980 * BULK_CHARACTERS / 2  # most of it in the kernel's buffers
    assert await _one_after_the_other(scene, others[10:]) < 3 * seconds_before + 2
    assert scene.models.written["student", stalled.stream.number] == written
    assert scene.memory_kib("VmHWM") - before < 2 * MOST_KIB_EACH
    await stalled.read_on()
    stalled.check()
    await _check_bill(scene, [stalled, *others])


def _bytes_for(scene: Scene, readers: list[Reader]) -> int:
    return sum(scene.models.written["student", reader.stream.number] for reader in readers)


async def _one_after_the_other(scene: Scene, readers: list[Reader]) -> float:
    """Read each to its end; the seconds that it took."""
    began = time.monotonic()
    for reader in readers:
        await reader.open(scene.gateway.url)
        await reader.read_on()
        reader.check()
    return time.monotonic() - began
