from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.likeness import LEAST_THRESHOLD, Likeness, Print, print_of, similarity

# Few letters, so that many texts are near each other.
TEXTS = st.lists(st.text("ab 1", max_size=14), min_size=1, max_size=12)


def look(text: str, earlier: str = "") -> Print:
    before = [{"role": "system", "content": earlier}] if earlier else []
    return print_of([*before, {"role": "user", "content": text}])


def near(left: Print, right: Print, at_least: float = 0.9) -> bool:
    likeness = Likeness.of([left, right], at_least)
    likeness.add(left)
    return likeness.near(right) == [0]


LONG = "Translate the following words into French, and keep their order as it is: "


@given(TEXTS, st.sampled_from([0.5, 0.6, 2 / 3, 0.75, 0.9, 1.0]))
def test_every_near_prompt_is_found_and_no_other(texts: list[str], at_least: float) -> None:
    looks = [look(text) for text in texts]
    likeness = Likeness.of(looks[::2], at_least)
    for place, each in enumerate(looks):
        expected = [other for other in range(place) if likeness.is_near(each, looks[other])]
        assert likeness.near(each) == expected
        likeness.add(each)


@given(TEXTS)
def test_likeness_has_no_direction(texts: list[str]) -> None:
    for left, right in combinations([look(text) for text in texts], 2):
        assert similarity(left.last, right.last) == similarity(right.last, left.last)
        assert near(left, right) is near(right, left)


def test_a_letter_more_is_near() -> None:
    assert near(look(LONG + "the cat sat on the mat"), look(LONG + "the cat sat on the mats"))


def test_case_and_blanks_make_no_difference() -> None:
    assert near(look("What  IS it?"), look("what is it?"), at_least=1.0)


def test_another_number_is_another_question() -> None:
    texts = [f"{LONG}the {number}th chapter of the book that lies there" for number in (12, 13)]
    left, right = map(look, texts)
    assert similarity(left.last, right.last) > 0.9
    assert not near(left, right)


def test_the_same_words_after_another_conversation_are_no_duplicate() -> None:
    assert near(look("yes, please do", LONG), look("yes, please do", LONG))
    assert not near(look("yes, please do", LONG), look("yes, please do", "Order me a pizza now."))


def test_long_texts_are_compared_by_their_ends() -> None:
    middle = "word " * 10_000
    assert near(look(f"{middle}end of it"), look(f"{middle}{middle}end of it"))
    assert not near(look(f"{middle}end of it"), look(f"{middle}something else entirely " * 900))


def test_what_says_nothing_is_near_what_says_nothing() -> None:
    assert near(look(""), look("  "))
    assert not near(look(""), look("a"))


@pytest.mark.parametrize("at_least", [LEAST_THRESHOLD - 0.01, 1.01, float("nan")])
def test_a_threshold_that_finds_everything_or_nothing_is_refused(at_least: float) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        Likeness.of([], at_least)


def test_the_threshold_itself_is_near() -> None:
    # 20 shingles and 18 of them, of which 18 are in both: 18 of 20 are nine in ten.
    left, right = look("abcdefghijklmnopqrstuvwx"), look("abcdefghijklmnopqrstuv")
    assert (len(left.last), len(right.last)) == (20, 18)
    assert near(left, right, at_least=0.9)
    assert not near(left, right, at_least=0.9001)
