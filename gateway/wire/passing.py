"""Requests that pass to a model as they are: all that is understood of them, and of what comes
back, is the model's name and what it took.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from gateway.errors import RequestError
from gateway.wire.chat import read_fields
from gateway.wire.completion import InputDetails, UsageCounts, usage_of
from gateway.wire.media import MediaRules, is_url_name, refuse_field, refuse_media
from gateway.wire.reserved import refuse_reserved
from routing.money import Usage

# vLLM also sends embeddings as bytes beside JSON in a header, which is no JSON to pass on.
ENCODINGS = frozenset({b'"float"', b'"base64"', b"null"})
_MESSAGES = "messages"


class PassedRoute(StrEnum):
    """What a model may be asked for."""

    EMBEDDINGS = "embeddings"
    TOKENIZE = "tokenize"
    DETOKENIZE = "detokenize"
    SCORE = "score"
    RERANK = "rerank"

    @property
    def is_free(self) -> bool:
        """Whether no model works for it: a tokenizer runs beside its model, and nobody bills it."""
        return self in (PassedRoute.TOKENIZE, PassedRoute.DETOKENIZE)


# The paths of each; the last part is the same at the servers that have them.
PATHS: Mapping[str, PassedRoute] = {
    "/v1/embeddings": PassedRoute.EMBEDDINGS,
    "/tokenize": PassedRoute.TOKENIZE,
    "/detokenize": PassedRoute.DETOKENIZE,
    "/score": PassedRoute.SCORE,
    "/v1/score": PassedRoute.SCORE,
    "/rerank": PassedRoute.RERANK,
    "/v1/rerank": PassedRoute.RERANK,
    "/v2/rerank": PassedRoute.RERANK,
}


class PassedBody(msgspec.Struct):
    model: str
    chat_template_kwargs: dict[str, msgspec.Raw] | None = None
    encoding_format: msgspec.Raw = msgspec.Raw(b"null")


class _Usage(msgspec.Struct):
    """Rerankers may say the total alone."""

    prompt_tokens: int | None = None
    total_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: InputDetails | None = None


class _Reply(msgspec.Struct):
    usage: _Usage | None = None


_known = msgspec.json.Decoder(PassedBody)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_reply = msgspec.json.Decoder(_Reply)
_anything = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class Passed:
    """One such request: the model that it names, and its top level, values undecoded."""

    model: str
    fields: Mapping[str, msgspec.Raw]

    def body_for(self, model: str) -> bytes:
        """The same for a server that knows the model by another name."""
        return msgspec.json.encode({**self.fields, "model": model})

    def refuse_media(self, rules: MediaRules) -> None:
        """Raise MediaNotAllowed for the first URL to be fetched that is not allowed."""
        for name, value in self.fields.items():
            raw = bytes(value)
            if name == "chat_template_kwargs" or not (b"{" in raw or is_url_name(name)):
                continue
            if name == _MESSAGES:
                refuse_media(raw, rules)
            else:
                refuse_field(name, _anything.decode(raw), rules)


def read_passed(body: bytes) -> Passed:
    """Understand a request's body.  Raises RequestError, which names the parameter."""
    known, fields = read_fields(_known, body)
    refuse_reserved(fields, known.chat_template_kwargs)
    if bytes(known.encoding_format) not in ENCODINGS:
        raise RequestError(
            "Invalid 'encoding_format': only 'float' and 'base64' pass here.",
            param="encoding_format",
        )
    return Passed(known.model, fields)


@dataclass(frozen=True, slots=True)
class PassedReply:
    """What a server answered; ``usage`` is None where it does not say what that took."""

    fields: Mapping[str, msgspec.Raw]
    usage: Usage | None

    def body_for(self, model: str) -> bytes:
        """The same for a client that knows the model by another name."""
        if "model" not in self.fields:
            return msgspec.json.encode(self.fields)
        return msgspec.json.encode({**self.fields, "model": model})


def read_reply(body: bytes) -> PassedReply:
    """Understand a server's answer.  Raises ValueError where it is no JSON object."""
    body.decode()
    return PassedReply(_fields.decode(body), _usage_in(body))


def _usage_in(body: bytes) -> Usage | None:
    try:
        told = _reply.decode(body).usage
    except msgspec.ValidationError:
        return None
    if told is None:
        return None
    read = told.total_tokens if told.prompt_tokens is None else told.prompt_tokens
    if read is None:
        return None
    counts = UsageCounts(read, told.completion_tokens or 0, told.prompt_tokens_details)
    return usage_of(counts)
