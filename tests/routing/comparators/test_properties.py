"""What all comparators promise, for any text."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.comparators import (
    Ask,
    Closeness,
    Comparator,
    NoScore,
    Question,
    Score,
    exact_text,
    judged_by_teacher,
    label_in,
    normalised,
    normalised_text,
    number_in,
    same_json,
    same_label,
    same_number,
    similar_embedding,
    unified,
)

# Each runs for every comparator, and the whole folder is to take seconds.

PLAIN: list[Comparator] = [
    exact_text(),
    normalised_text(),
    same_number(),
    same_number(Closeness(Fraction(1, 10), Fraction(1, 100), ",")),
    same_label(["yes", "no", "A", "I", "\u6b63\u9762"]),
    same_json(0.5),
]
ASKING: list[Comparator] = [judged_by_teacher(), similar_embedding("e", 0.9)]

# Texts that a rule here may stumble over, and any others.
PIECES = st.sampled_from(
    [
        *"0123456789.,-+%/^eE$()[]{}\"'`*_!?:;#\\ \n\t",
        *"\u00bd\u00b2\u2074\u0663\u066b\u066c\uff11\u2212\u2013\u00a0\u202f\u200b\ufeff\u0130\u00df\u4e07\u3002\u00bf",
        "\\boxed{", "\\frac{1}{", "####", "1,234.5", "1.234,5", "1e9", "10^", " million", "yes",
        "no", "A", "I", "B)", "\u6b63\u9762", '{"a": ', "[1, ", "```json\n", "```", "null", "NaN",
        "Infinity", "-0", "1 1/2", "x 10^3",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=30), st.lists(PIECES, max_size=12).map("".join))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)
QUESTIONS = st.builds(
    Question, text=st.text(max_size=8), choices=st.lists(TEXTS, max_size=4).map(tuple)
)


def score_of(comparator: Comparator, question: Question, left: str, right: str) -> float:
    score = comparator.begin(question, left, right)
    assert isinstance(score, Score)
    return score.value


@pytest.mark.parametrize("comparator", PLAIN, ids=lambda each: each.version)
@given(question=QUESTIONS, left=TEXTS, right=TEXTS)
def test_any_two_texts_have_a_score_whichever_comes_first(
    comparator: Comparator, question: Question, left: str, right: str
) -> None:
    score = score_of(comparator, question, left, right)
    assert 0.0 <= score <= 1.0
    assert score_of(comparator, question, right, left) == score
    assert score_of(comparator, question, left, left) == 1.0


@given(left=JSON, right=JSON)
def test_any_two_values_of_json_have_a_score_whichever_comes_first(
    left: object, right: object
) -> None:
    texts = json.dumps(left), json.dumps(right, indent=1)
    score = score_of(same_json(), Question(), *texts)
    assert score == score_of(same_json(), Question(), *reversed(texts))
    assert score_of(same_json(), Question(), texts[0], json.dumps(left, indent=2)) == 1.0


@pytest.mark.parametrize("comparator", ASKING, ids=lambda each: each.version)
@given(question=QUESTIONS, left=TEXTS, right=TEXTS)
def test_who_has_to_ask_asks_what_json_can_hold(
    comparator: Comparator, question: Question, left: str, right: str
) -> None:
    assert comparator.begin(question, left, left) == Score(1.0)
    begun = comparator.begin(question, left, right)
    if isinstance(begun, Ask):
        for request in begun.requests:
            json.dumps(request.fields)
        back = comparator.begin(question, right, left)
        assert isinstance(back, Ask)
        told = [json.dumps(request.fields) for request in begun.requests]
        assert sorted(told) == sorted(json.dumps(request.fields) for request in back.requests)
    else:
        assert begun == Score(1.0)


@pytest.mark.parametrize("comparator", [*PLAIN, *ASKING], ids=lambda each: each.version)
@given(replies=st.lists(st.binary(max_size=40) | JSON.map(json.dumps).map(str.encode), max_size=3))
def test_a_reply_that_says_nothing_is_no_score(
    comparator: Comparator, replies: list[bytes]
) -> None:
    assert isinstance(comparator.finish(replies), NoScore)


@given(text=TEXTS)
def test_what_is_normalised_stays_as_it_is(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
    assert unified(unified(text)) == unified(text)


@given(text=TEXTS)
def test_a_text_that_says_something_is_never_normalised_to_nothing(text: str) -> None:
    assert bool(normalised(text)) or not unified(text)


@given(number=st.integers(-(10**12), 10**12))
def test_a_whole_number_is_found_in_each_of_its_spellings(number: int) -> None:
    for text in (f"{number}", f"{number:,}", f"= {number:,}.00 .", f"{number:_}".replace("_", " ")):
        found = number_in(f"It is {text}")
        assert found is not None
        assert found.value == number


@given(words=st.lists(st.sampled_from(["well", "so", "then"]), max_size=5), label=st.integers(0, 1))
def test_a_label_is_found_among_other_words(words: list[str], label: int) -> None:
    labels = ("positive", "negative")
    assert label_in(" ".join([*words, labels[label], *words]), labels) == labels[label]
