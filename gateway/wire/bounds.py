"""How much one request may ask for: checked before it is understood, and again once it is.

It knows no cascade and no key: what is allowed is an argument.
"""

from dataclasses import dataclass

from msgspec import Struct

from gateway.errors import ArrayTooLong, BodyTooLarge, ValueTooLarge

_MEMBERS = (b"{", b"[", b":")
_ENTRY = b","
_OTHERS = bytes(set(range(256)) - set(b'{[:,"'))
_STRETCH_BYTES = 64 * 2**10


def refuse_crowd(body: bytes, members: int, entries: int) -> None:
    """Raise BodyTooLarge where a body holds more than that.

    ``members`` are objects, arrays and named values, ``entries`` those that stand behind others in
    their array or object.  Each becomes an object of Python's, so that a few megabytes of tiny ones
    would hold up everybody else.  They are counted without being read, and no further than the
    bound; text counts for nothing, whatever it says.
    """
    if len(body) <= min(members, entries):
        return
    if sum(map(body.count, _MEMBERS)) <= members and body.count(_ENTRY) <= entries:
        return
    # Escaped quotes end no string.  Backslashes are in strings only, and go in pairs from the left.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    found = found_entries = is_in_string = 0
    for start in range(0, len(plain), _STRETCH_BYTES):
        pieces = plain[start : start + _STRETCH_BYTES].translate(None, _OTHERS).split(b'"')
        outside = b"".join(pieces[is_in_string::2])
        is_in_string ^= (len(pieces) - 1) % 2
        found += sum(map(outside.count, _MEMBERS))
        found_entries += outside.count(_ENTRY)
        if found > members:
            raise BodyTooLarge(
                f"The body has more than the {members} objects, arrays and named values allowed."
            )
        if found_entries > entries:
            raise BodyTooLarge(f"The body has lists of more than the {entries} entries allowed.")


class Size(Struct, frozen=True):
    """What a request came with: messages, or prompts; content parts of all messages; tools; and how
    many tokens an answer may have, in the client's words for it, 0 where it does not say."""

    messages: int = 1
    parts: int = 0
    tools: int = 0
    max_tokens: int = 0
    max_completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a request may come with, and how many answers, how long, it may ask for."""

    messages: int = 4096
    parts: int = 4096
    tools: int = 1024
    choices: int = 128
    tokens: int = 2**20

    def check(self, size: Size, choices: int) -> None:
        """Raise ArrayTooLong or ValueTooLarge for the first bound that is passed."""
        if size.messages > self.messages:
            raise _too_long("messages", "entries", size.messages, self.messages)
        if size.parts > self.parts:
            raise _too_long("messages", "content parts in all", size.parts, self.parts)
        if size.tools > self.tools:
            raise _too_long("tools", "entries", size.tools, self.tools)
        if choices > self.choices:
            raise _too_large("n", "answers", choices, self.choices)
        if size.max_tokens > self.tokens:
            raise _too_large("max_tokens", "tokens", size.max_tokens, self.tokens)
        if size.max_completion_tokens > self.tokens:
            most = size.max_completion_tokens
            raise _too_large("max_completion_tokens", "tokens", most, self.tokens)


def _too_long(param: str, what: str, found: int, most: int) -> ArrayTooLong:
    return ArrayTooLong(_words(param, what, found, most), param=param)


def _too_large(param: str, what: str, found: int, most: int) -> ValueTooLarge:
    return ValueTooLarge(_words(param, what, found, most), param=param)


def _words(param: str, what: str, found: int, most: int) -> str:
    return f"Invalid '{param}': {found} {what}, and {most} are allowed."
