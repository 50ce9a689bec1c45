from fractions import Fraction

import pytest

from routing.comparators import Closeness, Question, Score, number_in, same_number
from routing.comparators.numbers import MOST_DIGITS


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        ("The answer is 1,234.", 1234),
        ("first 3, then 4, so 7 apples", 7),
        ("\u22125 \u00b0C", -5),
        ("-5", -5),
        ("10-5", 5),
        ("between 3\u20135", 5),
        ("$-5.50", Fraction(-11, 2)),
        ("-$5.50", Fraction(-11, 2)),
        ("x=-5", -5),
        ("\u7b54\u6848\u662f-5\u4e2a", -5),
        # Groups and decimals, in many countries' ways.
        ("1.234.567,89", Fraction(123456789, 100)),
        ("1,234,567.89", Fraction(123456789, 100)),
        ("1\u202f234\u202f567,89", Fraction(123456789, 100)),
        ("10 000 kr", 10_000),
        ("1'234.5", Fraction(2469, 2)),
        ("12,34,567", 1_234_567),
        ("3,14", Fraction(157, 50)),
        ("0,123", Fraction(123, 1000)),
        ("1.234", Fraction(1234, 1000)),
        (".5", Fraction(1, 2)),
        ("1,2,3", 3),
        ("1.23,45,6", 6),
        ("1,23.456.7", 7),
        ("1,234,56", 56),
        ("2020 100", 100),
        # Other digits.
        ("\u0664\u0662", 42),
        ("\u0967\u0968", 12),
        ("\u0661\u066c\u0662\u0663\u0664\u066b\u0665", Fraction(2469, 2)),
        ("\uff11\uff12", 12),
        # Powers, fractions, scales.
        ("2.5e-3", Fraction(1, 400)),
        ("1.5 \u00d7 10^-3", Fraction(3, 2000)),
        ("1.5x10\u00b3", 1500),
        ("10\u00b2", 100),
        ("2^{10}", 1024),
        ("3/4", Fraction(3, 4)),
        ("1 1/2", Fraction(3, 2)),
        ("1\u00bd cups", Fraction(3, 2)),
        ("05/01/2021", 2021),
        ("3 million", 3_000_000),
        ("5\u4e07", 50_000),
        ("2 millionths", 2),
        # Where the answer stands.
        (r"\boxed{\frac{3}{4}}, checked 7 times", Fraction(3, 4)),
        (r"\boxed{1{,}000} or 5", 1000),
        (r"\boxed{7", 7),
        (r"\boxed{x} is 5", 5),
        ("5 + 4 = 9\n#### 9\n", 9),
        ("#### none, but 3 before", 3),
        # Money and names.
        ("Rs31,000", 31_000),
        ("$1,159.90/bbl", Fraction(11599, 10)),
        ("in room A4 there are 6", 6),
    ],
)
def test_the_number_that_an_answer_comes_down_to(text: str, value: Fraction | int) -> None:
    found = number_in(text)
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize(
    "text",
    ["", "none", "A4", "1e999", "1/0", "0^-1", "2^99", "five", "9" * (MOST_DIGITS + 1)],
)
def test_no_number(text: str) -> None:
    assert number_in(text) is None


def test_the_decimal_mark_decides_what_is_unclear() -> None:
    def value(text: str, mark: str) -> Fraction:
        found = number_in(text, mark)
        assert found is not None
        return found.value

    assert value("1.234", ".") == Fraction(1234, 1000)
    assert value("1.234", ",") == 1234
    assert value("1,234", ".") == 1234
    assert value("1,234", ",") == Fraction(1234, 1000)
    for mark in ".,":
        assert value("1.234,5", mark) == Fraction(12345, 10)
        assert value("3.14", mark) == value("3,14", mark) == Fraction(157, 50)


def is_same(left: str, right: str, closeness: Closeness | None = None) -> bool:
    score = same_number(closeness or Closeness()).begin(Question(), left, right)
    assert isinstance(score, Score)
    assert score.value in (0.0, 1.0)
    return score.value == 1.0


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("51", "#### 51"),
        ("5%", "5"),
        ("5%", "0.05"),
        ("50 %", "50.0%"),
        ("yes", "Yes."),
        ("7.0", "7"),
    ],
)
def test_the_same_number(left: str, right: str) -> None:
    assert is_same(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("5%", "500"),
        ("5%", "50%"),
        ("7", "seven"),
        ("seven", "7"),
        ("no", "yes"),
        ("0.1", "0.10001"),
    ],
)
def test_another_number(left: str, right: str) -> None:
    assert not is_same(left, right)


def test_tolerances_include_their_edge() -> None:
    tenth = Closeness(absolute=Fraction("0.1"))
    assert is_same("1.0", "1.1", tenth)
    assert not is_same("1.0", "1.1000001", tenth)
    percent = Closeness(relative=Fraction("0.01"))
    assert is_same("99", "100", percent)
    assert not is_same("98.9", "100", percent)
