"""A model server's chat completion as the client is given it.

Log-probabilities that only the gateway asked for are cut out of the reply's bytes, all others of
which stay as they came; where that cannot be proven right, the reply is written anew.
"""

import msgspec

from gateway.wire.chat import EVIDENCE_TOP_LOGPROBS, Chat
from gateway.wire.completion import Completion

_PROBE_BYTES = 48
# Each place that looks like the one may be compared at length: what a server makes of words that
# repeat each other is rather written anew.
_MOST_PLACES = 8
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_client_tokens = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_tokens = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
_tops = msgspec.json.Decoder(list[msgspec.Raw] | None)
_null = msgspec.Raw(b"null")


class _Edited(msgspec.Struct, gc=False):
    """What the client must find to be null in each choice."""

    logprobs: msgspec.Raw = msgspec.Raw()


class _EditedBody(msgspec.Struct, gc=False):
    choices: list[_Edited]
    model: msgspec.Raw = _null


_edited = msgspec.json.Decoder(_EditedBody)


def client_body(completion: Completion, chat: Chat) -> bytes:
    """The reply that the client gets: our model name, the log-probabilities it asked for."""
    if chat.top_logprobs is None and (body := _spliced(completion, chat.model)) is not None:
        return body
    return msgspec.json.encode(client_fields(completion, chat))


def _spliced(completion: Completion, model: str) -> bytes | None:
    """The reply without log-probabilities, its other bytes as they came; None where unsure.

    The model's name is looked for by its bytes, which may stand elsewhere too: what is left is read
    again, and shows its own model, or log-probabilities, where those are still there.
    """
    body, place, name = completion.body, completion.evidence_at, msgspec.json.encode(model)
    if place is not None:
        body = b"%bnull%b" % (body[: place[0]], body[place[1] :])
    elif any(choice.logprobs is not None for choice in completion.choices):
        return None
    body = _replaced(body, completion.sent_model, name)
    try:
        left = _edited.decode(body)
    except msgspec.DecodeError:  # a name that is no text stood in the midst of something else
        return None
    if bytes(left.model) != name:
        return None
    for choice in left.choices:
        if choice.logprobs != _null:
            return None
    return body


def _replaced(body: bytes, old: bytes, new: bytes) -> bytes:
    """The body with the first occurrence of ``old`` replaced, if there is one among the first few
    places that look like it."""
    # All of it would be prepared for the search, byte for byte, which takes longer than the rest.
    probe, start = old[:_PROBE_BYTES], -1
    for _ in range(_MOST_PLACES):
        start = body.find(probe, start + 1)
        if start < 0:
            break
        if body.startswith(old, start):
            return b"".join((body[:start], new, body[start + len(old) :]))
    return body


def client_fields(completion: Completion, chat: Chat) -> dict[str, object]:
    """The top level that the client gets: our model name, the log-probabilities it asked for."""
    fields: dict[str, object] = {**_fields.decode(completion.body)}
    choices = _choices.decode(fields["choices"])  # type: ignore[arg-type]  # a Raw is a buffer
    fields["model"] = chat.model
    fields["choices"] = [
        {**choice, "logprobs": client_logprobs(choice.get("logprobs", _null), chat.top_logprobs)}
        for choice in choices
    ]
    return fields


def client_logprobs(logprobs: msgspec.Raw, top_logprobs: int | None) -> object:
    """What is left of log-probabilities once those that only the gateway asked for are gone."""
    if top_logprobs is None:
        return None
    if top_logprobs >= EVIDENCE_TOP_LOGPROBS:
        return logprobs
    try:
        parsed = _client_tokens.decode(logprobs)
        if parsed is None:
            return None
        return {name: _trimmed(entries, top_logprobs) for name, entries in parsed.items()}
    except msgspec.ValidationError:
        return None  # what cannot be read cannot be cut to what was asked for


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
