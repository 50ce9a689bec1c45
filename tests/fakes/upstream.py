"""A model server that does as it is told: answers, refuses, hangs, breaks off."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from tests.fakes.script import Played, Step, play, steps_of, whole

SURE, UNSURE = -0.01, -3.0


def completion(
    content: str | None = "Paris.", logprob: float = SURE, **changes: Any
) -> dict[str, Any]:
    """A chat completion in vLLM's shape; every token has this log-probability."""
    message = {"role": "assistant", "content": content, "refusal": None, "reasoning": None}
    choice: dict[str, Any] = {
        "index": 0,
        "message": message | changes.pop("message", {}),
        "logprobs": {"content": tokens(*(content or "").split(" "), logprob=logprob)},
        "finish_reason": "stop",
        "stop_reason": None,
    }
    choice |= changes.pop("choice", {})
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_795_454_776,
        "model": "upstream-name",
        "choices": [choice],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        "system_fingerprint": "vllm-0.32.0",
        "kv_transfer_params": None,
    } | changes


def saying(texts: Sequence[str], logprob: float = SURE) -> "Reply":
    """A reply with that text, whole or in chunks, each a token of that log-probability."""
    return Reply(body=completion("".join(texts), logprob), steps=whole(texts, logprob))


def tokens(*texts: str, logprob: float = SURE) -> list[dict[str, Any]]:
    """Entries of ``logprobs.content``, each with a rival far behind."""
    return [
        {
            "token": text,
            "logprob": logprob,
            "bytes": list(text.encode()),
            "top_logprobs": [
                {"token": text, "logprob": logprob, "bytes": list(text.encode())},
                {"token": "?", "logprob": logprob - 5, "bytes": [63]},
            ],
        }
        for text in texts
    ]


@dataclass(frozen=True)
class Reply:
    """What the server sends: a body as JSON or as it is, or nothing and a closed connection.

    A client that streams gets ``steps``, or the same answer in pieces.
    """

    body: Any = field(default_factory=completion)
    status: int = 200
    delay_seconds: float = 0.0
    is_broken_off: bool = False
    steps: Sequence[Step] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class ScriptedModel:
    """An ASGI application; change ``reply`` at any time, read ``requests`` afterwards.

    Who asks it for its models gets ``listing``, for its metrics ``metrics``: ``requests`` have
    nothing of that.
    """

    def __init__(self, reply: Reply | None = None) -> None:
        self.reply: Reply | Callable[[Mapping[str, Any]], Reply] = reply or Reply()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[bytes] = []
        self.listing: Any = None
        self.metrics: bytes | None = None
        self.disconnects = 0
        self.played: list[Played] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["method"] == "GET":
            is_metrics = scope["path"] == "/metrics"
            shown = self.metrics if is_metrics else self.listing
            await self._send(send, Reply(status=404) if shown is None else Reply(body=shown))
            return
        request = json.loads(body) if body else {}
        self.requests.append(request)
        self.paths.append(scope["raw_path"])
        self.headers.append({key.decode(): value.decode() for key, value in scope["headers"]})
        reply = self.reply if isinstance(self.reply, Reply) else self.reply(request)
        if reply.delay_seconds and await self._has_left(receive, reply.delay_seconds):
            self.disconnects += 1
            return
        if request.get("stream") and (steps := _steps(reply)) is not None:
            self.played.append(Played(request))
            await play(steps, self.played[-1], receive, send)
            return
        await self._send(send, reply)

    async def _has_left(self, receive: Receive, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return bool((await receive())["type"] == "http.disconnect")
        except TimeoutError:
            return False

    async def _send(self, send: Send, reply: Reply) -> None:
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        named = {"content-type": "application/json"} | dict(reply.headers)
        headers = [(name.encode(), value.encode()) for name, value in named.items()]
        if reply.is_broken_off:
            # A length that the body does not reach makes the server cut the connection.
            headers = [*headers, (b"content-length", str(len(content) + 10).encode())]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def _steps(reply: Reply) -> Sequence[Step] | None:
    """What of the reply can be streamed; None for what is no answer."""
    if reply.steps is not None:
        return reply.steps
    is_answer = reply.status == 200 and isinstance(reply.body, dict) and not reply.is_broken_off
    choices = reply.body.get("choices") if is_answer else None
    return steps_of(reply.body) if choices and len(choices) == 1 else None
