"""An answer that a model server is still writing: bytes of a socket, read as chunks."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from gateway.errors import UpstreamError, UpstreamFailed, UpstreamMalformed, UpstreamUnavailable
from gateway.ports import Clock
from gateway.upstream.faults import NETWORK_ERRORS, fault_of
from gateway.upstream.reply import Reply
from gateway.wire.chunk import Chunk
from gateway.wire.completion import UsageCounts, usage_of
from gateway.wire.received import Received
from gateway.wire.sse import EventSplitter, is_done
from routing.money import Usage

# After the last event a server still ends its response.  Waiting so long for that keeps the
# connection for the next call; the answer itself does not wait.
END_SECONDS = 0.05
# What is held back is in memory: no stream may be larger, log-probabilities included.
MAX_STREAM_BYTES = 64 * 2**20

_NO_STREAM = "The model server's answer is no stream of chat completion chunks."


class Watch(Protocol):
    """Who hears how one call fares, each thing once at most."""

    def began(self) -> None:
        """The server has said something."""

    def ended(self, waiting_since: float | None, error: BaseException | None) -> None:
        """How it ended: None is a success.

        ``waiting_since``, by the stream's clock, is since when the server has kept its reader
        waiting for the next chunk; None where it has not, as when the reader does not ask because
        its client reads slowly.
        """


class UpstreamStream:
    """One streamed answer, which ``watch`` hears of.

    ``opening`` is the first chunk that said something, as it came, and ``finish_reason`` why the
    answer ended.  ``received`` is what came since it said that, or ever.
    """

    def __init__(
        self,
        reply: Reply,
        clock: Clock,
        watch: Watch,
        *,
        waiting_since: float,
        read_chunk: Callable[[bytes], Chunk],
    ) -> None:
        """``read_chunk`` reads an event's payload, and raises ValueError where it is no chunk."""
        self.received = Received()
        self.is_over = False
        self.opening = b""
        self.finish_reason: str | None = None
        self._counts: UsageCounts | None = None
        self._read_chunk = read_chunk
        self._reply = reply
        self._clock = clock
        self._watch = watch
        self._waiting_since: float | None = waiting_since
        self._splitter = EventSplitter()
        self._has_begun = False
        self._has_choice = False
        self._bytes = 0
        self._is_done = False
        self._is_closed = False
        self._failure: UpstreamError | None = None

    @property
    def usage(self) -> Usage | None:
        """What the server has said so far of what the answer costs, if anything."""
        return usage_of(self._counts)

    async def read(self, until: float | None = None) -> Sequence[Chunk] | None:
        """The chunks that came; none at the end; None where none came until then.

        Raises UpstreamError, after which the stream is closed.
        """
        if self.is_over:
            return ()
        if self._waiting_since is None:
            self._waiting_since = self._clock()
        try:
            while True:
                if self._failure is not None:
                    raise self._failure
                if self._is_done:
                    return await self._end_of_response()
                received = await self._reply.read(until)
                if received is None:
                    return None
                chunks = self._chunks_in(received)
                if chunks or self.is_over:
                    self._waiting_since = None
                    return chunks
        except NETWORK_ERRORS as failure:
            if (
                self.finish_reason is not None
            ):  # the answer is whole, and only its bill may be missing
                return self._end()
            error = fault_of(failure)
            self._close(error)
            raise error from failure
        except UpstreamError as error:
            self._close(error)
            raise

    def close(self, cause: BaseException | None = None) -> None:
        """Give the connection back, or have the server stop where it is not through.

        ``cause`` is None where that is our own choice, which is never held against the server.
        """
        if cause is None:
            self._waiting_since = None
        self._close(None if self.is_over else cause or asyncio.CancelledError())

    async def _end_of_response(self) -> Sequence[Chunk]:
        with suppress(*NETWORK_ERRORS):  # the answer is whole, whatever becomes of its end
            await self._reply.read(asyncio.get_running_loop().time() + END_SECONDS)
        return self._end()

    def _chunks_in(self, received: bytes) -> Sequence[Chunk]:
        """The chunks that these bytes complete; none of them are the end."""
        self._bytes += len(received)
        if self._bytes > MAX_STREAM_BYTES:
            raise UpstreamMalformed(
                "The model server's answer is too large.", is_usage_unknown=True
            )
        chunks: list[Chunk] = []
        try:
            if not received:
                return self._last(chunks)
            self._take_in(self._splitter.feed(received), chunks)
        except (ValueError, RecursionError) as error:
            self._failure = UpstreamMalformed(_NO_STREAM, is_usage_unknown=True)
            self._failure.__cause__ = error
        except UpstreamFailed as failure:
            self._failure = failure
        return chunks  # those before a failure count, however many came in one packet with it

    def _last(self, chunks: list[Chunk]) -> Sequence[Chunk]:
        """At the response's end: its last event, which may lack the line that ends it."""
        rest = self._splitter.rest()
        if rest is not None:
            with suppress(ValueError, RecursionError):  # half an event says nothing
                self._take_in([rest], chunks)
                return chunks  # what is still missing then is told the next time
        if self._has_choice and self.finish_reason is None:
            raise UpstreamUnavailable(
                "The model server broke off its answer.", is_usage_unknown=True
            )
        return self._end()

    def _take_in(self, payloads: Sequence[bytes], chunks: list[Chunk]) -> None:
        for payload in payloads:
            if not payload.startswith(b"{") and is_done(payload):
                self._is_done = True
                break
            chunk = self._read_chunk(payload)
            # One that was cut is more text, after a chunk that was not.
            if chunk.cut is None and not self._note(chunk):
                continue
            if chunk.counts is None:
                self.received.add(chunk)
            else:
                is_end = self._counts is None and self.finish_reason is not None
                self.received.counted(is_end=is_end)
                self._counts = chunk.counts
            chunks.append(chunk)

    def _note(self, chunk: Chunk) -> bool:
        """What there is to a chunk besides text; False where it is none of the answer's."""
        if chunk.error is not None:
            raise UpstreamFailed("The model server failed amid its answer.", is_usage_unknown=True)
        if chunk.is_foreign:
            return False
        self._has_choice |= chunk.has_choice
        if chunk.finish_reason is not None:
            self.finish_reason = chunk.finish_reason
        if not self._has_begun and chunk.says_something:
            self._has_begun, self.opening = True, chunk.body
            self._watch.began()
        return True

    def _end(self) -> Sequence[Chunk]:
        if not self._has_choice:
            raise UpstreamMalformed(_NO_STREAM, is_usage_unknown=True)
        self.is_over = True
        self._close(None)
        return ()

    def _close(self, error: BaseException | None) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._reply.close()
            self._watch.ended(self._waiting_since, error)
