"""Estimates of tokens, learnt from what a model's server said of other calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.habits import HALVED_AT_TOKENS, Asked, Habits, Ratio, Written
from routing.money import Usage

NOTHING = Written(tokens=0, characters=0)


def taught() -> Habits:
    """A token for four bytes of a request, and for five characters."""
    habits = Habits()
    habits.learn(Usage(input=100, output=20), request_bytes=400, characters=100)
    return habits


def test_nothing_is_known_before_anything_was_learnt() -> None:
    assert Habits().estimate(Asked(400), NOTHING) is None


def test_tokens_that_were_told_one_by_one_are_counted() -> None:
    assert taught().estimate(Asked(200), Written(7, 0)) == Usage(input=50, output=7)


def test_characters_are_counted_by_the_ratio_to_the_nearest_token() -> None:
    assert taught().estimate(Asked(200), Written(0, 12)) == Usage(input=50, output=2)
    assert taught().estimate(Asked(200), Written(0, 13)) == Usage(input=50, output=3)
    assert taught().estimate(Asked(200), Written(4, 13)) == Usage(input=50, output=7)


def test_what_came_after_the_servers_word_is_added_to_it() -> None:
    said = Usage(input=70, output=9, cached_input=3, reasoning=2)
    more = Usage(input=70, output=9 + 4 + 2, cached_input=3, reasoning=2)
    assert taught().estimate(Asked(200), Written(4, 12), said) == more
    assert Habits().estimate(Asked(200), Written(4, 12), said) is None


def test_a_prompt_of_no_tokens_was_not_counted_yet() -> None:
    said = Usage(input=0, output=1)
    assert taught().estimate(Asked(200), Written(4, 12), said) == Usage(50, 1 + 4 + 2)
    assert Habits().estimate(Asked(200), Written(4, 0), said) is None


@pytest.mark.parametrize(("most", "output"), [(None, 24), (30, 24), (10, 10), (3, 4)])
def test_an_answer_is_as_long_as_it_may_be_unless_more_was_counted(
    most: int | None, output: int
) -> None:
    assert taught().estimate(Asked(200, most), Written(4, 100)) == Usage(50, output)


def test_characters_of_which_nothing_was_learnt_leave_it_unknown() -> None:
    habits = Habits()
    habits.learn(Usage(input=100, output=20), request_bytes=400, characters=0)
    assert habits.estimate(Asked(200), Written(0, 12)) is None
    assert habits.estimate(Asked(200), Written(3, 0)) == Usage(input=50, output=3)


def test_a_server_that_counts_no_tokens_teaches_nothing() -> None:
    habits = Habits()
    habits.learn(Usage(input=0, output=0), request_bytes=400, characters=10)
    assert habits.estimate(Asked(200), Written(3, 0)) is None


def test_the_past_fades() -> None:
    ratio = Ratio()
    for _ in range(8):
        ratio.learn(HALVED_AT_TOKENS, HALVED_AT_TOKENS)
    for _ in range(8):
        ratio.learn(HALVED_AT_TOKENS, 4 * HALVED_AT_TOKENS)
    assert 250 <= (ratio.estimate(1000) or 0) <= 252


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), max_size=50))
def test_sums_stay_small_and_an_estimate_lies_between_what_was_seen(
    seen: list[tuple[int, int]],
) -> None:
    ratio = Ratio()
    for tokens, of in seen:
        ratio.learn(tokens, of)
    assert ratio.tokens < 2**41
    estimate = ratio.estimate(1000)
    assert estimate is None or estimate >= 0
