"""Streams: an answer's chunks to server-sent events, while the answer is being written.

Status and headers wait for the verdict, so that they tell the truth and a failure is an ordinary
error response; only a client that would wait too long gets a comment first.  What was not known by
then stands in the last chunk, and a failure is one event and the end.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from starlette.types import Send

from gateway.answer_stream import AnswerStream, Chunks
from gateway.api.account import Account
from gateway.api.afterwards import abandon_draft, finish_draft
from gateway.api.exchange import encoded_headers
from gateway.legs import Legs
from gateway.pairs import Rescue
from gateway.wire.assemble import Assembly
from gateway.wire.chunk import Chunk
from gateway.wire.protocol import Asked
from routing.vocabulary import Handover, Role

STATUS = 200
# A client that takes nothing for so long has left without a word, and holds what others wait for.
STALL_SECONDS = 60.0
_COMMENT = b": waiting for the model\n\n"


@dataclass(frozen=True, slots=True)
class Ways:
    """How a stream reaches its client: ASGI's, and one that does not wait, where it may be gone."""

    send: Send
    pass_on: Callable[[bytes], bool]


class EventSender:
    """The response of one stream.

    ``headers`` is asked once, when the first byte goes out.  ``on_stall`` is told when the client
    has read nothing for STALL_SECONDS while there was something to read.
    """

    def __init__(
        self,
        ways: Ways,
        headers: Callable[[], Mapping[str, str]],
        keepalive_seconds: float,
        on_stall: Callable[[], None],
    ) -> None:
        self.is_started = False
        self._on_stall = on_stall
        self._send = ways.send
        self._pass_on = ways.pass_on
        self._headers = headers
        self._keepalive_seconds = keepalive_seconds
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._is_busy = False
        self._comment: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(keepalive_seconds, self._look)

    def write(self, events: bytes) -> bool:
        """Have some events leave at once; False where they are to be sent."""
        try:
            has_left = self._pass_on(events)
        except RuntimeError:  # uvloop's word for a client that left this very moment
            has_left = True
        if has_left:
            self._last = self._loop.time()
        return has_left

    async def send(self, events: bytes, *, is_last: bool = False) -> None:
        """Send some events; waits while the client reads slowly."""
        self._is_busy = True
        self._last = self._loop.time()
        try:
            if not self.is_started:
                self.is_started = True
                headers = encoded_headers(self._headers())
                start = {"type": "http.response.start", "status": STATUS, "headers": headers}
                await self._send(start)
            body = {"type": "http.response.body", "body": events, "more_body": not is_last}
            await self._send(body)
        except RuntimeError:
            pass  # as above
        finally:
            self._is_busy = False
            self._last = self._loop.time()

    async def write_last(self, events: bytes) -> None:
        """Send the end, after ``close``: nobody waits longer for the client than STALL_SECONDS."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STALL_SECONDS):
                await self.send(events, is_last=True)

    def close(self) -> None:
        """Send no more comments, and look no more after the client."""
        self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()

    def _look(self) -> None:
        """A proxy cuts a silent connection: after a while without an event, send a comment."""
        idle_seconds = self._loop.time() - self._last
        if self._is_busy:
            if idle_seconds >= STALL_SECONDS:
                self._on_stall()
            idle_seconds = 0.0
        elif idle_seconds >= self._keepalive_seconds:
            self._comment = asyncio.create_task(self.send(_COMMENT))
            idle_seconds = 0.0
        wait = max(self._keepalive_seconds - idle_seconds, 0.01)
        self._timer = self._loop.call_later(wait, self._look)


class LiveAnswer:
    """One request whose answer goes out while it is written."""

    def __init__(self, account: Account, asked: Asked, stream: AnswerStream) -> None:
        self._account = account
        self._chat = asked.chat
        self._stream = stream
        self._editor = asked.editor()
        self._last: list[Chunk] = []
        self._usage: msgspec.Raw | None = None
        self._author: Role | None = None
        self._handover: Handover | None = None
        self._seam = ""

    async def relay(self, sender: EventSender) -> bytes:
        """Send all but the end, which is returned.  Raises what the models raise."""
        account = self._account
        while (part := await self._stream.read()) is not None:
            if part and (events := self._events(part)):
                if account.first_byte_seconds is None:
                    account.first_byte_seconds = account.context.clock() - account.started
                    account.first_tokens = _tokens_of(part)
                del part  # not to be kept for as long as a slow reader takes
                if not sender.write(events):
                    await sender.send(events)
                del events  # nor this for as long as the next takes
        await tell(account, self._stream)
        return self._end()

    def _events(self, part: Chunks) -> bytes:
        """What goes out at once; the chunk that ends the answer waits until the bill is known."""
        events, course = [], self._stream.course
        splice = course.splice
        if splice is not None and self._handover is None:
            self._handover, self._seam = splice.handover, splice.prefix.seam
            self._last.clear()
            if splice.handover is Handover.RESTART:
                events.append(self._editor.restart_event(len(splice.prefix.text)))
        if self._author is not course.served_by:
            self._author, self._usage = course.served_by, None
        is_continuation = self._handover is Handover.CONTINUE
        for chunk in part:
            if self._chat.is_usage_wanted and chunk.counts is not None:
                self._usage = chunk.usage_as_sent() or self._usage
            if chunk.finish_reason is not None or self._last:
                self._last.append(chunk)
            elif is_continuation:
                events.append(self._continued(chunk))
            else:
                events.append(self._editor.edit(chunk))
        return b"".join(events)

    def _continued(self, chunk: Chunk) -> bytes:
        """An event of the teacher's part of a spliced answer, without what the client has."""
        content = self._after_seam(chunk)
        if not (content or chunk.reasoning or chunk.is_tool_call or chunk.has_unread_text):
            return b""
        return self._editor.edit(chunk, is_continuation=True, content=content)

    def _after_seam(self, chunk: Chunk) -> str | None:
        """Without the blanks that are out: the teacher, which did not see them, writes them too.

        None leaves the chunk's content as it is.
        """
        if chunk.has_unread_text:
            return None
        content = chunk.content
        while self._seam and content:
            if not content.startswith(self._seam[0]):
                self._seam = ""
                break
            content, self._seam = content[1:], self._seam[1:]
        return content

    def _end(self) -> bytes:
        """The chunk that ends the answer, with what is known by now; the usage; the end."""
        is_continuation = self._handover is Handover.CONTINUE
        trailer = self._account.trailer()
        carrier = None if self._chat.is_usage_wanted else _last_choice(self._last)
        events = [
            self._editor.edit(
                chunk,
                is_continuation=is_continuation,
                content=self._after_seam(chunk) if is_continuation else None,
                understudy=trailer if chunk is carrier else None,
            )
            for chunk in self._last
        ]
        if carrier is None and not self._chat.is_usage_wanted:  # a server that ended without a word
            events.append(self._editor.closing_event(trailer))
        if self._chat.is_usage_wanted:
            events.append(self._editor.usage_event(self._client_usage(), trailer))
        return b"".join([*events, self._editor.done()])

    def _client_usage(self) -> msgspec.Raw | Mapping[str, object] | None:
        """What the client received: the server's own words, or the sum where two have written."""
        if self._handover is None:
            return self._usage
        usage = self._account.spliced_usage()
        if usage is None:
            return None
        total = usage.input + usage.output
        return {
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "total_tokens": total,
        }


