"""Chunks of a streamed completion, as vLLM writes them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

ENVELOPE = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1_795_454_776,
    "model": "upstream-name",
}
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


def chunk(
    delta: Mapping[str, Any] | None = None,
    entries: Sequence[Mapping[str, Any]] | None = None,
    choice: Mapping[str, Any] | None = None,
    **changes: Any,
) -> bytes:
    """One payload: a delta, entries of ``logprobs.content``, and changes to choice and top."""
    logprobs = None if entries is None else {"content": entries}
    whole = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}
    return payload(choices=[{**whole, **(choice or {})}], **changes)


def usage_report(usage: Any = USAGE, **changes: Any) -> bytes:
    """The payload that ends the bill of a stream."""
    return payload(choices=[], usage=usage, **changes)


def payload(**fields: Any) -> bytes:
    """An envelope with these fields."""
    return json.dumps({**ENVELOPE, **fields}).encode()
