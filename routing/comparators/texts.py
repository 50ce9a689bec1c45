"""Texts that say the same in different characters.

Nothing here knows a language: articles and inflections stay, because what is an article in one
language is a name in another ("The Who", "vitamin A").
"""

import re
import unicodedata

from routing.comparators.asking import DIFFERENT, SAME, Comparator, Plain, Question

_QUOTES = dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u2032\u2039\u203a\u00b4`\u02bc"), "'")
_DOUBLE = dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\u300c\u300d"), '"')
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63"), "-")
_MARKS = {0x066B: ".", 0x066C: ",", 0x060C: ",", 0x3001: ",", 0x2044: "/", 0x2215: "/"}
_SPELLINGS = {**_QUOTES, **_DOUBLE, **_DASHES, **_MARKS}

_CLOSING = ".,;:!?\u3002\u061f\u061b\u0964\u06d4\u2026"
_OPENING = "\u00bf\u00a1"
# Taken off where they stand at both ends.
_AROUND = ('"', "'", "**", "__", "*", "_", "$")
_SUPERSCRIPTS = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u207b]+")


def exact_text() -> Comparator:
    """Same are texts that are equal but for blanks around them."""
    return Plain("exact-1", lambda _, left, right: _equal(left.strip(), right.strip()))


def normalised_text() -> Comparator:
    """Same are texts whose normalised forms are equal: for short answers."""
    return Plain("normalised-1", same_words)


def same_words(_question: Question, left: str, right: str) -> float:
    """1 where the normalised texts are equal, else 0."""
    return _equal(normalised(left), normalised(right))


def _equal(left: str, right: str) -> float:
    return SAME if left == right else DIFFERENT


def unified(text: str) -> str:
    """The text in one spelling for each character, case and punctuation untouched.

    Unicode's compatibility forms (NFKC), decimal digits of every script as 0-9, one kind of quote,
    dash and blank, no invisible characters.  Raised digits become ``^2``, so that 10² is not 102,
    and fractions stand apart, so that 1½ is not 11/2.
    """
    if text.isascii():
        return " ".join(text.replace("`", "'").split())
    text = _SUPERSCRIPTS.sub(lambda found: "^" + unicodedata.normalize("NFKC", found[0]), text)
    text = "".join(map(_spelled, text))
    text = unicodedata.normalize("NFKC", text).translate(_SPELLINGS)
    return " ".join(text.split())


def _spelled(character: str) -> str:
    if character < "\u0080":
        return character
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "No" and unicodedata.decomposition(character).startswith("<fraction>"):
        return f" {character}"
    return character


def normalised(text: str) -> str:
    """The text without what does not change a short answer.

    As ``unified``, without case, and at its ends without quotes, emphasis, round brackets and
    sentence marks.  Signs, units and all that stands inside stay: -5, 5%, C#, 3.5 and 5! are not
    5, C, 35 and 5.  Accents stay too.  Where nothing would be left, the marks stay.
    """
    before = None
    while text != before:
        before = text
        text = unicodedata.normalize("NFC", unified(unified(text).casefold()))
        text = _bare(text) or text
    return text


def _bare(text: str) -> str:
    """Without what stands around it, layer by layer."""
    before = None
    while text != before:
        before = text
        text = _without_marks(text)
        for mark in _AROUND:
            if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
                text = text[len(mark) : -len(mark)].strip()
        if _is_in_brackets(text):
            text = text[1:-1].strip()
    return text


def _without_marks(text: str) -> str:
    text = text.lstrip(_OPENING).strip()
    bare = text.rstrip(_CLOSING)
    # A factorial is no exclamation.
    is_factorial = bare[-1:].isdigit() and text[len(bare) : len(bare) + 1] == "!"
    return (bare + "!" if is_factorial else bare).rstrip()


def _is_in_brackets(text: str) -> bool:
    """Whether the first bracket is closed by the very last one."""
    if len(text) < 3 or text[0] != "(" or text[-1] != ")":
        return False
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place == len(text) - 1
    return False
