"""A model server's chat completion: what is read of it, and what the client is given.

Only what the gateway needs is decoded; the rest of the body is carried over undecoded, so that
fields nobody here has heard of reach the client as they came.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

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


class _Loose(msgspec.Struct):
    choices: list[dict[str, msgspec.Raw]]
    usage: msgspec.Raw = msgspec.Raw(b"null")


_T = TypeVar("_T")

# More tokens than any call can have: such a count is a fault, and no basis for a bill.
MAX_TOKENS = 2**40
# How an answer ends that was not broken off by the server.
_WHOLE = frozenset({None, "stop", "length", "tool_calls", "function_call", "content_filter"})

_completion = msgspec.json.Decoder(_Completion)
_loose = msgspec.json.Decoder(_Loose)
_message = msgspec.json.Decoder(_Message)
_logprobs = msgspec.json.Decoder(_Logprobs | None)
_usage_part = msgspec.json.Decoder(_Usage | None)
_text = msgspec.json.Decoder(str | None)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_client_tokens = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_tokens = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
_tops = msgspec.json.Decoder(list[msgspec.Raw] | None)
_null = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class Completion:
    """One upstream reply: ``body`` as the server sent it; ``usage`` is None where it gave none."""

    body: bytes
    choices: Sequence[_Choice]
    usage: Usage | None


def read_completion(body: bytes) -> Completion:
    """Decode a reply.  Raises ValueError where it is no completion with at least one choice."""
    body.decode()  # what passes undecoded goes into pairs too, where it must be readable
    try:
        parsed = _completion.decode(body)
    except msgspec.ValidationError:
        parsed = _salvaged(body)
    if not parsed.choices:
        raise ValueError("a completion without choices")
    return Completion(body=body, choices=parsed.choices, usage=_usage(parsed.usage))


def _salvaged(body: bytes) -> _Completion:
    """An answer of which a part is not as it should be: that part is unknown, the rest counts."""
    loose = _loose.decode(body)
    choices = []
    for choice in loose.choices:
        if "message" not in choice:
            raise ValueError("a choice without a message")
        message = _part(_message, choice["message"]) or _Message()
        logprobs = _part(_logprobs, choice.get("logprobs", _null))
        choices.append(_Choice(message, logprobs, _part(_text, choice.get("finish_reason", _null))))
    return _Completion(choices, _part(_usage_part, loose.usage))


def _part(decoder: msgspec.json.Decoder[_T], raw: msgspec.Raw) -> _T | None:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        return None


def _usage(usage: _Usage | None) -> Usage | None:
    """What the bill rests on; None where counts are missing, absurd or contradict each other."""
    if usage is None or max(usage.prompt_tokens, usage.completion_tokens) > MAX_TOKENS:
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
        return None


def drafts_of(completion: Completion, chat: Chat) -> tuple[Draft, ...]:
    """The evidence about each choice, in the words of the core."""
    is_complete = len(completion.choices) >= chat.choices
    return tuple(
        _draft(choice, is_json_wanted=chat.is_json_wanted, is_complete=is_complete)
        for choice in completion.choices
    )


def _draft(choice: _Choice, *, is_json_wanted: bool, is_complete: bool) -> Draft:
    tokens = _answer_tokens(choice)
    structure = _structure(choice.message, is_json_wanted=is_json_wanted)
    if not is_complete or choice.finish_reason not in _WHOLE:
        structure = Structure.INVALID
    # Lists inside: a tuple of a generator costs twice as much, here for every token.
    return Draft(
        token_logprobs=tuple([token.logprob for token in tokens]),
        top_logprobs=tuple(
            [tuple([top.logprob for top in token.top_logprobs or ()]) for token in tokens]
        ),
        structure=structure,
    )


def _answer_tokens(choice: _Choice) -> Sequence[_Token]:
    """The tokens that the client reads: no end-of-sequence or stop token, no reasoning."""
    tokens: Sequence[_Token] = (choice.logprobs and choice.logprobs.content) or ()
    content = choice.message.content or ""
    if tokens and choice.finish_reason != "length":
        last = tokens[-1].token  # vLLM names the end token, llama.cpp gives it no text
        tokens = tokens if last and content.endswith(last) else tokens[:-1]
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
    return {name: _trimmed(entries, top_logprobs) for name, entries in parsed.items()}


def _trimmed(entries: msgspec.Raw, most: int) -> object:
    """One list of tokens (``content`` or ``refusal``), each with at most so many candidates."""
    tokens = _tokens.decode(entries)
    if tokens is None:
        return None
    trimmed: list[dict[str, object]] = []
    for token in tokens:
        candidates = _tops.decode(token.get("top_logprobs", _null)) or []
        trimmed.append({**token, "top_logprobs": candidates[:most]})
    return trimmed
