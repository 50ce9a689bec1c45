"""A model server's chat completion: what is read of it, and what the client is given.

Only what the gateway needs is decoded; the rest of the body is carried over undecoded, so that
fields nobody here has heard of reach the client as they came.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from gateway.wire.chat import EVIDENCE_TOP_LOGPROBS, Chat
from routing.money import Usage
from routing.vocabulary import Draft, Structure


# gc=False: a reply is a tree, so the collector need not walk its hundreds of objects for cycles.
class _Top(msgspec.Struct, gc=False):
    logprob: float


class _Token(msgspec.Struct, gc=False):
    token: str
    logprob: float
    top_logprobs: list[_Top] | None = None


class _Logprobs(msgspec.Struct, gc=False):
    content: list[_Token] | None = None


class _Function(msgspec.Struct):
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Completion(msgspec.Struct, gc=False):
    choices: list[_Choice]
    usage: _Usage | None = None


_completion = msgspec.json.Decoder(_Completion)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_client_tokens = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_tokens = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_tops = msgspec.json.Decoder(list[msgspec.Raw])
_null = msgspec.Raw(b"null")
_empty = msgspec.Raw(b"[]")


@dataclass(frozen=True, slots=True)
class Completion:
    """One upstream reply: ``body`` as the server sent it; ``usage`` is None where it gave none."""

    body: bytes
    choices: Sequence[_Choice]
    usage: Usage | None


def read_completion(body: bytes) -> Completion:
    """Decode a reply.  Raises ValueError where it is no completion with at least one choice."""
    body.decode()  # what passes undecoded goes into pairs too, where it must be readable
    parsed = _completion.decode(body)
    if not parsed.choices:
        raise ValueError("a completion without choices")
    return Completion(body=body, choices=parsed.choices, usage=_usage(parsed.usage))


def _usage(usage: _Usage | None) -> Usage | None:
    if usage is None:
        return None
    input_details, output_details = usage.prompt_tokens_details, usage.completion_tokens_details
    try:
        return Usage(
            input=usage.prompt_tokens,
            output=usage.completion_tokens,
            cached_input=(input_details.cached_tokens or 0) if input_details else 0,
            reasoning=(output_details.reasoning_tokens or 0) if output_details else 0,
        )
    except ValueError:
        return None  # counts that contradict each other are no basis for a bill


def drafts_of(completion: Completion, chat: Chat) -> tuple[Draft, ...]:
    """The evidence about each choice, in the words of the core."""
    return tuple(
        _draft(choice, is_json_wanted=chat.is_json_wanted) for choice in completion.choices
    )


def _draft(choice: _Choice, *, is_json_wanted: bool) -> Draft:
    tokens = _answer_tokens(choice)
    # Lists inside: a tuple of a generator costs twice as much, here for every token.
    return Draft(
        token_logprobs=tuple([token.logprob for token in tokens]),
        top_logprobs=tuple(
            [tuple([top.logprob for top in token.top_logprobs or ()]) for token in tokens]
        ),
        structure=_structure(choice.message, is_json_wanted=is_json_wanted),
    )


def _answer_tokens(choice: _Choice) -> Sequence[_Token]:
    """The tokens that the client reads: no end-of-sequence or stop token, no reasoning."""
    tokens: Sequence[_Token] = (choice.logprobs and choice.logprobs.content) or ()
    content = choice.message.content or ""
    if tokens and choice.finish_reason != "length" and not content.endswith(tokens[-1].token):
        tokens = tokens[:-1]
    if choice.message.reasoning_content or choice.message.reasoning:
        start, missing = len(tokens), len(content)
        while start and missing > 0:
            start -= 1
            missing -= len(tokens[start].token)
        tokens = tokens[start:]
    return tokens


def _structure(message: _Message, *, is_json_wanted: bool) -> Structure:
    """Whether tool arguments are JSON objects, and the text is JSON where that was asked for."""
    if message.tool_calls:
        arguments = [call.function.arguments or "" for call in message.tool_calls if call.function]
        is_valid = all(isinstance(_json(text), dict) for text in arguments)
    elif is_json_wanted:
        is_valid = _json(message.content or "") is not None
    else:
        return Structure.NOT_ASKED
    return Structure.VALID if is_valid else Structure.INVALID


def _json(text: str) -> object:
    """The value that the text encodes; None for null and for anything that is not JSON."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def client_fields(completion: Completion, chat: Chat) -> dict[str, object]:
    """The top level that the client gets: our model name, the log-probabilities it asked for."""
    fields: dict[str, object] = {**_fields.decode(completion.body)}
    choices = _choices.decode(fields["choices"])  # type: ignore[arg-type]  # a Raw is a buffer
    fields["model"] = chat.model
    fields["choices"] = [
        {**choice, "logprobs": _client_logprobs(choice.get("logprobs", _null), chat.top_logprobs)}
        for choice in choices
    ]
    return fields


def _client_logprobs(logprobs: msgspec.Raw, top_logprobs: int | None) -> object:
    """What is left of log-probabilities once those that only the gateway asked for are gone."""
    if top_logprobs is None:
        return None
    if top_logprobs >= EVIDENCE_TOP_LOGPROBS:
        return logprobs
    parsed = _client_tokens.decode(logprobs)
    if parsed is None:
        return None
    tokens: list[dict[str, object]] = [
        {**token, "top_logprobs": _tops.decode(token.get("top_logprobs", _empty))[:top_logprobs]}
        for token in _tokens.decode(parsed.get("content", _empty))
    ]
    return {**parsed, "content": tokens}
