"""What the static upstream answers: chat completions in vLLM's shape, made rather than recorded.

A draft carries log-probabilities of ``TOKENS`` tokens with two candidates each, about 12 KB of
JSON.  How sure they are decides whether the gateway keeps it.  Each answer comes whole, and as the
events of a stream.
"""

import json
import math
import random
from collections.abc import Sequence
from string import ascii_lowercase

TOKENS = 64
LONG_TOKENS = 512  # of streams that tell what one token more costs
PROMPT_TOKENS = 42
END_OF_TURN = "<|im_end|>"
SEED = 20

# Tokens of two characters and six digits keep 64 tokens at about 12 KB, so that the numbers can be
# set beside those of gateways measured with replies of that size.
DIGITS = 6


def text_of(role: str, tokens: int = TOKENS) -> str:
    """The answer's text, which names who wrote it; each word is one token."""
    letters = [ascii_lowercase[place % 26] for place in range(tokens - 2)]
    return " ".join([role, *letters])


def draft(*, probability: float) -> bytes:
    """A student's reply whose tokens have about that probability, in (0, 1)."""
    return _completion(text_of("student"), {"content": _evidence("student", probability)})


def lesson() -> bytes:
    """A teacher's reply, which nobody asked for log-probabilities."""
    return _completion(text_of("teacher"), None)


def draft_events(*, probability: float, tokens: int = TOKENS) -> list[bytes]:
    """The draft as a stream: its role, then an event for each token, then the end.

    Each event has the usage so far, because the gateway asks students for that.
    """
    evidence = _evidence("student", probability, tokens)
    return _events("student", [{"content": [each]} for each in evidence], has_running_usage=True)


def lesson_events() -> list[bytes]:
    """The teacher's reply as a stream: its usage is at the end alone."""
    return _events("teacher", [None] * TOKENS, has_running_usage=False)


def _events(role: str, logprobs: Sequence[object], *, has_running_usage: bool) -> list[bytes]:
    usage = _usage if has_running_usage else lambda _: None
    count = len(logprobs)
    events = [_chunk({"role": "assistant", "content": ""}, None, usage(0))]
    for place, (token, evidence) in enumerate(zip(_tokens(role, count), logprobs, strict=True), 1):
        is_last = place == count
        delta = {"content": "" if is_last else token}
        events.append(_chunk(delta, evidence, usage(place), is_last=is_last))
    report = {**_envelope("chat.completion.chunk"), "choices": [], "usage": _usage(count)}
    return [*events, _event(report) + b"data: [DONE]\n\n"]


def _chunk(delta: object, logprobs: object, usage: object, *, is_last: bool = False) -> bytes:
    choice = {
        "index": 0,
        "delta": delta,
        "logprobs": logprobs,
        "finish_reason": "stop" if is_last else None,
        "token_ids": None,
    }
    fields = {**_envelope("chat.completion.chunk"), "choices": [choice]}
    return _event(fields if usage is None else {**fields, "usage": usage})


def _event(fields: object) -> bytes:
    return b"data: " + _json(fields) + b"\n\n"


def _tokens(role: str, count: int) -> list[str]:
    first, *others = text_of(role, count).split(" ")
    return [first, *(f" {word}" for word in others), END_OF_TURN]


def _evidence(role: str, probability: float, count: int = TOKENS) -> list[dict[str, object]]:
    dice = random.Random(SEED)
    return [_token(token, probability * dice.uniform(0.98, 1.0)) for token in _tokens(role, count)]


def _token(token: str, probability: float) -> dict[str, object]:
    """One place of the answer: the chosen token, which is also the likelier of two candidates."""
    chosen, rival = _candidate(token, probability), _candidate(" z", (1.0 - probability) * 0.9)
    return {**chosen, "top_logprobs": [chosen, rival]}


def _candidate(token: str, probability: float) -> dict[str, object]:
    return {
        "token": token,
        "logprob": round(math.log(probability), DIGITS),
        "bytes": list(token.encode()),
    }


def _completion(text: str, logprobs: object) -> bytes:
    absent = ("refusal", "annotations", "audio", "function_call", "reasoning")
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **dict.fromkeys(absent)},
        "logprobs": logprobs,
        "finish_reason": "stop",
        **dict.fromkeys(("stop_reason", "token_ids", "routed_experts")),
    }
    completion = {
        **_envelope("chat.completion"),
        "choices": [choice],
        **dict.fromkeys(("service_tier", "system_fingerprint")),
        "usage": {
            **_usage(TOKENS),
            **dict.fromkeys(("prompt_tokens_details", "completion_tokens_details")),
        },
        **dict.fromkeys(("prompt_logprobs", "prompt_token_ids", "prompt_text")),
        **dict.fromkeys(("kv_transfer_params", "ec_transfer_params", "metrics")),
    }
    return _json(completion)


def _envelope(kind: str) -> dict[str, object]:
    return {
        "id": "chatcmpl-8d1f0c5f4c3b4a55",
        "object": kind,
        "created": 1767225600,
        "model": "static",
    }


def _usage(output: int) -> dict[str, object]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "total_tokens": PROMPT_TOKENS + output,
        "completion_tokens": output,
    }


def _json(fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
