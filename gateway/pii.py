"""The redactor `pii`: what can be told by its form, by DataFog Core (Rust, offline, linear time).

Names of people and places have no form and stay.  Dates and postal codes are left alone, because
too many numbers look like them.
"""

import re
from collections.abc import Iterator

from datafog_core import scan_and_transform

_KINDS = (
    "API_KEY",
    "BEARER_TOKEN",
    "CREDENTIAL_URI",
    "CREDIT_CARD",
    "DE_IBAN",
    "EMAIL",
    "IP_ADDRESS",
    "JWT",
    "PHONE",
    "PRIVATE_KEY",
    "SSN",
)
# Python computes nothing else while one text is scanned: with as much as this for a few
# milliseconds.
PIECE_CHARACTERS = 2**14
# Where a sentence ends, of letters: nothing that is found by its form goes on behind it.
_SENTENCE_END = re.compile(r"[^\W\d_]{2}[.!?]\s+(?=[^\W\d_])")


def redact(text: str) -> str:
    """The text with a mark such as ``[EMAIL]`` in place of each find."""
    return "".join(map(_redacted, _pieces(text)))


def _pieces(text: str) -> Iterator[str]:
    """A long text in pieces, each of whole sentences; longer ones where it has none."""
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        end = _SENTENCE_END.search(text, start + PIECE_CHARACTERS // 2)
        if end is None:
            break
        yield text[start : end.end()]
        start = end.end()
    yield text[start:]


def _redacted(text: str) -> str:
    found = scan_and_transform(
        text,
        config={
            "scan": {"locale": "de", "entities": _KINDS},
            "transform": {"default": {"strategy": "redact"}},
        },
    )
    return found.text
