"""What a scripted model server streams, step by step: a test knows the order of all bytes."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from starlette.types import Receive, Send

from tests.fakes.chunks import USAGE, chunk, usage_report

POLL_SECONDS = 0.002


@dataclass(frozen=True)
class Words:
    """A chunk for each text, one token a chunk, all of one log-probability; None: of none.

    ``is_counted``: every chunk says what the answer has cost so far, as vLLM's do.
    """

    texts: Sequence[str]
    logprob: float | None = -0.01
    seconds_each: float = 0.0
    is_counted: bool = False


@dataclass(frozen=True)
class Raw:
    """A payload as it is."""

    payload: bytes


@dataclass(frozen=True)
class Pieces:
    """Bytes as they are, each piece in a packet of its own."""

    pieces: Sequence[bytes]


@dataclass(frozen=True)
class Pause:
    """Nothing for a while."""

    seconds: float


@dataclass(frozen=True)
class Until:
    """Nothing until the test sets the event."""

    event: Event


@dataclass(frozen=True)
class Queued:
    """As ``Until``, and before even the status goes out: it can only come first."""

    event: Event


@dataclass(frozen=True)
class BreakOff:
    """The connection ends."""


@dataclass(frozen=True)
class Stop:
    """The response ends in good order, without ``[DONE]``."""


Step = Words | Raw | Pieces | Pause | Until | Queued | BreakOff | Stop

ROLE = Raw(chunk({"role": "assistant", "content": ""}))


def finish(reason: str = "stop", usage: Mapping[str, int] = USAGE) -> list[Step]:
    """How a server ends: the finish chunk, its usage, the end."""
    return [Raw(chunk({}, choice={"finish_reason": reason})), Raw(usage_report(usage))]


def whole(texts: Sequence[str], logprob: float | None = -0.01, **of_words: Any) -> list[Step]:
    """A stream from its role to its usage."""
    return [ROLE, Words(texts, logprob, **of_words), *finish()]


def used(output: int) -> dict[str, int]:
    """A usage of so many tokens of output."""
    return {"prompt_tokens": 100, "completion_tokens": output, "total_tokens": 100 + output}


def thoughts(texts: Sequence[str]) -> list[Step]:
    """A reasoning chunk for each text, one token a chunk."""
    return [Raw(chunk({"reasoning": text}, [entry(text, -0.01)])) for text in texts]


def tool_call(
    name: str, pieces: Sequence[str], logprob: float | None = -0.01, index: int = 0
) -> list[Step]:
    """One tool call: a chunk with its name, then its arguments in pieces, a token each."""
    head = {"id": f"call-{index}", "type": "function", "function": {"name": name, "arguments": ""}}
    parts: list[dict[str, Any]] = [head, *({"function": {"arguments": each}} for each in pieces)]
    texts = [name, *pieces]
    return [
        Raw(
            chunk(
                {"tool_calls": [{"index": index, **part}]},
                None if logprob is None else [entry(text, logprob)],
            )
        )
        for part, text in zip(parts, texts, strict=True)
    ]


def entry(text: str, logprob: float) -> dict[str, Any]:
    """One entry of ``logprobs.content``, with a rival far behind."""
    tops = [{"token": text, "logprob": logprob}, {"token": "?", "logprob": logprob - 5}]
    return {"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": tops}


@dataclass
class Played:
    """What came of one stream: when it began and, where its reader left, when that was noticed.

    ``sent_at`` says when each event was sent.
    """

    request: Mapping[str, Any]
    began: float = field(default_factory=time.monotonic)
    sent_at: list[float] = field(default_factory=list)
    tokens: int = 0
    left: float | None = None
    is_over: bool = False

    @property
    def events(self) -> int:
        """How many events were sent."""
        return len(self.sent_at)


async def play(steps: Sequence[Step], played: Played, receive: Receive, send: Send) -> None:
    """Stream the steps and ``[DONE]``, or stop when the reader has left."""
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    if any(isinstance(step, BreakOff) for step in steps):
        headers.append((b"content-length", b"10000000"))  # which nothing reaches
    gone = asyncio.create_task(_departure(receive))
    try:
        if steps and isinstance(steps[0], Queued):
            await _wait(steps[0].event, gone)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for step in steps:
            if gone.done():
                break
            match step:
                case Words():
                    await _speak(step, played, send, gone)
                case Raw(payload):
                    await _event(payload, played, send)
                case Pieces(pieces):
                    for piece in pieces:
                        body = {"type": "http.response.body", "body": piece, "more_body": True}
                        await send(body)
                        await _left(gone, POLL_SECONDS)
                case Pause(seconds):
                    await _left(gone, seconds)
                case Until(event):
                    await _wait(event, gone)
                case Queued():
                    pass  # it was waited for
                case BreakOff() | Stop():
                    await send({"type": "http.response.body", "body": b""})
                    return
        if gone.done():
            played.left = time.monotonic()
            return
        played.is_over = True
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
    finally:
        gone.cancel()


async def _speak(words: Words, played: Played, send: Send, gone: "asyncio.Task[None]") -> None:
    for text in words.texts:
        played.tokens += 1
        entries = None if words.logprob is None else [entry(text, words.logprob)]
        usage = {"usage": used(played.tokens)} if words.is_counted else {}
        await _event(chunk({"content": text}, entries, **usage), played, send)
        if words.seconds_each and await _left(gone, words.seconds_each):
            break


async def _event(payload: bytes, played: Played, send: Send) -> None:
    event = b"data: " + payload + b"\n\n"
    await send({"type": "http.response.body", "body": event, "more_body": True})
    played.sent_at.append(time.monotonic())


async def _wait(event: Event, gone: "asyncio.Task[None]") -> None:
    while not event.is_set() and not await _left(gone, POLL_SECONDS):
        pass


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _left(gone: "asyncio.Task[None]", seconds: float) -> bool:
    await asyncio.wait({gone}, timeout=seconds)
    return gone.done()


def steps_of(completion: Mapping[str, Any]) -> list[Step]:
    """The stream that a server would send in place of this whole completion of one choice."""
    choice = completion["choices"][0]
    message, usage = choice["message"], completion.get("usage")
    entries = (choice.get("logprobs") or {}).get("content") or []
    rest = message.get("content") or ""
    steps: list[Step] = [ROLE]
    for place, each in enumerate(entries):
        text, _, rest = rest.partition(" ") if place < len(entries) - 1 else (rest, "", "")
        blank = " " if rest else ""
        steps.append(Raw(chunk({"content": text + blank}, [each | {"token": text + blank}])))
    if rest:
        steps.append(Raw(chunk({"content": rest})))
    calls = message.get("tool_calls") or []
    if calls:
        deltas = [{"index": place, **call} for place, call in enumerate(calls)]
        steps.append(Raw(chunk({"tool_calls": deltas})))
    steps.append(Raw(chunk({}, choice={"finish_reason": choice.get("finish_reason")})))
    if usage is not None:
        steps.append(Raw(usage_report(usage)))
    return steps


def payloads(text: str) -> list[dict[str, Any]]:
    """The chunks in the body of a streamed response."""
    events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(event) for event in events if event != "[DONE]"]


def content_of(chunks: Sequence[Mapping[str, Any]]) -> str:
    """What the chunks say, in one text."""
    deltas = [choice["delta"] for each in chunks for choice in each["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)
