"""What a stream's end says of its server: by a clock of the test's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event

import pytest

from gateway.errors import UpstreamError, UpstreamMalformed, UpstreamTimeout
from gateway.ports import ChatStream, Try
from gateway.upstream import stream as upstream_stream
from gateway.upstream.openai import PATIENCE_SECONDS, Endpoint, OpenAIModel
from gateway.wire.chat import Chat, Dialect, parse_chat
from gateway.wire.chunk import Chunk
from routing.breaker import FAILURES_TO_OPEN, REST_SECONDS
from tests.fakes.chunks import chunk
from tests.fakes.script import ROLE, Pieces, Raw, Step, Stop, Until, Words, finish, whole
from tests.fakes.serving import serving
from tests.fakes.upstream import Reply, ScriptedModel

CHAT: Chat = parse_chat(b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}')


@dataclass
class Bench:
    """A scripted server, the gateway's end of it, and the time."""

    server: ScriptedModel
    url: str
    now: float = 0.0
    opened_by: list[UpstreamError | None] = field(default_factory=list)
    more: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        dialect = Dialect(model="m", is_evidence_wanted=True, has_running_usage=False, extra={})
        endpoint = Endpoint(self.url + "/v1", None, dialect, 8, 20.0)
        self.model = OpenAIModel(endpoint, lambda: self.now, self.opened_by.append)

    @property
    def failures(self) -> int:
        return self.model.breaker.failures

    async def begun(self, *steps: Step) -> ChatStream:
        """A stream whose first chunk was read, at time 0; more comes once ``more`` is set."""
        self.server.reply = Reply(steps=[ROLE, Until(self.more), *steps])
        stream = await self.model.stream(CHAT)
        assert await stream.read()
        return stream

    async def leave(self, stream: ChatStream, *, at: float, is_waiting: bool = True) -> None:
        """The client leaves, perhaps while the server keeps it waiting."""
        reading = asyncio.create_task(_read(stream)) if is_waiting else None
        await asyncio.sleep(0.02)
        self.now = at
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])
        stream.close(asyncio.CancelledError())


async def _read(stream: ChatStream) -> Sequence[Chunk] | None:
    return await stream.read()


@pytest.fixture
def bench() -> Iterator[Bench]:
    server = ScriptedModel()
    with serving(server) as url:
        made = Bench(server, url)
        try:
            yield made
        finally:
            made.more.set()


@contextlib.asynccontextmanager
async def closing(bench: Bench) -> AsyncIterator[Bench]:
    try:
        yield bench
    finally:
        bench.model.close()
        assert bench.model.open_calls == 0


@pytest.mark.parametrize(
    ("at", "failures"), [(PATIENCE_SECONDS - 0.1, 0), (PATIENCE_SECONDS, 1), (1000.0, 1)]
)
async def test_a_client_that_left_a_silent_server_counts_after_a_while(
    bench: Bench, at: float, failures: int
) -> None:
    async with closing(bench):
        await bench.leave(await bench.begun(), at=at)
        assert bench.failures == failures


async def test_the_while_begins_anew_with_each_chunk(bench: Bench) -> None:
    async with closing(bench):
        stream = await bench.begun(Words(["a"]), Until(Event()))
        bench.now = PATIENCE_SECONDS - 1
        bench.more.set()
        assert await stream.read()
        await bench.leave(stream, at=PATIENCE_SECONDS + 1)
        assert bench.failures == 0


async def test_a_comment_is_no_word(bench: Bench) -> None:
    """A proxy that keeps a connection alive says nothing of the server behind it."""
    async with closing(bench):
        stream = await bench.begun(Pieces([b": still here\n\n", b"data: {}\n\n"]), Until(Event()))
        reading = asyncio.create_task(_read(stream))
        await asyncio.sleep(0.02)
        bench.now = PATIENCE_SECONDS - 1
        bench.more.set()
        await asyncio.sleep(0.05)
        bench.now = PATIENCE_SECONDS
        reading.cancel()
        await asyncio.wait([reading])
        stream.close(asyncio.CancelledError())
        assert bench.failures == 1


async def test_a_server_that_nobody_listens_to_keeps_nobody_waiting(bench: Bench) -> None:
    """A client that reads slowly, and leaves, was not kept waiting by the server."""
    async with closing(bench):
        await bench.leave(await bench.begun(), at=1000.0, is_waiting=False)
        assert bench.failures == 0


async def test_headers_alone_are_no_word(bench: Bench) -> None:
    async with closing(bench):
        bench.server.reply = Reply(steps=[Until(bench.more)])
        await bench.leave(await bench.model.stream(CHAT), at=PATIENCE_SECONDS)
        assert bench.failures == 1


