"""How model servers are asked for completions, and their replies as chat completions.

OpenAI and vLLM tell of log-probabilities by four lists, llama.cpp as in a chat; both are read.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import msgspec

from gateway.wire.chat import (
    EVIDENCE_TOP_LOGPROBS,
    Chat,
    Dialect,
    Prefix,
    fields_of,
    lessened,
    streamed,
)

_NULL = msgspec.Raw(b"null")
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
_text = msgspec.json.Decoder(str)


class _Logprobs(msgspec.Struct):
    """The four lists, without the offsets; and the one list of a chat, where that is told."""

    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None
    content: msgspec.Raw = _NULL


_logprobs = msgspec.json.Decoder(_Logprobs | None)


def text_body(chat: Chat, dialect: Dialect) -> bytes:
    """The request for a whole answer."""
    return msgspec.json.encode(_asked(chat, dialect))


def text_stream_body(chat: Chat, dialect: Dialect, prefix: Prefix | None) -> bytes:
    """The request for an answer as it comes; from ``prefix`` on where there is one."""
    fields = streamed(_asked(chat, dialect), dialect)
    if prefix is not None:
        fields["prompt"] = _text.decode(chat.fields["prompt"]) + prefix.stem
        fields |= lessened(chat, prefix)
    return msgspec.json.encode(fields)


def _asked(chat: Chat, dialect: Dialect) -> dict[str, object]:
    fields = fields_of(chat, dialect)
    if dialect.is_evidence_wanted:
        fields["logprobs"] = max(chat.top_logprobs or 0, EVIDENCE_TOP_LOGPROBS)
    return fields


def reply_as_chat(body: bytes) -> bytes:
    """A whole reply as a ``chat.completion``.  Raises ValueError where it is no completion."""
    return _as_chat(body, "chat.completion", "message")


def chunk_as_chat(body: bytes) -> bytes:
    """One event of a stream as a ``chat.completion.chunk``; what is no chunk is left as it is."""
    return _as_chat(body, "chat.completion.chunk", "delta")


def _as_chat(body: bytes, kind: str, part: str) -> bytes:
    fields: dict[str, object] = {**_fields.decode(body)}
    if "choices" not in fields:
        return body
    choices = _choices.decode(fields["choices"])  # type: ignore[arg-type]  # a Raw is a buffer
    fields["object"] = kind
    fields["choices"] = choices and [_choice(choice, part) for choice in choices]
    return msgspec.json.encode(fields)


def _choice(choice: Mapping[str, msgspec.Raw], part: str) -> Mapping[str, object]:
    told = dict(choice)
    words = {"role": "assistant", "content": told.pop("text", _NULL)}
    logprobs = told.pop("logprobs", None)
    said: dict[str, object] = {part: words, **told}
    if logprobs is not None:
        said["logprobs"] = _as_told(logprobs)
    return said


def _as_told(raw: msgspec.Raw) -> Mapping[str, object] | None:
    """Log-probabilities as a chat has them; None where nothing can be read."""
    try:
        said = _logprobs.decode(raw)
    except msgspec.ValidationError:
        return None
    if said is None:
        return None
    if said.content != _NULL:
        return {"content": said.content}
    tokens, own, top = said.tokens or (), said.token_logprobs or (), said.top_logprobs or ()
    if len(tokens) != len(own) or None in own:
        return None
    told = [
        {"token": token, "logprob": logprob, "top_logprobs": _candidates(others)}
        for token, logprob, others in zip_longest(tokens, own, top[: len(tokens)])
    ]
    return {"content": told}


def _candidates(others: Mapping[str, float] | None) -> Sequence[Mapping[str, object]]:
    """The likeliest first: vLLM has the token that was drawn first, wherever it ranks."""
    ranked = sorted((others or {}).items(), key=lambda one: -one[1])
    return [{"token": token, "logprob": logprob} for token, logprob in ranked]
