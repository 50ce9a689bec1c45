"""How far two answers are the same JSON."""

import json
import math
import re
import unicodedata
from typing import Any

from routing.comparators.asking import DIFFERENT, SAME, Comparator, Plain, Question
from routing.comparators.texts import same_words

# Where JSON stands within words, it is looked for at so many opening brackets.
MOST_OPENINGS = 32
_FENCED = re.compile(r"```[a-zA-Z]*[ \t]*\n(.*?)```", re.DOTALL)
_decoder = json.JSONDecoder()


class _Nothing:
    """There is no JSON in the text."""


def same_json(at_least: float = SAME) -> Comparator:
    """The share of fields in which two JSON values agree, of all fields that either has.

    A field is whatever holds no other value: a number, a text, true, null, an empty list.  Texts
    are equal where their characters are, numbers where their values are, lists place by place; the
    order of keys means nothing.  Without JSON in either answer the normalised texts are compared.
    """
    return Plain("json-1", _share_of_fields, at_least)


def _share_of_fields(question: Question, left: str, right: str) -> float:
    try:
        value, other = json_in(left), json_in(right)
        if isinstance(value, _Nothing) and isinstance(other, _Nothing):
            return same_words(question, left, right)
        if isinstance(value, _Nothing) or isinstance(other, _Nothing):
            return DIFFERENT
        same, fields = _agreement(value, other)
    except RecursionError:  # JSON of a depth that no one answers with
        return DIFFERENT
    return same / fields


def json_in(text: str) -> Any:
    """The JSON in an answer: all of it, its first fenced block, or the first object or list in it.

    Raises RecursionError where it is nested too deeply.
    """
    for part in (text, *_FENCED.findall(text)[:1]):
        try:
            return _decoder.decode(part.strip())
        except ValueError:
            continue
    for found in list(re.finditer(r"[{\[]", text))[:MOST_OPENINGS]:
        try:
            return _decoder.raw_decode(text, found.start())[0]
        except ValueError:
            continue
    return _Nothing()


def _agreement(left: Any, right: Any) -> tuple[int, int]:
    """In how many fields two values agree, of how many."""
    pairs: list[tuple[Any, Any]] | None = None
    if isinstance(left, dict) and isinstance(right, dict) and left and right:
        keys = left.keys() | right.keys()
        pairs = [(left.get(key, _Nothing()), right.get(key, _Nothing())) for key in keys]
    elif isinstance(left, list) and isinstance(right, list) and left and right:
        longest = max(len(left), len(right))
        padded = ([*each, *[_Nothing()] * (longest - len(each))] for each in (left, right))
        pairs = list(zip(*padded, strict=True))
    if pairs is None:
        same = _is_equal(left, right)
        return same, 1 if same else max(_fields(left), _fields(right))
    counts = [_agreement(*pair) for pair in pairs]
    return sum(same for same, _ in counts), sum(fields for _, fields in counts)


def _fields(value: Any) -> int:
    if isinstance(value, dict) and value:
        return sum(map(_fields, value.values()))
    if isinstance(value, list) and value:
        return sum(map(_fields, value))
    return 1


def _is_equal(left: Any, right: Any) -> bool:
    """Whether two values, of which at least one holds no other, are the same."""
    if isinstance(left, str) and isinstance(right, str):
        return unicodedata.normalize("NFC", left) == unicodedata.normalize("NFC", right)
    if _is_number(left) and _is_number(right):
        return bool(left == right) or (math.isnan(left) and math.isnan(right))
    return type(left) is type(right) and not isinstance(left, _Nothing) and bool(left == right)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
