"""How a model server is asked how many tokens a request has, and what it says.

Two routes are known, both outside OpenAI's: ``/tokenize``, which vLLM has, takes the very chat that
its model would get; Anthropic's own, which llama.cpp has too, takes the request as the client
wrote it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from gateway.wire.chat import Dialect
from gateway.wire.completion import part_of
from gateway.wire.messages.request import MessageRequest

# What of a chat, or of what an operator adds to it, has a part in the prompt.
_IN_THE_PROMPT = frozenset(
    {"messages", "tools", "add_generation_prompt", "continue_final_message"}
    | {"chat_template", "chat_template_kwargs", "mm_processor_kwargs"}
)


class _Counted(msgspec.Struct):
    count: int | None = None
    input_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class CountRoute:
    """One route that counts.  ``path`` goes behind the server's base URL, or behind its root."""

    path: str
    is_at_root: bool
    body: Callable[[MessageRequest, Dialect], bytes]


def _chat(request: MessageRequest, dialect: Dialect) -> bytes:
    fields = {**request.chat.fields, **dialect.extra}
    prompt = {name: value for name, value in fields.items() if name in _IN_THE_PROMPT}
    return msgspec.json.encode({**prompt, "model": dialect.model})


def _message(request: MessageRequest, dialect: Dialect) -> bytes:
    return msgspec.json.encode({**request.fields, "model": dialect.model})


COUNT_ROUTES = (
    CountRoute("/tokenize", True, _chat),
    CountRoute("/messages/count_tokens", False, _message),
)
_counted = msgspec.json.Decoder(_Counted)


def count_in(reply: bytes) -> int | None:
    """The count that a server gives; None where it gives none, as by another route of that name.

    llama.cpp has a ``/tokenize`` too, which takes a text and knows no messages.
    """
    try:
        counted = part_of(_counted, msgspec.Raw(reply))
    except (ValueError, RecursionError):
        return None
    if counted is None:
        return None
    return counted.count if counted.input_tokens is None else counted.input_tokens


def count_body(count: int) -> bytes:
    """What the client gets."""
    return msgspec.json.encode({"input_tokens": count})
