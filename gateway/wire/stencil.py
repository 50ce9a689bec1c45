"""What a server writes around the parts that change, in all chunks of one stream that are alike.

From token to token a chunk differs in a few values: the text, its log-probabilities, the usage so
far.  A stencil is what stands before, between and behind them, byte by byte.  It is drawn from one
chunk and proven there; a later chunk fits it or it does not, and one that does not is for others to
read.  Bytes alone are compared here: whoever uses a cut still reads the values that lie in it.
"""

import re
from collections.abc import Mapping

import msgspec

_NULL = msgspec.Raw(b"null")
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])

_CONTENT = re.compile(rb'"content"\s*:\s*')
_LOGPROBS = re.compile(rb'"logprobs"\s*:\s*')
_USAGE = re.compile(rb'"usage"\s*:\s*')
# Values that no server sends, put into the holes to see that they come out where they should.
MARKED_CONTENT = b'"\xef\xbf\xbe content \xef\xbf\xbe"'
MARKED_LOGPROBS = b'{"\xef\xbf\xbe logprobs \xef\xbf\xbe":[]}'
_MARKED_USAGE = b'{"\xef\xbf\xbe usage \xef\xbf\xbe":[]}'


# A struct and no dataclass: one is made for every token.
class Cut(msgspec.Struct, gc=False):
    """Where text and log-probabilities end, before their last byte; 0 where there are none."""

    content: int
    logprobs: int = 0


# The text, the log-probabilities and the usage as they are written; empty where there are none.
Parts = tuple[Cut, bytes, bytes, bytes]


class Stencil:
    """The bytes around the parts of one stream's chunks: text first, then what there is of others.

    ``has_logprobs`` and ``has_usage`` say which parts there are besides the text.  Those that fit
    are alike in everything else, and two stencils are the same only where they are one object.
    """

    __slots__ = (
        "_after_content",
        "_after_logprobs",
        "_after_usage",
        "_before",
        "_content",
        "_content_gap",
        "_last",
        "_last_gap",
        "_logprobs_gap",
        "has_logprobs",
        "has_usage",
    )

    def __init__(
        self, before: bytes, after_content: bytes, after_logprobs: bytes, after_usage: bytes
    ) -> None:
        """The last two are empty where there is no such part.

        The others hold the quotes and brackets in which the parts begin and end.
        """
        self.has_logprobs = bool(after_logprobs)
        self.has_usage = bool(after_usage)
        self._before = before
        self._after_content = after_content
        self._after_logprobs = after_logprobs
        self._after_usage = after_usage
        self._last = after_usage or after_logprobs or after_content
        self._content = len(before)
        self._content_gap = len(after_content)
        self._logprobs_gap = len(after_logprobs)
        self._last_gap = len(self._last)

    def parts(self, body: bytes) -> Parts | None:
        """The parts of a chunk; None where it does not fit.

        A part is what stands between the bytes that are known, with its quotes or brackets, which
        are among them; whether it is one value and no more, its reader sees.
        """
        if not (body.startswith(self._before) and body.endswith(self._last)):
            return None
        start, end = self._content, len(body) - self._last_gap
        if not (self.has_logprobs or self.has_usage):
            return Cut(end), body[start - 1 : end + 1], b"", b""
        content = body.find(self._after_content, start)
        if content < 0:
            return None
        text, start = body[start - 1 : content + 1], content + self._content_gap
        if not self.has_usage:
            return Cut(content, end), text, body[start - 1 : end + 1], b""
        if not self.has_logprobs:
            return Cut(content), text, b"", body[start - 1 : end + 1]
        logprobs = body.rfind(self._after_logprobs, start)  # from behind, where less is to be seen
        if logprobs < 0:
            return None
        told, start = body[start - 1 : logprobs + 1], logprobs + self._logprobs_gap
        return Cut(content, logprobs), text, told, body[start - 1 : end + 1]

    def content(self, body: bytes, cut: Cut) -> bytes:
        """The text as it is written, with its quotes."""
        return body[self._content - 1 : cut.content + 1]

    def logprobs(self, body: bytes, cut: Cut) -> bytes:
        """The log-probabilities as they are written; only where ``has_logprobs``."""
        return body[cut.content + self._content_gap - 1 : cut.logprobs + 1]

    def usage(self, body: bytes, cut: Cut) -> bytes:
        """The usage as it is written; only where ``has_usage``."""
        before = cut.content + self._content_gap
        if self.has_logprobs:
            before = cut.logprobs + self._logprobs_gap
        return body[before - 1 : len(body) - self._last_gap + 1]

    def filled(self, content: bytes, logprobs: bytes, usage: bytes) -> bytes:
        """A chunk with these values as its parts; those that it does not have are left out."""
        parts = [self._before, content[1:-1], self._after_content]
        if self.has_logprobs:
            parts += [logprobs[1:-1], self._after_logprobs]
        if self.has_usage:
            parts += [usage[1:-1], self._after_usage]
        return b"".join(parts)

    def marked(self) -> bytes:
        """A chunk whose text and log-probabilities are found again wherever they are carried."""
        return self.filled(MARKED_CONTENT, MARKED_LOGPROBS, _MARKED_USAGE)


