"""What the static upstream answers: chat completions in vLLM's shape, made rather than recorded.

A draft carries log-probabilities of ``TOKENS`` tokens with two candidates each, about 12 KB of
JSON.  How sure they are decides whether the gateway keeps it.
"""

import json
import math
import random
from string import ascii_lowercase

TOKENS = 64
END_OF_TURN = "<|im_end|>"
SEED = 20

# Tokens of two characters and six digits keep 64 tokens at about 12 KB, so that the numbers can be
# set beside those of gateways measured with replies of that size.
DIGITS = 6


def text_of(role: str) -> str:
    """The answer's text, which names who wrote it; each word is one token."""
    letters = [ascii_lowercase[place % 26] for place in range(TOKENS - 2)]
    return " ".join([role, *letters])


def draft(*, probability: float) -> bytes:
    """A student's reply whose tokens have about that probability, in (0, 1)."""
    text = text_of("student")
    dice = random.Random(SEED)
    first, *others = text.split(" ")
    tokens = [first, *(f" {word}" for word in others), END_OF_TURN]
    content = [_token(token, probability * dice.uniform(0.98, 1.0)) for token in tokens]
    return _completion(text, {"content": content})


def lesson() -> bytes:
    """A teacher's reply, which nobody asked for log-probabilities."""
    return _completion(text_of("teacher"), None)


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
    usage = {"prompt_tokens": 42, "total_tokens": 42 + TOKENS, "completion_tokens": TOKENS}
    completion = {
        "id": "chatcmpl-8d1f0c5f4c3b4a55",
        "object": "chat.completion",
        "created": 1767225600,
        "model": "static",
        "choices": [choice],
        **dict.fromkeys(("service_tier", "system_fingerprint")),
        "usage": {
            **usage,
            **dict.fromkeys(("prompt_tokens_details", "completion_tokens_details")),
        },
        **dict.fromkeys(("prompt_logprobs", "prompt_token_ids", "prompt_text")),
        **dict.fromkeys(("kv_transfer_params", "ec_transfer_params", "metrics")),
    }
    return json.dumps(completion, separators=(",", ":")).encode()
