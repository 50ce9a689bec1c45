"""JSON that passes undecoded: what must hold before it is put inside other JSON, or on one line."""

import msgspec

# Python reads JSON some 900 levels deep.  What passes is later wrapped in a pair and in a journal
# line, so it is refused while this many levels are still to spare.
HEADROOM = 64
# So few brackets cannot nest too deep, and nearly every body has so few.
_SURELY_SHALLOW = 512

_any = msgspec.json.Decoder(msgspec.Raw)
_anything = msgspec.json.Decoder()


def is_too_deep(body: bytes) -> bool:
    """Whether valid JSON nests so deep that it could not be read again inside other JSON."""
    if len(body) <= _SURELY_SHALLOW or body.count(b"[") + body.count(b"{") <= _SURELY_SHALLOW:
        return False
    try:
        _any.decode(b"[" * HEADROOM + body + b"]" * HEADROOM)
    except RecursionError:
        return True
    return False


def check_readable(body: bytes) -> None:
    """Read JSON down to its last value: what passes undecoded is no more than skipped before.

    Raises DecodeError for a number that is beyond what readers hold, UnicodeDecodeError and
    RecursionError.
    """
    try:
        _anything.decode(body)
    except msgspec.ValidationError:
        raise msgspec.DecodeError("a number in it is out of range") from None


def one_line(body: bytes) -> bytes:
    """Take out line breaks: JSON has them between tokens only, and they end a line elsewhere."""
    return body.replace(b"\r", b" ").replace(b"\n", b" ")