async def test_what_we_end_ourselves_never_counts(bench: Bench) -> None:
    async with closing(bench):
        stream = await bench.begun()
        assert await stream.read(asyncio.get_running_loop().time() + 0.02) is None
        bench.now = 1000.0
        stream.close()
        assert bench.failures == 0


async def test_what_its_reader_finds_wrong_counts_once(bench: Bench) -> None:
    async with closing(bench):
        stream = await bench.begun()
        for _ in range(2):
            stream.close(UpstreamTimeout("too slow"))
        assert bench.failures == 1


async def test_a_server_that_does_not_begin_in_time_has_failed_once(bench: Bench) -> None:
    async with closing(bench):
        bench.server.reply = Reply(delay_seconds=5)
        bench.now = 1000.0
        for number in range(1, FAILURES_TO_OPEN + 1):
            with pytest.raises(UpstreamTimeout) as raised:
                await bench.model.stream(
                    CHAT, how=Try(until=asyncio.get_running_loop().time() + 0.02)
                )
            assert raised.value.is_usage_unknown
            assert bench.failures == number
        (failure,) = bench.opened_by
        assert isinstance(failure, UpstreamTimeout)
        bench.now += REST_SECONDS
        bench.server.reply = Reply(steps=whole(["a"]))
        stream = await bench.model.stream(CHAT)
        while await stream.read():
            pass
        assert bench.opened_by == [failure, None]


# --- what a stream is made of ---


async def read_all(bench: Bench, *steps: Step) -> str:
    bench.server.reply = Reply(steps=steps)
    stream = await bench.model.stream(CHAT)
    chunks: list[Chunk] = []
    try:
        while part := await stream.read():
            chunks += part
    finally:
        stream.close()
    return "".join([each.content for each in chunks])


SIGNS_OF_LIFE = {
    "named": b'event: ping\ndata: {"type": "ping"}\n\n',
    "without data": b"event: ping\n\n",
    "a comment": b": ping\n\n",
    "empty": b"data: {}\n\n",
    "no choices": b'data: {"id": "x", "choices": null, "usage": null}\n\n',
}


@pytest.mark.parametrize("sign", SIGNS_OF_LIFE.values(), ids=SIGNS_OF_LIFE.keys())
async def test_signs_of_life_are_no_part_of_an_answer(bench: Bench, sign: bytes) -> None:
    async with closing(bench):
        life = Pieces([sign])
        text = await read_all(bench, life, ROLE, life, Words(["a", "b"]), life, *finish())
        assert text == "ab"


async def test_signs_of_life_alone_are_no_answer(bench: Bench) -> None:
    async with closing(bench):
        with pytest.raises(UpstreamMalformed):
            await read_all(bench, *[Pieces([sign]) for sign in SIGNS_OF_LIFE.values()])


LAST = chunk({"content": "c"}, choice={"finish_reason": "stop"})


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
async def test_the_last_event_needs_no_line_that_ends_it(bench: Bench, end: bytes) -> None:
    async with closing(bench):
        last = Pieces([b"data: " + LAST + end])
        assert await read_all(bench, ROLE, Words(["a", "b"]), last, Stop()) == "abc"
        done = Pieces([b"data: [DONE]" + end])
        assert await read_all(bench, ROLE, Words(["a"]), done, Stop()) == "a"


async def test_half_an_event_is_none(bench: Bench) -> None:
    async with closing(bench):
        half = Pieces([b"data: " + LAST[:-9]])
        with pytest.raises(UpstreamError) as raised:
            await read_all(bench, ROLE, Words(["a"]), half, Stop())
        assert raised.value.code == "upstream_unavailable"
        assert await read_all(bench, ROLE, Raw(LAST), half, Stop()) == "c"


async def test_an_error_in_the_last_event_is_one(bench: Bench) -> None:
    async with closing(bench):
        error = Pieces([b'data: {"error": {"message": "died"}}'])
        with pytest.raises(UpstreamError) as raised:
            await read_all(bench, ROLE, Words(["a"]), error, Stop())
        assert raised.value.code == "upstream_failed"


@pytest.mark.parametrize("spare", [0, -1])
async def test_a_stream_has_a_largest_size(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, spare: int
) -> None:
    events = b"".join([b"data: " + ROLE.payload + b"\n\n", b"data: " + LAST + b"\n\n"])
    size = len(events + b"data: [DONE]\n\n")
    monkeypatch.setattr(upstream_stream, "MAX_STREAM_BYTES", size + spare)
    async with closing(bench):
        if spare == 0:
            assert await read_all(bench, Pieces([events])) == "c"
            return
        # The end comes in the same packet or in one of its own: both are over the limit.
        with pytest.raises(UpstreamMalformed, match="too large"):
            await read_all(bench, Pieces([events + b"data: [DONE]\n\n"]), Stop())
        assert bench.failures == 0
