"""When two prompts are the same, and on which side of the split a prompt lies for ever.

A prompt is its messages.  Tools and parameters are no part of it: the same words never stand on
both sides of a split, whatever else was asked with them.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

# Another way to normalise is another number: hashes of the one say nothing of the other.
NORMALISATION = "p1"
_HASH_CHARACTERS = 32
_SIDE_CHARACTERS = 16

# OpenAI's newer name for the same role.
_ROLES = {"developer": "system"}


class _Request(msgspec.Struct):
    messages: list[dict[str, Any]]


_request = msgspec.json.Decoder(_Request)


def prompt_hash(request: bytes) -> str | None:
    """What tells prompts apart, of a request's JSON; None where it has no messages."""
    try:
        messages = _request.decode(request).messages
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    told = msgspec.json.encode(list(_told(messages)), order="sorted")
    return f"{NORMALISATION}:{hashlib.sha256(told).hexdigest()[:_HASH_CHARACTERS]}"


def normalised_words(text: str) -> str:
    """The text as prompts are compared: Unicode's compatibility forms, case and blanks evened."""
    if not text.isascii():
        # Folding case can leave what composes again.
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(text.casefold().split())


def is_holdout(hashed: str, share: float) -> bool:
    """Whether a prompt belongs to the holdout, of which ``share`` in [0, 1] is the size.

    By its hash alone: no other pair moves it, and a larger share only adds to the holdout.
    """
    digits = hashed.rpartition(":")[2][:_SIDE_CHARACTERS]
    return int(digits, 16) < share * 2.0 ** (4 * len(digits))


def _told(messages: Iterable[Mapping[str, Any]]) -> Iterable[object]:
    """What counts of each message.  Names of calls do not: every client makes up its own."""
    for message in messages:
        role = message.get("role")
        told: list[object] = [_ROLES.get(role, role) if isinstance(role, str) else role]
        told.append(_content(message.get("content")))
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls:
            told.append([call.get("function") for call in calls if isinstance(call, dict)])
        yield told


def _content(content: object) -> object:
    """Words that were cut into parts are the same words; an image is what it is."""
    if isinstance(content, str):
        return normalised_words(content)
    if not isinstance(content, list):
        return content
    words: list[str] = []
    others: list[object] = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else None
        (words if isinstance(text, str) else others).append(text if isinstance(text, str) else part)
    joined = normalised_words("\n".join(words))
    return [joined, *others] if others else joined