async def collect(stream: AnswerStream) -> Assembly:
    """The same for a client that does not stream: the whole answer.  Raises what models raise."""
    whole = Assembly()
    while (part := await stream.read()) is not None:
        for chunk in part:
            whole.add(chunk)
    return whole


async def tell(account: Account, stream: AnswerStream) -> None:
    """Tell the facts and write the pair: the answer is whole, and its end has not left yet.

    Raises NotRecorded where it may not be delivered, for want of its pair; then nothing is told.
    """
    course = stream.course
    afterwards = Legs(account.context.clock)
    unfinished = stream.hand_on_draft(afterwards)
    stream.close()
    if course.answer is not None:
        rescue = Rescue(
            draft=None if course.draft is None else course.draft.assembly.body(),
            is_draft_complete=course.draft is not None and course.draft.is_whole,
            answer=course.answer.body(),
            reason=account.reason,
            splice=course.splice,
            propensity=account.propensity(is_draft_had=True),
        )
        try:
            pair_id = await account.log_pair(rescue)
        except BaseException:  # the client left meanwhile, and nobody else ends the draft
            if unfinished is not None:
                abandon_draft(account, unfinished, afterwards)
            raise
        if unfinished is not None and account.is_worth_finishing(pair_id):
            propensity = account.propensity(is_draft_had=False)
            later = msgspec.structs.replace(rescue, completes=pair_id, propensity=propensity)
            finish_draft(account, unfinished, afterwards, later)
        elif unfinished is not None:
            abandon_draft(account, unfinished, afterwards)
        account.insist_on(pair_id)
    account.settle(account.ending, STATUS)


def _tokens_of(part: Chunks) -> int:
    """How many tokens that is; a chunk whose tokens nobody wanted to know is taken for one."""
    return sum(len(chunk.tokens) or chunk.says_something for chunk in part)


def _last_choice(chunks: list[Chunk]) -> Chunk | None:
    return next((chunk for chunk in reversed(chunks) if chunk.has_choice), None)
