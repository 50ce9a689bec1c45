import pytest

from routing.comparators import (
    Comparator,
    NoScore,
    Question,
    Score,
    exact_text,
    normalised,
    normalised_text,
    unified,
)


def is_same(comparator: Comparator, left: str, right: str) -> bool:
    score = comparator.begin(Question(), left, right)
    assert isinstance(score, Score)
    return score.is_same(comparator.at_least)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Paris", " paris.\n"),
        ("\u201cParis\u201d", "**Paris**"),
        ("(B)", "b"),
        ("It\u2019s", "it's"),
        ("1 000", "1\u202f000"),
        ("\uff21\uff22\uff23\uff01", "abc"),  # full width
        ("Stra\u00dfe", "STRASSE"),
        ("\u0399\u03a3", "\u03b9\u03c2"),  # Greek: two small forms of sigma
        ("caf\u00e9", "cafe\u0301"),  # composed or not
        ("\u6771\u4eac\u3002", "\u6771\u4eac"),
        ("\u00bfQu\u00e9?", "qu\u00e9"),
        ("\u0663\u066b\u0661\u0664", "3.14"),  # Arabic digits and decimal mark
        ("\u0939\u0901\u0964", "\u0939\u0901"),  # Hindi, with its full stop
        ("\u0646\u0639\u0645\u061f", "\u0646\u0639\u0645"),
        ("well\u2011known", "well-known"),
        ("a\u200bb", "ab"),
        ("$5$", "5"),
        ("H\u2082O", "h2o"),
        ("", "  \n"),
    ],
)
def test_two_spellings_of_one_answer_are_the_same(left: str, right: str) -> None:
    assert is_same(normalised_text(), left, right)
    assert not is_same(exact_text(), left, right) or left.strip() == right.strip()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("-5", "5"),
        ("5%", "5"),
        ("5!", "5"),
        ("C#", "C"),
        ("C++", "C"),
        ("3.5", "35"),
        ("10\u00b2", "102"),
        ("1\u00bd", "11/2"),
        ("The Who", "Who"),
        ("r\u00e9sum\u00e9", "resume"),
        ("(a) or (b)", "a) or (b"),
        ("...", "???"),
        ("!", ""),
        ("f(x)", "f(x"),
        ("@home", "home"),
        ("\u0130", "i"),  # Turkish
    ],
)
def test_what_may_matter_stays(left: str, right: str) -> None:
    assert not is_same(normalised_text(), left, right)


def test_one_layer_of_dress_lies_over_another() -> None:
    assert normalised('**"(Paris.)"**.') == "paris"


def test_brackets_that_close_too_late_are_left_alone() -> None:
    assert normalised("((a)") == "((a)"


def test_unified_text_keeps_case_and_marks() -> None:
    assert unified("\u201cA\u00a0 B\u201d \u2013 `c`") == "\"A B\" - 'c'"
    assert unified(" A  `b` ") == "A 'b'"


def test_exact_texts_may_differ_in_blanks_around_them_alone() -> None:
    assert is_same(exact_text(), "a b\n", "a b")
    assert not is_same(exact_text(), "a  b", "a b")
    assert not is_same(exact_text(), "A b", "a b")


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_score_outside_its_range_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="score"):
        Score(value)


def test_equality_is_enough() -> None:
    assert Score(0.9).is_same(0.9)
    assert not Score(0.9).is_same(0.91)


def test_who_asked_nothing_can_read_nothing() -> None:
    assert isinstance(normalised_text().finish([b"{}"]), NoScore)
