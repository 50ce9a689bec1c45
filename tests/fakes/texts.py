"""Replies of servers that are asked to go on from a bare prompt, in vLLM's and llama.cpp's form."""

import json
from collections.abc import Sequence
from typing import Any

from tests.fakes.upstream import SURE, tokens

IDENTITY = {"id": "cmpl-1", "object": "text_completion", "created": 1_795_454_781, "model": "up"}
USAGE = {"prompt_tokens": 5, "total_tokens": 9, "completion_tokens": 4}


def choice_of(*texts: str, logprob: float = SURE, index: int = 0, **changes: Any) -> dict[str, Any]:
    """One answer in vLLM's form, with a rival far behind each token."""
    return {
        "index": index,
        "text": "".join(texts),
        "logprobs": {
            "text_offset": [sum(map(len, texts[:place])) for place in range(len(texts))],
            "token_logprobs": [logprob] * len(texts),
            "tokens": list(texts),
            "top_logprobs": [{text: logprob, "?": logprob - 5} for text in texts],
        },
        "finish_reason": "stop",
        "stop_reason": None,
    } | changes


def text_reply(*choices: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A whole reply."""
    return {**IDENTITY, "choices": list(choices), "usage": USAGE} | changes


def chat_lists(choice: dict[str, Any]) -> dict[str, Any]:
    """The same answer as llama.cpp tells of it: log-probabilities as in a chat."""
    told = choice["logprobs"]
    content = tokens(*told["tokens"], logprob=told["token_logprobs"][0])
    return choice | {"logprobs": {"content": content}}


def text_stream(*texts: str, logprob: float = SURE) -> bytes:
    """A stream of one answer, a token an event."""
    events: list[dict[str, Any]] = [
        {**IDENTITY, "choices": [choice_of(text, logprob=logprob, finish_reason=None)]}
        for text in texts
    ]
    events[-1]["choices"][0]["finish_reason"] = "stop"
    return sse([*events, {**IDENTITY, "choices": [], "usage": USAGE}])


def sse(events: Sequence[object]) -> bytes:
    """Events as a server sends them."""
    lines = [b"data: " + json.dumps(event).encode() for event in events]
    return b"\n\n".join([*lines, b"data: [DONE]", b""])


def sse_payloads(stream: bytes) -> list[bytes]:
    """The payloads of a stream, its end included."""
    return [event.removeprefix(b"data: ") for event in stream.split(b"\n\n") if event]
