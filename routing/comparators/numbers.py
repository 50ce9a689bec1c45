"""The number that an answer comes down to, and whether two of them are the same.

It is read from the answer's last ``\\boxed{}`` where there is one, else from what follows the last
``####``, else it is the last number in the text.  What follows a number, its unit, is not read.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from routing.comparators.asking import DIFFERENT, SAME, Comparator, Plain, Question
from routing.comparators.texts import same_words, unified

# A number with more digits is none; Python itself refuses to read 4,300.
MOST_DIGITS = 300
MOST_EXPONENT = 400
MOST_POWER = 64

_SCALES = {
    "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "lakh": 10**5, "crore": 10**7,
    "\u4e07": 10**4, "\u842c": 10**4, "\u5104": 10**8, "\u4ebf": 10**8,
}  # fmt: skip
_CURRENCY = r"(?:[$\u20ac\u00a3\u00a5\u20b9]|\b(?:rs|usd|eur|gbp|inr|chf|cad|aud|jpy|cny)\.?)[ ]?"
_NUMBER = re.compile(
    rf"""
    (?P<sign> (?<! [0-9a-z)\]%] ) [-+] )?
    (?: {_CURRENCY} | (?<! [a-z] ) )
    (?: (?P<late_sign> (?<! [0-9a-z)\]%] ) [-+] ) )?
    (?P<digits>
        (?P<whole> \d{{1,9}} )[ ](?= \d{{1,9}}/\d{{1,9}} (?! [\d/] ) ) (?P<numerator> \d{{1,9}} )
      | \d{{1,3}} (?: [ '_] \d{{3}} )+ (?! \d ) (?: [.,]\d+ )?
      | \d [\d.,]* (?<= \d )
      | [.,]\d+
    )
    (?: e (?P<exponent> [-+]?\d{{1,3}} ) (?! \d ) )?
    (?: [ ]?[x*\u00d7\u00b7][ ]?10\^\{{? (?P<power> [-+]?\d{{1,3}} ) \}}? )?
    (?: \^\{{? (?P<raised> [-+]?\d{{1,3}} ) \}}? )?
    (?: [ ]?/[ ]? (?P<denominator> \d{{1,9}} ) (?! [\d/.,]*\d ) )?
    (?P<percent> [ ]?% )?
    (?: [ ]? (?P<scale> (?:thousand|million|billion|trillion|lakh|crore)(?![a-z])
        | [\u4e07\u842c\u5104\u4ebf] ) )?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_FRAC = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_TEX = (("{,}", ","), ("\\,", ""), ("\\!", ""), ("\\;", ""), ("\\%", "%"), ("\\$", "$"))
_BOXED = "\\boxed{"
_RULED = "####"


@dataclass(frozen=True, slots=True)
class Found:
    """A number, and whether a per cent sign followed it."""

    value: Fraction
    is_percent: bool


@dataclass(frozen=True, slots=True)
class Closeness:
    """How far apart two numbers may be, and which mark stands before decimals where it is unclear.

    Either tolerance is enough: ``absolute``, or ``relative`` to the larger of the two.
    """

    absolute: Fraction = Fraction(0)
    relative: Fraction = Fraction(0)
    decimal_mark: str = "."


def same_number(closeness: Closeness = Closeness()) -> Comparator:
    """Same are answers that come down to the same number.

    Without a number in either, the normalised texts are compared; with one in only one, they
    differ.  5% is the same as 5 and as 0.05, as nobody can tell which of them was asked for.
    """

    def measure(question: Question, left: str, right: str) -> float:
        found, other = (number_in(text, closeness.decimal_mark) for text in (left, right))
        if found is None and other is None:
            return same_words(question, left, right)
        if found is None or other is None:
            return DIFFERENT
        return SAME if _are_same(found, other, closeness) else DIFFERENT

    tolerances = f"{float(closeness.absolute):g},{float(closeness.relative):g}"
    return Plain(f"number-1({tolerances},{closeness.decimal_mark})", measure)


def _are_same(left: Found, right: Found, closeness: Closeness) -> bool:
    if _are_close(left.value, right.value, closeness):
        return True
    if left.is_percent is right.is_percent:
        return False
    percent, plain = (left, right) if left.is_percent else (right, left)
    return _are_close(percent.value / 100, plain.value, closeness)


def _are_close(left: Fraction, right: Fraction, closeness: Closeness) -> bool:
    margin = closeness.relative * max(abs(left), abs(right))
    return abs(left - right) <= max(closeness.absolute, margin)


def number_in(text: str, decimal_mark: str = ".") -> Found | None:
    """The number that a text comes down to; None where it holds none.

    "1,234" is a thousand and some where ``decimal_mark`` is ".", and "1.234" where it is ",".  All
    that is clear in itself is read as it is: 1.234.567,89 and 1,234,567.89, 3,14 and 3.14.
    """
    for part in _parts(text):
        for found in reversed(list(_NUMBER.finditer(part))):
            number = _read(found, part, decimal_mark)
            if number is not None:
                return number
    return None


def _parts(text: str) -> list[str]:
    """Where to look, in that order."""
    parts = []
    start = text.rfind(_BOXED)
    if start >= 0:
        parts.append(_in_braces(text[start + len(_BOXED) :]))
    if _RULED in text:
        parts.append(text.rpartition(_RULED)[2])
    return [_without_tex(unified(part)) for part in (*parts, text)]


def _in_braces(text: str) -> str:
    """Up to the brace that closes one before the text."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[:place]
    return text


def _without_tex(text: str) -> str:
    if "\\" not in text and "{,}" not in text:
        return text
    text = _FRAC.sub(r"\1/\2", text)
    for tex, plain in _TEX:
        text = text.replace(tex, plain)
    return text


def _read(found: re.Match[str], text: str, decimal_mark: str) -> Found | None:
    if found["numerator"] is not None and found["denominator"] is not None:
        value = _divided(Fraction(int(found["numerator"])), int(found["denominator"]))
        value = None if value is None else value + int(found["whole"])
    elif found["denominator"] is not None and text[: found.start()].endswith("/"):
        value = Fraction(int(found["denominator"]))  # the last part of a date
    else:
        value = _plain_value(found, decimal_mark)
    if value is None:
        return None
    if found["scale"] is not None:
        value *= _SCALES[found["scale"].lower()]
    is_negative = "-" in (found["sign"], found["late_sign"])
    return Found(-value if is_negative else value, found["percent"] is not None)


def _plain_value(found: re.Match[str], decimal_mark: str) -> Fraction | None:
    value = _numeral(found["digits"], decimal_mark)
    if value is None:
        return None
    for name in ("exponent", "power"):
        if found[name] is not None:
            exponent = int(found[name])
            if abs(exponent) > MOST_EXPONENT:
                return None
            value *= Fraction(10) ** exponent
    if found["raised"] is not None:
        exponent = int(found["raised"])
        if abs(exponent) > MOST_POWER or (value == 0 and exponent < 0):
            return None
        value = value**exponent
    if found["denominator"] is not None:
        return _divided(value, int(found["denominator"]))
    return value


def _divided(value: Fraction, by: int) -> Fraction | None:
    return value / by if by else None


def _numeral(digits: str, decimal_mark: str) -> Fraction | None:
    """The value of digits with marks between them; the last part where the marks make no sense."""
    digits = re.sub("[ '_]", "", digits)
    if len(digits) > MOST_DIGITS:
        return None
    marks = re.findall("[.,]", digits)
    if not marks:
        return Fraction(int(digits))
    last = marks[-1]
    head, _, tail = digits.rpartition(last)
    if len(set(marks)) == 2:
        is_decimal = True
    elif len(marks) > 1:
        is_decimal = False
    else:
        looks_grouped = len(tail) == 3 and 1 <= len(head) <= 3 and not head.startswith("0")
        is_decimal = last == decimal_mark or not looks_grouped
    is_unclear = is_decimal and last in head
    whole = None if is_unclear else _grouped(head if is_decimal else digits)
    if whole is None:
        return Fraction(int(tail))
    return Fraction(whole) + (Fraction(int(tail), 10 ** len(tail)) if is_decimal else 0)


def _grouped(digits: str) -> int | None:
    """A whole number whose groups, if it has any, are of three digits, or of two and then three."""
    first, *groups = re.split("[.,]", digits)
    if not groups:
        return int(first or "0")
    is_sound = (
        1 <= len(first) <= 3
        and len(groups[-1]) == 3
        and len({len(group) for group in groups[:-1]} - {2, 3}) == 0
        and len({len(group) for group in groups[:-1]}) <= 1
    )
    return int(first + "".join(groups)) if is_sound else None
