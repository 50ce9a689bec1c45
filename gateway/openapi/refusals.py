"""What a request may be refused for that its schema cannot say: which parameter, and why.

In the document each operation lists them as ``x-refusals``; a 400 for anything else that fits the
schema is a mistake of the one or the other.
"""

from typing import NamedTuple

from gateway.wire.bounds import Bounds
from gateway.wire.chat import GROUP_HEADER, MAX_CHOICES
from gateway.wire.controls import CONFIDENCE_HEADER, FIELD, ROUTE_HEADER

ANY = "*"


class Refusal(NamedTuple):
    """``param`` is the beginning of what the error names, ``ANY`` for every field; ``when`` says
    what it takes."""

    param: str
    when: str


_BOUNDS = Bounds()
_FOREIGN = "the two models of the cascade may have different tokenizers, and nobody is pinned"
_TOKEN_IDS = tuple(
    Refusal(name, f"it speaks in token ids: {_FOREIGN}")
    for name in ("logit_bias", "allowed_token_ids", "stop_token_ids")
)
_DEPTH = "the body nests too deep, or a number in it is beyond what readers of JSON hold"
_ANY = (
    Refusal("", _DEPTH),
    Refusal(FIELD, "the model's name, the headers and the body contradict each other"),
    Refusal(ROUTE_HEADER, "it is not a route"),
    Refusal(CONFIDENCE_HEADER, "it is no number from 0 to 1"),
    Refusal(GROUP_HEADER, "it is no name of a group"),
)
_OPTIONS = Refusal("stream_options", "there is no stream")
_TOP = Refusal("top_logprobs", "no log-probabilities are asked for")
_MEDIA = "an URL in it is not allowed by the operator (`media`)"
_LONG = f"more than {_BOUNDS.tokens} tokens are wanted, unless the operator allows others"

CHAT = (
    *_ANY,
    *_TOKEN_IDS,
    _OPTIONS,
    _TOP,
    Refusal("messages", f"there are more than {_BOUNDS.messages}; or {_MEDIA}"),
    Refusal("content", f"there are more than {_BOUNDS.parts} parts in all messages"),
    Refusal("tools", f"there are more than {_BOUNDS.tools}"),
    Refusal("max_tokens", _LONG),
    Refusal("max_completion_tokens", _LONG),
    Refusal("n", "more answers are wanted than the operator allows"),
    Refusal("metadata", "a completion is to be stored, and it is no object of short strings"),
)
TEXT = (
    *_ANY,
    *_TOKEN_IDS,
    _OPTIONS,
    Refusal("prompt", f"{_FOREIGN}; or prompts and `n` make more than {MAX_CHOICES} answers"),
    Refusal("n", "more answers are wanted than the operator allows"),
    Refusal("echo", "it comes with `logprobs`, or with token ids"),
    Refusal("max_tokens", _LONG),
)
RESPONSES = (
    *_ANY,
    *_TOKEN_IDS,
    _OPTIONS,
    Refusal("input", f"there are more than {_BOUNDS.messages} items; or {_MEDIA}"),
    Refusal("tools", f"there are more than {_BOUNDS.tools}"),
    Refusal("tool_choice", "it names no function of `tools`, or there are none"),
    Refusal("max_output_tokens", _LONG),
    Refusal("top_logprobs", "it is written with a point"),
    Refusal("n", "it is written with a point"),
)
MESSAGES = (
    *_ANY,
    *_TOKEN_IDS,
    _TOP,
    Refusal(
        "messages", f"they say nothing, or there are more than {_BOUNDS.messages}; or {_MEDIA}"
    ),
    Refusal("system", _MEDIA),
    Refusal("tools", f"there are more than {_BOUNDS.tools}"),
    Refusal("max_tokens", _LONG),
    Refusal("max_completion_tokens", _LONG),
)
PASSED = (
    Refusal("", _DEPTH),
    Refusal(ANY, _MEDIA),
)
OBJECTIVE = (
    Refusal("", f"{_DEPTH}; or it is an objective that the cascade's file could not have"),
)
STORED = (
    Refusal("after", "of so many completions none suits"),
    Refusal("metadata", "it could not be redacted, or has more or longer strings than allowed"),
)