def stencil_of(body: bytes) -> Stencil | None:
    """The stencil of a valid chunk with text; None where it cannot be drawn, or not for sure.

    What grows from chunk to chunk beside the text has no place in one: a delta may have a role and
    nulls, and a choice no ``token_ids``.
    """
    try:
        fields = _fields.decode(body)
        choice = _choices.decode(fields["choices"])[0]
        delta = _fields.decode(choice["delta"])
        found = _drawn(body, fields, choice, delta)
        return found if found is not None and _is_proven(found, body) else None
    except (LookupError, ValueError, RecursionError):
        return None


def _drawn(
    body: bytes,
    fields: Mapping[str, msgspec.Raw],
    choice: Mapping[str, msgspec.Raw],
    delta: Mapping[str, msgspec.Raw],
) -> Stencil | None:
    """What looks like the stencil of the chunk; whether it is one is still to be seen."""
    if any(value != _NULL for name, value in delta.items() if name not in ("role", "content")):
        return None
    if choice.get("token_ids", _NULL) != _NULL:
        return None
    start = _place(body, body.find(choice["delta"]), _CONTENT, delta["content"])
    place, gaps = start + len(delta["content"]), [body[: start + 1], b"", b"", b""]
    last = 1
    others = ((_LOGPROBS, choice.get("logprobs", _NULL)), (_USAGE, fields.get("usage", _NULL)))
    for number, (name, value) in enumerate(others, 2):
        if value != _NULL:
            found = _place(body, place, name, value)
            gaps[last] = body[place - 1 : found + 1]
            last, place = number, found + len(value)
    gaps[last] = body[place - 1 :]
    return Stencil(*gaps)


def _place(body: bytes, start: int, name: re.Pattern[bytes], value: msgspec.Raw) -> int:
    """Where the value of that name begins.  Raises LookupError."""
    for found in name.finditer(body, max(start, 0)):
        if body.startswith(bytes(value), found.end()):
            return found.end()
    raise LookupError


def _is_proven(stencil: Stencil, body: bytes) -> bool:
    """Whether the holes are where the values stand, and nothing else of the chunk is in them.

    Values that mark them are put in: where these are read as the parts, and all the rest as it was,
    any other values would be too.
    """
    marked = stencil.filled(MARKED_CONTENT, MARKED_LOGPROBS, _MARKED_USAGE)
    was, now = _taken_apart(body), _taken_apart(marked)
    was |= {"content": msgspec.Raw(MARKED_CONTENT)}
    if stencil.has_logprobs:
        was["logprobs"] = msgspec.Raw(MARKED_LOGPROBS)
    if stencil.has_usage:
        was["usage"] = msgspec.Raw(_MARKED_USAGE)
    return was == now and stencil.parts(body) is not None


def _taken_apart(body: bytes) -> dict[str, object]:
    """The parts by name; and everything else, in its order."""
    fields: dict[str, object] = {**_fields.decode(body)}
    first, *others = _choices.decode(fields["choices"])  # type: ignore[arg-type]  # a Raw is a buffer
    choice: dict[str, object] = {**first}
    delta: dict[str, object] = {**_fields.decode(first["delta"])}
    parts: dict[str, object] = {
        "content": delta["content"],
        "logprobs": choice.get("logprobs"),
        "usage": fields.get("usage"),
    }
    delta["content"] = choice["delta"] = fields["choices"] = None
    if parts["logprobs"] is not None:
        choice["logprobs"] = None
    if parts["usage"] is not None:
        fields["usage"] = None
    rest = [list(each.items()) for each in (fields, choice, delta)]
    return {**parts, "rest": rest, "others": others}
